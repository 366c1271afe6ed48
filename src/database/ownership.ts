import { BugError } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { timestampOf, toSqlDatetime } from '../kernel/time.ts';
import type { OwnershipState, Refusal, Shard, SqlRunner, SqlValue } from './contracts.ts';
import {
  FENCE_BUCKET,
  GIVE_BUCKET_AWAY,
  LIFT_EXPIRED_FENCE,
  LIFT_FENCE,
  READ_FENCE,
  READ_OWNERSHIP,
  TAKE_BUCKET_OVER,
} from './statements.ts';

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

/** An ownership row with what a move wrote into it. */
export interface FenceState extends Ownership {
  readonly token: string | null;
  /** Milliseconds until the fence may be lifted by anybody, by the server's clock; negative when it may; null without an end. */
  readonly fencedForMs: number | null;
}

/** Reads the bucket's row without a lock. */
export async function readFence(runner: SqlRunner, bucket: BucketId): Promise<FenceState> {
  const [row] = await runner.select(READ_FENCE, [bucket]);
  if (row === undefined) {
    return { state: 'absent', epoch: 0, movedTo: null, token: null, fencedForMs: null };
  }
  return {
    state: row['state'] as OwnershipState,
    epoch: Number(row['epoch']),
    movedTo: row['moved_to'] === null ? null : (Number(row['moved_to']) as ShardId),
    token: row['token'] as string | null,
    fencedForMs: row['fenced_for_ms'] === null ? null : Number(row['fenced_for_ms']),
  };
}

export interface FenceChange {
  readonly bucket: BucketId;
  /** The epoch at which the caller believes the shard to own the bucket; another one changes nothing. */
  readonly epoch: number;
  readonly nowMs: number;
  /** Whose fence it is: fences with it, lifts only a fence with it. Without one a fence is lifted whoever set it. */
  readonly token?: string;
  /** How long the fence holds, by the server's clock from when it is granted; without it until it is lifted by hand. */
  readonly holdMs?: number;
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
export function fenceBucket(
  shard: Shard,
  change: FenceChange & {
    /** Called right before the statement is sent that writers may have to wait for: none waits before. */
    readonly onSend?: () => void;
  },
): Promise<boolean> {
  const { token = null, holdMs, nowMs, bucket, epoch, onSend } = change;
  const holdMicroseconds = holdMs === undefined ? null : Math.round(holdMs * 1_000);
  const values = [token, holdMicroseconds, sqlNow(nowMs), bucket, epoch];
  return changeRow(shard, FENCE_BUCKET, values, onSend);
}

/** Lifts a fence: writes are taken again. False when the bucket is not `fenced` at that epoch, or not with that token. */
export function unfenceBucket(shard: Shard, change: FenceChange): Promise<boolean> {
  const { token = null, nowMs, bucket, epoch } = change;
  return changeRow(shard, LIFT_FENCE, [sqlNow(nowMs), bucket, epoch, token]);
}

/**
 * Lifts a fence whose end has passed: its mover is dead or late, and can then not give the bucket away any more. True
 * when this call lifted it. Looks without a lock first, so that those who wait behind a fence that holds do not get in
 * its mover's way.
 */
export async function liftExpiredFence(
  shard: Shard,
  change: Pick<FenceChange, 'bucket' | 'nowMs'>,
): Promise<boolean> {
  const { state, fencedForMs } = await readFence(shard, change.bucket);
  if (state !== 'fenced' || fencedForMs === null || fencedForMs > 0) return false;
  return await changeRow(shard, LIFT_EXPIRED_FENCE, [sqlNow(change.nowMs), change.bucket]);
}

/**
 * Gives a fenced bucket away: the point of no return of a move (ADR 0016). True when the bucket is gone to `to` by this
 * change or an earlier try of it; false when the fence was lifted or is another's. Idempotent.
 */
export async function giveBucketAway(
  shard: Shard,
  change: FenceChange & { readonly token: string; readonly to: ShardId },
): Promise<boolean> {
  const { bucket, epoch, token, to, nowMs } = change;
  const values = [epoch + 1, to, sqlNow(nowMs), bucket, epoch, token];
  if ((await shard.execute(GIVE_BUCKET_AWAY, values)).affectedRows === 1) return true;
  return isGivenAway(await readFence(shard, bucket), { epoch, to });
}

/** Whether a source's row says that the bucket went to `to` when it left `epoch`. */
export function isGivenAway(
  row: Ownership,
  move: { readonly epoch: number; readonly to: ShardId },
): boolean {
  return row.state === 'gone' && row.epoch === move.epoch + 1 && row.movedTo === move.to;
}

/**
 * Makes the target the owner at `epoch + 1`. Only for who has seen the source's row `gone` to this shard at that next
 * epoch: then it follows from that row, whoever does it (ADR 0016). True when this call did it, false when there is
 * nothing to do. Idempotent in effect.
 */
export async function takeBucketOver(shard: Shard, change: FenceChange): Promise<boolean> {
  const { bucket, epoch } = change;
  const now = sqlNow(change.nowMs);
  const { affectedRows } = await shard.execute(TAKE_BUCKET_OVER, [now, now, bucket, epoch]);
  return affectedRows > 0;
}

/** With a short lock wait, because writers queue behind it. */
async function changeRow(
  shard: Shard,
  text: string,
  values: readonly SqlValue[],
  onSend?: () => void,
): Promise<boolean> {
  const limits = { lockWaitSeconds: 1, onSend };
  return (await shard.executeWithin(limits, text, values)).affectedRows === 1;
}

/** The clock's time as a DATETIME(3) literal. */
export function sqlNow(nowMs: number): string {
  const timestamp = timestampOf(nowMs);
  if (timestamp === undefined) throw new BugError('the clock is outside 1970 … 9999');
  return toSqlDatetime(timestamp);
}
