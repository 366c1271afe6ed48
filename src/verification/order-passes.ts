import type { SqlRow } from '../database/contracts.ts';
import { BUCKET_COUNT, bucketOf } from '../sharding/hash.ts';
import { at, checkPlace } from './findings.ts';
import { orderName } from './lookups.ts';
import {
  holdingOf,
  isHeldFor,
  isSameOrder,
  isVisible,
  ORDER_STATE,
  startWalk,
  walkOn,
  type Holding,
  type Walk,
} from './order-holding.ts';
import type { Pass, PassContext } from './pass.ts';
import { readPage } from './pass.ts';
import { readOrders, readTransfers } from './statements.ts';

const ORDER_FIGURES = ['ordersPlain', 'ordersLocked', 'ordersPending', 'ordersMoved'] as const;

/** Every order has its user in its bucket, a valid state, and a transfer exactly when the state asks for one. */
export const ordersPass: Pass = {
  checks: ['rows', 'orders'],
  page: async (context, after) => {
    const { counter } = context;
    const key = ['bucket', 'order_id'];
    const { rows, last } = await readPage(context, { text: readOrders, key, after });
    counter.checked('rows', rows.length);
    counter.checked('orders', rows.length);
    const homes = new Map<string, number>();
    for (const row of rows) {
      const userId = String(row['user_id']);
      const home = homes.get(userId) ?? bucketOf(userId);
      homes.set(userId, home);
      const bucket = Number(row['bucket']);
      const orderId = String(row['order_id']);
      checkPlace(context, { table: 'orders', bucket, key: orderId, home });
      checkOrder(context, row, bucket, orderId);
    }
    return { rows: rows.length, last };
  },
};

function checkOrder(context: PassContext, row: SqlRow, bucket: number, orderId: string): void {
  const { counter } = context;
  const where = at(context, 'orders', bucket, `orders ${bucket}/${orderId}`);
  const state = Number(row['state']);
  const figure = ORDER_FIGURES[state];
  if (figure === undefined) {
    counter.violation({ ...where, problem: 'invalid-state', detail: String(state) });
  } else {
    counter.figure(figure, 1);
  }
  if (state === ORDER_STATE.plain || state === ORDER_STATE.locked) {
    context.addVisible(bucket, Number(row['amount_cents']));
  }
  if (row['owner_id'] === null) {
    counter.violation({
      ...where,
      problem: 'user-missing',
      detail: `user ${String(row['user_id'])}`,
    });
  }
  const transfer = row['t_state'];
  if (transfer === null) {
    if (figure !== undefined && state !== ORDER_STATE.plain) {
      counter.violation({ ...where, problem: 'transfer-missing', detail: `state ${state}` });
    }
  } else if (Number(transfer) !== state || String(row['t_user_id']) !== String(row['user_id'])) {
    counter.violation({
      ...where,
      problem: 'transfer-disagrees',
      detail: `order state ${state}, transfer state ${String(transfer)}`,
    });
  }
}

/** Every transfer has its order, comes to an end, and the order is at one end of it. */
export const transfersPass: Pass = {
  checks: ['rows', 'orders'],
  page: async (context, after) => {
    const { counter } = context;
    const key = ['bucket', 'order_id'];
    const { rows, last } = await readPage(context, { text: readTransfers, key, after });
    counter.checked('rows', rows.length);
    counter.checked('orders', rows.length);
    const walks: Walk[] = [];
    for (const row of rows) {
      const bucket = Number(row['bucket']);
      const orderId = String(row['order_id']);
      const holding = holdingOf(row, bucket, orderId);
      const { transfer } = holding;
      if (transfer === undefined) continue;
      const home = bucketOf(transfer.userId);
      checkPlace(context, { table: 'order_transfers', bucket, key: orderId, home });
      const where = at(context, 'orders', bucket, `order_transfers ${bucket}/${orderId}`);
      if (holding.order === undefined) {
        counter.violation({ ...where, problem: 'order-missing' });
      }
      if (transfer.state !== ORDER_STATE.moved && transfer.updatedAt < context.staleBefore) {
        const problem =
          transfer.state === ORDER_STATE.pending ? 'pending-too-long' : 'locked-too-long';
        counter.violation({ ...where, problem, detail: `since ${transfer.updatedAt}` });
      }
      const walk = holding.order === undefined ? undefined : startWalk(holding);
      if (walk !== undefined) walks.push(walk);
    }
    if (counter.wants('orders')) await followAll(context, walks);
    return { rows: rows.length, last };
  },
};

/** All walks of a page, a step of each at once. A walk that does not end well is looked at again. */
async function followAll(context: PassContext, begun: readonly Walk[]): Promise<void> {
  let walks = begun;
  // A walk visits no bucket twice, and between two of them at most one more holding.
  for (let steps = 0; walks.length > 0 && steps <= 2 * BUCKET_COUNT; steps += 1) {
    const found = await context.lookups.orders(
      walks.map(({ bucket, start }) => ({ bucket, key: start.orderId })),
    );
    const on: Walk[] = [];
    for (const walk of walks) {
      const { orderId, bucket } = walk.start;
      const holding = found.get(orderName(walk.bucket, orderId)) ?? {
        bucket: walk.bucket,
        orderId,
        order: undefined,
        transfer: undefined,
      };
      const step = walkOn(walk, holding);
      if (step.kind === 'on') on.push(step.walk);
      if (step.kind === 'wrong') context.suspect({ kind: 'transfer', bucket, orderId });
    }
    walks = on;
  }
}

/** A transfer that its saga says is finished. */
export interface FinishedTransfer {
  readonly orderId: string;
  readonly fromUserId: string;
  readonly toUserId: string;
}

/** After a finished transfer at most one of the two users sees the order. */
export async function checkFinished(
  context: PassContext,
  transfers: readonly FinishedTransfer[],
): Promise<void> {
  const across = transfers.filter((each) => bucketOf(each.fromUserId) !== bucketOf(each.toUserId));
  const places = across.flatMap(({ orderId, fromUserId, toUserId }) =>
    [fromUserId, toUserId].map((userId) => ({ bucket: bucketOf(userId), key: orderId })),
  );
  const found = await context.lookups.orders(places);
  for (const transfer of across) {
    const { orderId, fromUserId, toUserId } = transfer;
    const source = found.get(orderName(bucketOf(fromUserId), orderId));
    const target = found.get(orderName(bucketOf(toUserId), orderId));
    if (source !== undefined && target !== undefined && areBothVisible(transfer, source, target)) {
      context.suspect({ kind: 'finished-transfer', ...transfer });
    }
  }
}

/** Both users of a finished transfer see the order: it exists twice. */
export function areBothVisible(
  { fromUserId, toUserId }: FinishedTransfer,
  source: Holding,
  target: Holding,
): boolean {
  return (
    isVisible(source) &&
    isVisible(target) &&
    isSameOrder(source, target) &&
    isHeldFor(source, fromUserId) &&
    isHeldFor(target, toUserId)
  );
}
