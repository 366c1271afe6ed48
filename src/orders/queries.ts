import { PermanentError } from '../kernel/errors.ts';
import type { OrderId, UserId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import type { Order } from './model.ts';
import { orderNotFound, readOrder, readPage } from './store.ts';

/** One order of a user. Throws `user-not-found` and `order-not-found`. */
export async function getOrder(
  services: Services,
  key: { readonly userId: UserId; readonly orderId: OrderId },
): Promise<Order> {
  const bucket = bucketOf(key.userId);
  const order = await services.database.onOwner(
    bucket,
    (shard) => readOrder(shard, { bucket, ...key }),
    { deadlineMs: services.config.REQUEST_DEADLINE_MS },
  );
  if (order === undefined) throw orderNotFound(key.orderId);
  return order;
}

export interface OrderPage {
  readonly orders: readonly Order[];
  /** Null on the last page. */
  readonly nextCursor: string | null;
}

/** A page of a user's orders, newest first. Throws `user-not-found`, and `validation-failed` for a foreign cursor. */
export async function listOrders(
  services: Services,
  page: { readonly userId: UserId; readonly limit: number; readonly cursor: string | undefined },
): Promise<OrderPage> {
  const { userId, limit, cursor } = page;
  const after = cursor === undefined ? undefined : decodeCursor(userId, cursor);
  if (cursor !== undefined && after === undefined) {
    throw PermanentError.validation('The request is not valid.', [
      { path: '/query/cursor', message: 'must be the nextCursor of an earlier page of this user' },
    ]);
  }
  const bucket = bucketOf(userId);
  // One more than asked for tells whether there is another page.
  const found = await services.database.onOwner(
    bucket,
    (shard) => readPage(shard, { bucket, userId, after, limit: limit + 1 }),
    { deadlineMs: services.config.REQUEST_DEADLINE_MS },
  );
  const orders = found.slice(0, limit);
  const last = orders.at(-1);
  const more = found.length > limit && last !== undefined;
  return { orders, nextCursor: more ? encodeCursor(userId, last) : null };
}
