import type { BucketId, ShardId } from '../kernel/ids.ts';
import type { Refusal, Shard } from './contracts.ts';
import { isGivenAway, liftExpiredFence, readFence, takeBucketOver } from './ownership.ts';

/** Where a caller has come to a halt: what a shard said of a bucket, and which shard had sent it there. */
export interface Standstill {
  readonly bucket: BucketId;
  readonly shard: ShardId;
  readonly refusal: Refusal;
  /** The shard whose `gone` row led here, if one did. */
  readonly sentBy: ShardId | undefined;
}

export type OnShard = <T>(shard: ShardId, run: (shard: Shard) => Promise<T>) => Promise<T>;

/**
 * Does what a mover that died would have to do before the bucket takes writes again (ADR 0016): lifts a fence whose end
 * has passed, and makes the target the owner when the source has given the bucket away. Both are compare-and-set on one
 * row, so that a mover that is alive after all is not disturbed. True when the caller should try again at once.
 */
export async function mendBucket(
  at: Standstill,
  onShard: OnShard,
  nowMs: () => number,
): Promise<boolean> {
  const { bucket, shard, refusal, sentBy } = at;
  if (refusal.state === 'fenced') {
    return await onShard(shard, (on) => liftExpiredFence(on, { bucket, nowMs: nowMs() }));
  }
  if (refusal.state !== 'receiving' || sentBy === undefined) return false;
  const target = await onShard(shard, (on) => readFence(on, bucket));
  if (target.state !== 'receiving') return target.state === 'owned';
  const source = await onShard(sentBy, (on) => readFence(on, bucket));
  const { epoch } = target;
  if (!isGivenAway(source, { epoch, to: shard })) return false;
  return await onShard(shard, (on) => takeBucketOver(on, { bucket, epoch, nowMs: nowMs() }));
}
