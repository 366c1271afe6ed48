import type { RouteReply } from './route-caller.ts';
import type { SliceApp } from './slice-app.ts';

/** What tests of transfers do and look at, over the slices without a host. */
export interface TransferWorld {
  transfer(
    orderId: string,
    users: readonly [from: string, to: string],
    key?: string,
  ): Promise<RouteReply>;
  get(userId: string, orderId: string): Promise<RouteReply>;
  /** Users who see the order in their list, of those given. */
  holders(orderId: string, users: readonly string[]): Promise<readonly string[]>;
  /** All rows of an order, as `user/placed for: state`, sorted. */
  rowsOf(orderId: string): Promise<readonly string[]>;
  /** Rows that are locked or pending, and traces that do not fit their order's row; none when all is settled. */
  unsettled(): Promise<readonly string[]>;
}

export function createTransferWorld(app: SliceApp): TransferWorld {
  const get: TransferWorld['get'] = (userId, orderId) =>
    app.call('orders-get', { params: { userId, orderId } });
  return {
    get,
    transfer: (orderId, [fromUserId, toUserId], key) =>
      app.call('orders-transfer', {
        params: { orderId },
        json: { fromUserId, toUserId },
        headers: key === undefined ? {} : { 'idempotency-key': key },
      }),
    holders: async (orderId, users) => {
      const lists = await Promise.all(
        users.map(async (userId) => {
          const reply = await app.call('orders-list', {
            params: { userId },
            path: `/api/users/${userId}/orders?limit=1000`,
          });
          const orders = reply.json['orders'] as readonly { readonly orderId: string }[];
          return orders.filter((order) => order.orderId === orderId).map(() => userId);
        }),
      );
      return lists.flat();
    },
    rowsOf: async (orderId) => {
      const rows = await app.allRows(
        'SELECT user_id, placed_for, state FROM orders WHERE order_id = ?',
        [orderId],
      );
      return rows
        .map(
          (row) =>
            `${String(row['user_id'])}/${String(row['placed_for'])}: ${String(row['state'])}`,
        )
        .toSorted();
    },
    unsettled: async () => {
      const rows = await app.allRows(`
        SELECT CONCAT('order ', o.order_id, ' ', o.state) what FROM orders o
        LEFT JOIN order_transfers t ON t.bucket = o.bucket AND t.order_id = o.order_id
        WHERE o.state IN (1, 2) OR (o.state = 3 AND t.order_id IS NULL)
        UNION ALL
        SELECT CONCAT('trace ', t.order_id, ' ', t.state) FROM order_transfers t
        LEFT JOIN orders o ON t.bucket = o.bucket AND t.order_id = o.order_id
        WHERE o.order_id IS NULL OR o.state <> t.state OR o.user_id <> t.user_id`);
      return rows.map((row) => String(row['what']));
    },
  };
}
