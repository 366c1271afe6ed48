import { hash } from 'node:crypto';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import type { BucketMap } from './bucket-map.ts';
import { BUCKET_COUNT } from './hash.ts';

/** What a cluster should look like. */
export interface RebalanceGoal {
  /** Shards that own buckets in the end, with their share of the load relative to each other (above 0). At least one. */
  readonly weights: ReadonlyMap<ShardId, number>;
  /** Rows (or bytes) of each bucket, where known; buckets without an entry count as empty. */
  readonly sizes?: ReadonlyMap<BucketId, number>;
  /** Moves at most; the rest is left for another plan. Default: all. */
  readonly maxBuckets?: number;
}

export interface PlannedMove {
  readonly bucket: BucketId;
  readonly from: ShardId;
  readonly to: ShardId;
}

export interface RebalancePlan {
  /** The map that it was made for: a plan for another version is refused. */
  readonly mapVersion: number;
  /** In the order in which they are to be begun: spread over sources and targets. */
  readonly moves: readonly PlannedMove[];
  /** Of version and moves, SHA-256 as hex: what was approved is what runs. */
  readonly planHash: string;
}

/**
 * The fewest moves that bring each shard to its share of the buckets. Pure; the same input gives the same plan.
 *
 * Shares are whole numbers by the largest remainder; of equal remainders those shards get the extra bucket that own
 * the most already, so that a shard that joins N others gets floor(1024 / (N + 1)) and no other bucket moves. Which
 * buckets leave a shard is chosen evenly over their sizes, so that what leaves has the average size.
 */
export function planRebalance(map: BucketMap, goal: RebalanceGoal): RebalancePlan {
  const owned = ownedBuckets(map, goal);
  const quotas = quotasOf(goal.weights, owned);
  const leaving = new Map<ShardId, BucketId[]>();
  const room = new Map<ShardId, number>();
  for (const [shard, buckets] of owned) {
    const surplus = buckets.length - (quotas.get(shard) ?? 0);
    if (surplus > 0) leaving.set(shard, pickEvenly(buckets, surplus, goal.sizes));
    if (surplus < 0) room.set(shard, -surplus);
  }
  const moves = interleave(leaving, room).slice(0, goal.maxBuckets ?? BUCKET_COUNT);
  return { mapVersion: map.version, moves, planHash: hashOf(map.version, moves) };
}

/** Buckets of every shard that owns some or shall own some, ascending. */
function ownedBuckets(map: BucketMap, goal: RebalanceGoal): Map<ShardId, BucketId[]> {
  const ids = new Set<ShardId>([...(map.assignment as ShardId[]), ...goal.weights.keys()]);
  const owned = new Map<ShardId, BucketId[]>();
  for (const id of [...ids].toSorted((a, b) => a - b)) owned.set(id, []);
  map.assignment.forEach((owner, bucket) => owned.get(owner as ShardId)?.push(bucket as BucketId));
  return owned;
}

function quotasOf(
  weights: ReadonlyMap<ShardId, number>,
  owned: ReadonlyMap<ShardId, readonly BucketId[]>,
): Map<ShardId, number> {
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
  const shares = [...weights].map(([shard, weight]) => {
    const exact = (BUCKET_COUNT * weight) / total;
    const whole = Math.floor(exact);
    return { shard, whole, rest: exact - whole, has: owned.get(shard)?.length ?? 0 };
  });
  const left = BUCKET_COUNT - shares.reduce((sum, share) => sum + share.whole, 0);
  shares.sort((a, b) => b.rest - a.rest || b.has - a.has || a.shard - b.shard);
  return new Map(shares.map(({ shard, whole }, rank) => [shard, whole + (rank < left ? 1 : 0)]));
}

/** `count` of the buckets, at even distances in the order of their sizes. */
function pickEvenly(
  buckets: readonly BucketId[],
  count: number,
  sizes: RebalanceGoal['sizes'],
): BucketId[] {
  const bySize = buckets.toSorted((a, b) => (sizes?.get(a) ?? 0) - (sizes?.get(b) ?? 0) || a - b);
  const step = bySize.length / count;
  return Array.from({ length: count }, (_, index) => {
    const middle = (index + 0.5) * step - 0.5;
    // Halfway between two buckets the larger and the smaller leave in turn: else half of a shard is its larger half.
    const isSmaller = index % 2 === 1 && middle % 1 === 0.5;
    return bySize[isSmaller ? Math.floor(middle) : Math.round(middle)] as BucketId;
  });
}

/** Takes one bucket from each source in turn and gives it to the target with the most room left. */
function interleave(
  leaving: ReadonlyMap<ShardId, BucketId[]>,
  room: Map<ShardId, number>,
): PlannedMove[] {
  const moves: PlannedMove[] = [];
  const longest = Math.max(0, ...[...leaving.values()].map((buckets) => buckets.length));
  for (let round = 0; round < longest; round += 1) {
    for (const [from, buckets] of leaving) {
      const bucket = buckets[round];
      if (bucket === undefined) continue;
      const to = mostRoom(room);
      if (to === undefined) return moves;
      room.set(to, (room.get(to) ?? 0) - 1);
      moves.push({ bucket, from, to });
    }
  }
  return moves;
}

function mostRoom(room: ReadonlyMap<ShardId, number>): ShardId | undefined {
  let best: ShardId | undefined;
  for (const [shard, left] of room) {
    if (left > (best === undefined ? 0 : (room.get(best) ?? 0))) best = shard;
  }
  return best;
}

function hashOf(mapVersion: number, moves: readonly PlannedMove[]): string {
  const text = JSON.stringify([
    mapVersion,
    moves.map(({ bucket, from, to }) => [bucket, from, to]),
  ]);
  return hash('sha256', text, 'hex');
}
