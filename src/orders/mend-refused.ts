import type { Refusal } from '../database/contracts.ts';
import { mendBucket } from '../database/mend-bucket.ts';
import { isRetryable } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import { routeBucket } from '../sharding/router.ts';

/** A bucket of a batch that a shard would not write to. */
export interface RefusedBucket {
  readonly shard: ShardId;
  readonly bucket: BucketId;
  readonly refusal: Refusal;
}

/** Few buckets move at once; others are looked at in the next round. */
const MAX_BUCKETS = 16;
/** The shard has just answered. */
const MEND_LIMIT_MS = 2_000;

/**
 * What `ShardedDatabase.onOwner` does for its callers, for batches, which find their shards themselves: does what a mover
 * that died left undone (ADR 0016). A bucket that is being received was given away, if at all, by the shard that the map
 * still names. A shard that does not answer now is left for the next round.
 */
export async function mendRefused(
  services: Pick<Services, 'clock' | 'database'>,
  refused: readonly RefusedBucket[],
  map: BucketMap,
): Promise<void> {
  const { clock, database } = services;
  for (const { shard, bucket, refusal } of refused.slice(0, MAX_BUCKETS)) {
    const owner = routeBucket(map, bucket).shard;
    const sentBy = owner === shard ? undefined : owner;
    try {
      await mendBucket(
        { bucket, shard, refusal, sentBy },
        (on, run) => database.onShard(on, run, { deadlineMs: MEND_LIMIT_MS }),
        () => clock.nowMs(),
      );
    } catch (error) {
      if (!isRetryable(error)) throw error;
      return;
    }
  }
}
