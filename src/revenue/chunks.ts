import { BUCKET_COUNT } from '../sharding/hash.ts';
import type { ShardChunks } from './contracts.ts';

/** The buckets of each chunk of each shard. Together the chunks hold each of the 1024 buckets once. */
export type ChunkPlan = readonly {
  readonly shard: number;
  readonly chunks: readonly (readonly number[])[];
}[];

/** Deals the buckets out by owner, at most `chunkBuckets` to a chunk, ascending. `assignment[bucket]` is the owner. */
export function planChunks(assignment: readonly number[], chunkBuckets: number): ChunkPlan {
  const owned = new Map<number, number[]>();
  for (let bucket = 0; bucket < BUCKET_COUNT; bucket += 1) {
    const shard = assignment[bucket] as number;
    const buckets = owned.get(shard) ?? [];
    buckets.push(bucket);
    owned.set(shard, buckets);
  }
  return [...owned]
    .toSorted(([a], [b]) => a - b)
    .map(([shard, buckets]) => ({ shard, chunks: cut(buckets, chunkBuckets) }));
}

function cut(buckets: readonly number[], size: number): number[][] {
  const count = Math.ceil(buckets.length / size);
  return Array.from({ length: count }, (_, index) =>
    buckets.slice(index * size, (index + 1) * size),
  );
}

/** At most `limit` lanes; each shard is in one lane whole, so that lanes at once are shards at once. */
export function dealLanes(shards: readonly ShardChunks[], limit: number): ShardChunks[][] {
  const lanes = Array.from({ length: Math.min(limit, shards.length) }, (): ShardChunks[] => []);
  shards.forEach((shard, index) => lanes[index % lanes.length]?.push(shard));
  return lanes;
}

/** The chunk at `position` of a lane's chunks in their order, or undefined past the last. */
export function chunkAt(
  shards: readonly ShardChunks[],
  position: number,
): { readonly shard: number; readonly chunk: number } | undefined {
  let left = position;
  for (const { shard, chunks } of shards) {
    if (left < chunks) return { shard, chunk: left };
    left -= chunks;
  }
  return undefined;
}
