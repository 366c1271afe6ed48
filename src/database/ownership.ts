import { BugError } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { timestampOf, toSqlDatetime } from '../kernel/time.ts';
import type { OwnershipState, Refusal, Shard, SqlRunner } from './contracts.ts';
import { CHANGE_OWNERSHIP_STATE, READ_OWNERSHIP } from './statements.ts';

/** A shard's word on one bucket. */
export interface Ownership {
  readonly state: OwnershipState | 'absent';
  /** 0 when absent. */
  readonly epoch: number;
  readonly movedTo: ShardId | null;
}

/**
 * Reads the bucket's row without a lock. For saying why a fenced write found nothing to do; the write itself
 * decides under the lock.
 */
export async function readOwnership(runner: SqlRunner, bucket: BucketId): Promise<Ownership> {
  const [row] = await runner.select(READ_OWNERSHIP, [bucket]);
  if (row === undefined) return { state: 'absent', epoch: 0, movedTo: null };
  return {
    state: row['state'] as OwnershipState,
    epoch: Number(row['epoch']),
    movedTo: row['moved_to'] === null ? null : (Number(row['moved_to']) as ShardId),
  };
}

/**
 * The refusal to return when a fenced statement wrote or found nothing and the bucket may be elsewhere, or
 * `undefined` when the shard does own the bucket (the reason is then another: no such user, …).
 */
export async function findRefusal(
  runner: SqlRunner,
  bucket: BucketId,
): Promise<Refusal | undefined> {
  const { state, movedTo } = await readOwnership(runner, bucket);
  return state === 'owned' ? undefined : { kind: 'refused', state, movedTo };
}

export interface FenceChange {
  readonly bucket: BucketId;
  /** The epoch at which the caller believes the shard to own the bucket; another one changes nothing. */
  readonly epoch: number;
  readonly nowMs: number;
}

/**
 * Fences a bucket: when this returns true no write of the old state can commit any more, and every later one is
 * refused. False when the bucket is not `owned` at that epoch. Idempotent in effect, not in answer: after an unknown
 * outcome read the row.
 *
 * One bucket per transaction (several at once were the deadlock victim in 58 of 60 tries) and a lock wait of 1 s,
 * because later writers of the bucket queue behind the waiting fencer (FACTS-mysql 1): on `contention` sleep a little
 * and try again, which `ShardedDatabase.onShard` does.
 */
export function fenceBucket(shard: Shard, change: FenceChange): Promise<boolean> {
  return changeState(shard, change, 'owned', 'fenced');
}

/** Lifts a fence: writes are taken again. False when the bucket is not `fenced` at that epoch. */
export function unfenceBucket(shard: Shard, change: FenceChange): Promise<boolean> {
  return changeState(shard, change, 'fenced', 'owned');
}

function changeState(
  shard: Shard,
  change: FenceChange,
  from: OwnershipState,
  to: OwnershipState,
): Promise<boolean> {
  const values = [to, sqlNow(change.nowMs), change.bucket, from, change.epoch];
  return shard.transaction(
    async (tx) => (await tx.execute(CHANGE_OWNERSHIP_STATE, values)).affectedRows === 1,
    { lockWaitSeconds: 1 },
  );
}

/** The clock's time as a DATETIME(3) literal. */
export function sqlNow(nowMs: number): string {
  const timestamp = timestampOf(nowMs);
  if (timestamp === undefined) throw new BugError('the clock is outside 1970 … 9999');
  return toSqlDatetime(timestamp);
}
