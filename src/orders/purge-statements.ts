import { ORDER_STATE } from './statements.ts';

const { moved } = ORDER_STATE;

/**
 * Traces of moved orders in owned buckets by age, from the index `order_transfers_by_state`, which holds the whole key.
 * Values: the time before which they moved, the limit.
 */
export const FIND_MOVED = `
SELECT t.bucket, t.order_id
FROM order_transfers t FORCE INDEX (order_transfers_by_state)
STRAIGHT_JOIN bucket_ownership w ON w.bucket = t.bucket AND w.state = 'owned'
WHERE t.state = ${moved} AND t.updated_at < ?
ORDER BY t.updated_at
LIMIT ?`;

/**
 * Deletes traces together with the row of the order, both of them moved; an order in any other state stays, and its
 * trace with it. In a transaction that holds the fences. Locks the order's row before its trace, as transfers do. Affected:
 * the rows of both tables. Values: JSON array of `[bucket, order id]`, the time before which they moved.
 */
export const DELETE_MOVED = `
DELETE t, o
FROM JSON_TABLE(?, '$[*]' COLUMNS (b INT PATH '$[0]', i BIGINT PATH '$[1]')) j
STRAIGHT_JOIN orders o ON o.bucket = j.b AND o.order_id = j.i
STRAIGHT_JOIN order_transfers t ON t.bucket = o.bucket AND t.order_id = o.order_id
WHERE t.state = ${moved} AND t.updated_at < ? AND o.state = ${moved}`;
