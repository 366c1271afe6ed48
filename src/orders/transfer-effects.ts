import type { SqlRunner } from '../database/contracts.ts';
import { PermanentError } from '../kernel/errors.ts';
import { bucketOf } from '../sharding/hash.ts';
import type { StepRun } from '../sagas/implement-step.ts';
import type { Crossing, FormerRow, OrderContent, Transfer } from './contracts.ts';
import { ORDER_STATE } from './statements.ts';
import {
  deleteTrace,
  giveRow,
  holdSource,
  insertReceived,
  lockHeld,
  lockOrder,
  moveAway,
  placeAtTarget,
  readTrace,
  removePending,
  requireSource,
  requireUser,
  settlePlain,
  writePendingTrace,
  type RowKey,
} from './transfer-store.ts';

/**
 * What each step of a transfer does to the rows of its one bucket, behind fence and ledger. Also between two users of one
 * bucket: a saga whose one transaction was called off goes that way, and then the one row is only locked and given away.
 */
export function sourceOf({ orderId, fromUserId }: Transfer): RowKey {
  return { bucket: bucketOf(fromUserId), orderId };
}

export function targetOf({ orderId, toUserId }: Transfer): RowKey {
  return { bucket: bucketOf(toUserId), orderId };
}

function isOneBucket({ fromUserId, toUserId }: Transfer): boolean {
  return bucketOf(fromUserId) === bucketOf(toUserId);
}

/** Throws `user-not-found`, `order-not-found`, `order-conflict` (permanent). */
export async function lockAtSource(
  tx: SqlRunner,
  transfer: Transfer,
  run: StepRun,
): Promise<OrderContent> {
  const key = sourceOf(transfer);
  const row = await requireSource(tx, transfer, await lockOrder(tx, key));
  const { fromUserId, toUserId } = transfer;
  await holdSource(tx, key, { userId: fromUserId, peerUserId: toUserId, ...run });
  return { amountCents: row.amountCents, createdAt: row.createdAt };
}

/** True when there was a lock of this saga. */
export async function unlockSource(
  tx: SqlRunner,
  transfer: Transfer,
  { sagaId }: Pick<StepRun, 'sagaId'>,
): Promise<boolean> {
  const key = sourceOf(transfer);
  const held = await lockHeld(tx, key, { sagaId, state: ORDER_STATE.locked });
  if (held !== undefined) await settlePlain(tx, key);
  return held !== undefined;
}

/** Throws `user-not-found`, `order-conflict` (permanent). */
export async function insertAtTarget(
  tx: SqlRunner,
  transfer: Transfer & OrderContent,
  run: StepRun,
): Promise<{ readonly former: FormerRow | null }> {
  const { fromUserId, toUserId, amountCents, createdAt } = transfer;
  await requireUser(tx, toUserId);
  if (isOneBucket(transfer)) return { former: null };
  const key = targetOf(transfer);
  const row = await lockOrder(tx, key);
  const former = placeAtTarget(row, transfer) === 'former' ? await readTrace(tx, key) : undefined;
  if (row === undefined || former === undefined) {
    const order = { userId: toUserId, amountCents, createdAt, state: ORDER_STATE.pending };
    await insertReceived(tx, key, order);
  } else {
    await giveRow(tx, key, { userId: toUserId, state: ORDER_STATE.pending });
  }
  await writePendingTrace(tx, key, { userId: toUserId, peerUserId: fromUserId, ...run });
  if (row === undefined || former === undefined) return { former: null };
  const { userId, placedFor } = row;
  return { former: { userId, placedFor, peerUserId: former.peerUserId, sagaId: former.sagaId } };
}

/** True when there was a pending row of this saga. */
export async function removeFromTarget(
  tx: SqlRunner,
  transfer: Transfer,
  { former, sagaId, nowMs }: StepRun & { readonly former: FormerRow | null },
): Promise<boolean> {
  const key = targetOf(transfer);
  const held = await lockHeld(tx, key, { sagaId, state: ORDER_STATE.pending });
  if (held !== undefined) await removePending(tx, key, { former, nowMs });
  return held !== undefined;
}

/** Throws `order-conflict` (permanent) when this saga does not hold the order any more. Null when it stays in its bucket. */
export async function removeFromSource(
  tx: SqlRunner,
  transfer: Transfer,
  run: StepRun,
): Promise<Crossing | null> {
  const key = sourceOf(transfer);
  const held = await lockHeld(tx, key, { sagaId: run.sagaId, state: ORDER_STATE.locked });
  if (held === undefined) {
    throw new PermanentError(
      'order-conflict',
      `Order ${transfer.orderId} was released before it could be moved.`,
    );
  }
  const { fromUserId, toUserId } = transfer;
  if (isOneBucket(transfer)) {
    await giveRow(tx, key, { userId: toUserId, state: ORDER_STATE.plain });
    await deleteTrace(tx, key);
    return null;
  }
  await moveAway(tx, key, { userId: fromUserId, peerUserId: toUserId, ...run });
  return crossingOf(transfer, held, run);
}

export function crossingOf(
  transfer: Transfer,
  { amountCents, createdAt }: OrderContent,
  { nowMs }: Pick<StepRun, 'nowMs'>,
): Crossing {
  const [fromBucket, toBucket] = [sourceOf(transfer).bucket, targetOf(transfer).bucket];
  return { fromBucket, toBucket, amountCents, createdAt, departedAtMs: nowMs };
}

/** True when there was a pending row of this saga. */
export async function confirmAtTarget(
  tx: SqlRunner,
  transfer: Transfer,
  { sagaId }: Pick<StepRun, 'sagaId'>,
): Promise<boolean> {
  const key = targetOf(transfer);
  const held = await lockHeld(tx, key, { sagaId, state: ORDER_STATE.pending });
  if (held !== undefined) await settlePlain(tx, key);
  return held !== undefined;
}
