import { hash } from 'node:crypto';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import {
  assignBucket,
  type BucketMap,
  initialBucketMap,
  reconcileShards,
} from '../../src/sharding/bucket-map.ts';
import { planRebalance } from '../../src/sharding/rebalance-plan.ts';
import type { Cells } from './population.ts';

/** Shards at first. */
export const START = 64;
/** Shards afterwards: some join, or the last one leaves. */
export const CHANGES: readonly number[] = [65, 72, 128, 63];

/** The least common multiple of {@link START} and {@link CHANGES}: a remainder by it gives the remainders by all of them. */
export const RESIDUES = 524_160;
/** Positions on a ring. */
export const ARCS = 2 ** 20;
const NOBODY = 0xffff;

/** One way to say which shard has a key. */
export interface Scheme {
  readonly name: string;
  readonly cells: keyof Cells;
  /** Owner of each cell with so many shards, after the change from {@link START}. */
  owners(shards: number): Uint16Array;
}

/** The product: its first map, changed as its planner says. `orders` of each bucket are known to the planner. */
export function bucketMapScheme(orders: ArrayLike<number>): Scheme {
  const sizes = new Map(Array.from(orders, (size, bucket) => [bucket as BucketId, size]));
  const names = (shards: number): string[] => Array.from({ length: shards }, (_, n) => `s${n}`);
  const updatedAt = '2026-01-01T00:00:00.000Z';
  const first = initialBucketMap({ clusterId: 'bench', shardNames: names(START), updatedAt });
  return {
    name: 'bucket map',
    cells: 'buckets',
    owners: (shards) => {
      const listed = reconcileShards(first, names(Math.max(START, shards)), updatedAt);
      const map = listed.kind === 'extended' ? listed.map : first;
      const weights = new Map(Array.from({ length: shards }, (_, id) => [id as ShardId, 1]));
      const { moves } = planRebalance(map, { weights, sizes });
      const after = moves.reduce<BucketMap>((before, { bucket, to }) => {
        const epoch = (before.epochs[bucket] ?? 0) + 1;
        return assignBucket(before, { bucket, to, epoch, updatedAt }) ?? before;
      }, map);
      return Uint16Array.from(after.assignment);
    },
  };
}

/** The remainder of the hash by the number of shards. */
export const moduloScheme: Scheme = {
  name: 'hash mod N',
  cells: 'residues',
  owners: (shards) => Uint16Array.from({ length: RESIDUES }, (_, residue) => residue % shards),
};

/** Consistent hashing: a key belongs to the next of the points that the shards have on a ring. `name` draws the points. */
export function ringScheme(pointsPerShard: number, name: string): Scheme {
  return {
    name: `ring, ${pointsPerShard} ${pointsPerShard === 1 ? 'point' : 'points'} each`,
    cells: 'arcs',
    owners: (shards) => {
      const owners = new Uint16Array(ARCS).fill(NOBODY);
      // From the last to the first: where two points meet, the older shard keeps its own when another joins.
      for (let shard = shards - 1; shard >= 0; shard--) {
        for (let point = 0; point < pointsPerShard; point++) {
          const digest = hash('md5', `${name}/${shard}/${point}`, 'buffer');
          owners[Math.floor(digest.readUInt32BE(0) / (2 ** 32 / ARCS))] = shard;
        }
      }
      let next = owners.find((owner) => owner !== NOBODY) ?? NOBODY;
      for (let arc = ARCS - 1; arc >= 0; arc--) {
        const owner = owners[arc] ?? NOBODY;
        if (owner === NOBODY) owners[arc] = next;
        else next = owner;
      }
      return owners;
    },
  };
}
