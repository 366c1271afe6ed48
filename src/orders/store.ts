import type { Attempt, SqlRow, SqlRunner } from '../database/contracts.ts';
import { FENCE_LIFTED, refusalInRow } from '../database/refusals.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { BucketId, OrderId, UserId } from '../kernel/ids.ts';
import type { AmountCents } from '../kernel/money.ts';
import { fromSqlDatetime, toSqlDatetime } from '../kernel/time.ts';
import type { Position } from './cursor.ts';
import type { Order } from './model.ts';
import {
  INSERT_ORDER,
  READ_FIRST_PAGE,
  READ_FIRST_PAGE_AND_OWNER,
  READ_NEXT_PAGE,
  READ_NEXT_PAGE_AND_OWNER,
  READ_ORDER,
  READ_OWNER,
  READ_PLACED,
} from './statements.ts';

/** An order in its user's bucket. */
export interface BucketOrder extends Order {
  readonly bucket: BucketId;
  /** The time was made by us: a repeat has another one, so it is not compared. */
  readonly timeMade: boolean;
}

/**
 * Writes one order unless it is there; `same`: it was there already with the same content, also when another user has it
 * since. Idempotent. Throws `order-conflict` and `user-not-found` (permanent).
 */
export async function insertOrder(
  runner: SqlRunner,
  order: BucketOrder,
): Promise<Attempt<'new' | 'same'>> {
  const { affectedRows, insertId } = await runner.execute(INSERT_ORDER, [
    order.orderId,
    order.amountCents,
    toSqlDatetime(order.createdAt),
    order.userId,
    order.bucket,
    order.timeMade ? 1 : 0,
  ]);
  if (affectedRows === 0) {
    const [row] = await runner.select(READ_OWNER, [order.userId, order.bucket]);
    const refusal = refusalInRow(row);
    if (refusal !== undefined) return refusal;
    if (isUnknownUser(row)) throw userNotFound(order.userId);
    return FENCE_LIFTED;
  }
  if (insertId === 2) throw orderConflict(order.orderId);
  return { kind: 'answered', value: insertId === 0 ? 'new' : 'same' };
}

/** One order, or undefined when the user has no such order. Throws `user-not-found` (permanent). */
export async function readOrder(
  runner: SqlRunner,
  key: { readonly bucket: BucketId; readonly userId: UserId; readonly orderId: OrderId },
): Promise<Attempt<Order | undefined>> {
  const [row] = await runner.select(READ_ORDER, [key.userId, key.orderId, key.bucket]);
  const refusal = refusalInRow(row);
  if (refusal !== undefined) return refusal;
  if (isUnknownUser(row)) throw userNotFound(key.userId);
  return { kind: 'answered', value: orderIn(row, key.userId) };
}

/** One order as it was placed for the user, whoever has it now; undefined when none was. */
export async function readPlacedOrder(
  runner: SqlRunner,
  key: { readonly bucket: BucketId; readonly userId: UserId; readonly orderId: OrderId },
): Promise<Attempt<Order | undefined>> {
  const { userId, orderId, bucket } = key;
  const [row] = await runner.select(READ_PLACED, [userId, orderId, bucket]);
  const refusal = refusalInRow(row);
  if (refusal !== undefined) return refusal;
  return { kind: 'answered', value: orderIn(row, userId) };
}

/** Up to `limit` orders after a position (from the newest when undefined), newest first. Throws `user-not-found`. */
export async function readPage(
  runner: SqlRunner,
  page: {
    readonly bucket: BucketId;
    readonly userId: UserId;
    readonly after: Position | undefined;
    readonly limit: number;
  },
): Promise<Attempt<readonly Order[]>> {
  const { bucket, userId, after, limit } = page;
  const time = after === undefined ? '' : toSqlDatetime(after.createdAt);
  const position = after === undefined ? [] : [time, time, after.orderId];
  const values = [bucket, userId, userId, ...position, limit];
  const [text, textAndOwner] =
    after === undefined
      ? [READ_FIRST_PAGE, READ_FIRST_PAGE_AND_OWNER]
      : [READ_NEXT_PAGE, READ_NEXT_PAGE_AND_OWNER];
  const found = await runner.query(text, values);
  if (found.length > 0) return answeredOrders(found, userId);
  const rows = await runner.query(textAndOwner, values);
  const refusal = refusalInRow(rows[0]);
  if (refusal !== undefined) return refusal;
  if (isUnknownUser(rows[0])) throw userNotFound(userId);
  return answeredOrders(rows, userId);
}

/** The orders of joined rows; a row without one only tells about user and ownership. */
function answeredOrders(rows: readonly SqlRow[], userId: UserId): Attempt<readonly Order[]> {
  const orders = rows.map((row) => orderIn(row, userId));
  return { kind: 'answered', value: orders.filter((order) => order !== undefined) };
}

export function orderNotFound(orderId: OrderId): PermanentError {
  return new PermanentError('order-not-found', `The user has no order ${orderId}.`);
}

export function userNotFound(userId: UserId): PermanentError {
  return new PermanentError('user-not-found', `There is no user ${userId}.`);
}

function orderConflict(orderId: OrderId): PermanentError {
  return new PermanentError(
    'order-conflict',
    `Order id ${orderId} is in use for an order with other content. Leave the id out to get a new one.`,
  );
}

function isUnknownUser(row: SqlRow | undefined): boolean {
  return row?.['owner_id'] === null;
}

/** The order of a joined row, if there is one. */
function orderIn(row: SqlRow | undefined, userId: UserId): Order | undefined {
  if (row === undefined || row['order_id'] === null) return undefined;
  return {
    orderId: String(row['order_id']) as OrderId,
    userId,
    amountCents: Number(row['amount_cents']) as AmountCents,
    createdAt: fromSqlDatetime(String(row['created_at'])),
  };
}
