import { mapBounded } from '../kernel/bounded.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { bucketsOf, type BucketMap } from '../sharding/bucket-map.ts';
import { BUCKET_COUNT } from '../sharding/hash.ts';
import type { BucketMapView, ShardsView } from './model.ts';

/** Shards looked at at once. */
const SHARDS_AT_ONCE = 16;

/** The stored map, read now: an operator wants the truth, not what this instance has cached. */
export async function viewBucketMap(services: Services): Promise<BucketMapView> {
  const map = await services.bucketMap.refresh();
  return {
    version: map.version,
    updatedAt: map.updatedAt,
    bucketCount: BUCKET_COUNT,
    shards: map.shards.map(({ id, name, state }) => ({
      id,
      name,
      state,
      buckets: countBuckets(map, id),
    })),
    assignment: [...map.assignment],
    moves: [...map.moves],
  };
}

/** Each shard as seen from this instance. Answers also when shards do not. */
export async function viewShards(services: Services): Promise<ShardsView> {
  const map = await services.bucketMap.current();
  const { database } = services;
  const shards = await mapBounded(database.shardIds(), SHARDS_AT_ONCE, async (id) => {
    const { estimatedRows, ...status } = await database.inspect(id);
    return { ...status, buckets: countBuckets(map, id), rows: { ...estimatedRows } };
  });
  return { shards };
}

function countBuckets(map: BucketMap, shard: number): number {
  return bucketsOf(map, shard as ShardId).length;
}
