import type { BucketId, ShardId } from '../kernel/ids.ts';
import type { BucketMap } from './bucket-map.ts';
import { bucketOf } from './hash.ts';

/** Where a key's rows are, by one version of the map. */
export interface Route {
  readonly bucket: BucketId;
  readonly shard: ShardId;
  readonly epoch: number;
  readonly mapVersion: number;
}

/** Route of a bucket; pure. */
export function routeBucket(map: BucketMap, bucket: BucketId): Route {
  return {
    bucket,
    shard: map.assignment[bucket] as ShardId,
    epoch: map.epochs[bucket] as number,
    mapVersion: map.version,
  };
}

/** Route of a key (canonical decimal id or normalised email); pure. */
export function routeKey(map: BucketMap, key: string): Route {
  return routeBucket(map, bucketOf(key));
}
