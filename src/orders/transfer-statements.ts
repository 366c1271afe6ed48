import { ORDER_STATE } from './statements.ts';

/**
 * Transfers of orders. All of it runs behind the fence of the row's bucket. The order's row is locked first, by primary
 * key; `order_transfers` has a row exactly for each order whose state is not plain, and is touched behind that lock only.
 */
const { locked, pending, moved } = ORDER_STATE;

/** An order's row, locked. Values: bucket, order id. */
export const LOCK_ORDER = `
SELECT o.order_id, o.user_id, o.placed_for, o.amount_cents, o.created_at, o.state
FROM orders o WHERE o.bucket = ? AND o.order_id = ? FOR UPDATE`;

/** The trace of an order whose row is locked. Values: bucket, order id. */
export const READ_TRACE = `
SELECT user_id, peer_user_id, state, saga_id FROM order_transfers WHERE bucket = ? AND order_id = ? FOR UPDATE`;

/** Users are not deleted: no lock. Values: bucket, user id. */
export const USER_EXISTS = 'SELECT 1 AS found FROM users WHERE bucket = ? AND user_id = ?';

/** Values: state, bucket, order id. */
export const SET_STATE = 'UPDATE orders SET state = ? WHERE bucket = ? AND order_id = ?';

/** Values: bucket, order id, user id, peer, state, saga, time. */
export const WRITE_TRACE = `
INSERT INTO order_transfers (bucket, order_id, user_id, peer_user_id, state, saga_id, updated_at)
VALUES (?, ?, ?, ?, ?, ?, CAST(? AS DATETIME(3)))
ON DUPLICATE KEY UPDATE user_id = VALUES(user_id), peer_user_id = VALUES(peer_user_id), state = VALUES(state),
  saga_id = VALUES(saga_id), updated_at = VALUES(updated_at)`;

/** Values: bucket, order id. */
export const DELETE_TRACE = 'DELETE FROM order_transfers WHERE bucket = ? AND order_id = ?';

/** Fails with a duplicate key when the order is there. Values: bucket, order id, user id, amount, created at, state. */
export const INSERT_RECEIVED = `
INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at, state)
VALUES (?, ?, ?, ?, CAST(? AS DATETIME(3)), ?)`;

/**
 * Gives a row to another user, and remembers for whom it was placed. Assigned from left to right: `placed_for` takes the
 * user before. Values: user id, state, bucket, order id.
 */
export const GIVE_ROW = `
UPDATE orders SET placed_for = IFNULL(placed_for, user_id), user_id = ?, state = ?
WHERE bucket = ? AND order_id = ?`;

/** Makes a row that moved away once, and was used again, what it was. Values: user id, placed for, bucket, order id. */
export const RESTORE_MOVED = `
UPDATE orders SET user_id = ?, placed_for = ?, state = ${moved} WHERE bucket = ? AND order_id = ?`;

/**
 * The ledger's two rows of a transfer in one transaction, which the row of the local try keeps from being done twice.
 * Values, twice: bucket, saga, step, result (JSON), time.
 */
export const RECORD_CROSSING = `
INSERT INTO saga_steps (bucket, saga_id, step, state, result, updated_at)
VALUES (?, ?, ?, 'done', ?, CAST(? AS DATETIME(3))), (?, ?, ?, 'done', ?, CAST(? AS DATETIME(3)))`;

/** Values: bucket, order id. */
export const DELETE_PENDING = `DELETE FROM orders WHERE bucket = ? AND order_id = ? AND state = ${pending}`;

/**
 * Locked and pending rows in owned buckets, untouched for long, from the index `order_transfers_by_state`. Values: the
 * time before which they were touched, the limit.
 */
export const FIND_HELD = `
SELECT t.bucket, t.order_id, t.user_id, t.peer_user_id, t.state, t.saga_id
FROM order_transfers t FORCE INDEX (order_transfers_by_state)
STRAIGHT_JOIN bucket_ownership w ON w.bucket = t.bucket AND w.state = 'owned'
WHERE t.state IN (${locked}, ${pending}) AND t.updated_at < ?
ORDER BY t.state, t.updated_at
LIMIT ?`;
