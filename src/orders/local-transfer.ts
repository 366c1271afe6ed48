import type { Attempt, SqlRunner } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';
import { FENCE_LIFTED } from '../database/refusals.ts';
import type { LocalSaga } from '../sagas/local.ts';
import type { StepRun } from '../sagas/implement-step.ts';
import type { Transfer } from './contracts.ts';
import type { Order } from './model.ts';
import { ORDER_STATE } from './statements.ts';
import { crossingOf, sourceOf, targetOf } from './transfer-effects.ts';
import {
  giveRow,
  insertReceived,
  lockOrder,
  moveAway,
  placeAtTarget,
  recordCrossing,
  requireSource,
  requireUser,
  settlePlain,
  type OrderRow,
} from './transfer-store.ts';

/** A transfer as one transaction, for when one shard has both buckets: nobody ever misses the order or sees it twice. */
export const localTransfer: LocalSaga<Transfer, Order> = {
  buckets: (transfer) => [sourceOf(transfer).bucket, targetOf(transfer).bucket],
  run: async (tx, transfer, run) => {
    const isOneBucket = sourceOf(transfer).bucket === targetOf(transfer).bucket;
    return isOneBucket ? await inside(tx, transfer) : await across(tx, transfer, run);
  },
};

async function inside(tx: SqlRunner, transfer: Transfer): Promise<Attempt<Order>> {
  const key = sourceOf(transfer);
  const row = await requireSource(tx, transfer, await lockOrder(tx, key));
  await requireUser(tx, transfer.toUserId);
  await giveRow(tx, key, { userId: transfer.toUserId, state: ORDER_STATE.plain });
  return transferred(transfer, row);
}

async function across(tx: SqlRunner, transfer: Transfer, run: StepRun): Promise<Attempt<Order>> {
  const { fromUserId, toUserId } = transfer;
  const [source, target] = [sourceOf(transfer), targetOf(transfer)];
  const { atSource, atTarget } = await lockBoth(tx, transfer);
  const row = await requireSource(tx, transfer, atSource);
  await requireUser(tx, toUserId);
  const { amountCents, createdAt } = row;
  if (placeAtTarget(atTarget, row) === 'former') {
    await giveRow(tx, target, { userId: toUserId, state: ORDER_STATE.plain });
    await settlePlain(tx, target);
  } else {
    const order = { userId: toUserId, amountCents, createdAt, state: ORDER_STATE.plain };
    try {
      await insertReceived(tx, target, order);
    } catch (error) {
      // It came there since the look, which locks no row that is not there: the long way looks again.
      if (isFailure(error, 'duplicate')) return FENCE_LIFTED;
      throw error;
    }
  }
  await moveAway(tx, source, { userId: fromUserId, peerUserId: toUserId, ...run });
  // Reports read the two buckets at different moments, and either may move between two questions of one total.
  await recordCrossing(tx, crossingOf(transfer, row, run), run);
  return transferred(transfer, row);
}

/** By primary key, whichever way the order goes: two opposite transfers wait for each other, not in a circle. */
async function lockBoth(
  tx: SqlRunner,
  transfer: Transfer,
): Promise<{ readonly atSource: OrderRow | undefined; readonly atTarget: OrderRow | undefined }> {
  const [source, target] = [sourceOf(transfer), targetOf(transfer)];
  if (source.bucket < target.bucket) {
    const atSource = await lockOrder(tx, source);
    return { atSource, atTarget: await lockOrder(tx, target) };
  }
  const atTarget = await lockOrder(tx, target);
  return { atSource: await lockOrder(tx, source), atTarget };
}

function transferred({ orderId, toUserId }: Transfer, row: OrderRow): Attempt<Order> {
  const { amountCents, createdAt } = row;
  return { kind: 'answered', value: { orderId, userId: toUserId, amountCents, createdAt } };
}
