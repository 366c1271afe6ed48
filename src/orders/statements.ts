/**
 * `orders.state` (ADR 0015). Plain and locked orders are seen and counted; a pending one is not yet, and a moved one not
 * any more.
 */
export const ORDER_STATE = { plain: 0, locked: 1, pending: 2, moved: 3 } as const;

/** True of orders that are seen and counted. */
const VISIBLE = `state < ${ORDER_STATE.pending}`;

/**
 * Whom the order of a row was placed for, whoever has it now: a transfer inside the bucket remembers that. Null for a
 * pending row, unless the order was in this bucket before: nobody placed it here.
 */
export const PLACED_FOR = `IF(orders.state = ${ORDER_STATE.pending}, orders.placed_for, IFNULL(orders.placed_for, orders.user_id))`;

/**
 * Places one order: fence, existence of the user, idempotency and conflict detection in one round trip
 * (FACTS-mysql 1, 3). Affected 0: not the owner, or no such user. Otherwise `insertId` 0: new, 1: there already
 * with the same content (or was, and was transferred since), 2: the id is taken by another order.
 *
 * - The derived table holds shared locks on the ownership row (the fence) and on the user's row until commit. Without
 *   the explicit lock clause rows slip in behind a fence under READ COMMITTED.
 * - A duplicate of the primary key ends in the no-op update, whose only effect is the value of LAST_INSERT_ID.
 *   INSERT IGNORE would hide truncated values.
 * - CASTs, because ids of 64 bits compared with text would be compared as doubles.
 *
 * Values: order id, amount, created at, user id, bucket, 1 when the time was made by us and does not count as content.
 */
export const INSERT_ORDER = `
INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at)
SELECT n.b, n.o, n.u, n.a, n.c
FROM (
  SELECT w.bucket b, CAST(? AS SIGNED) o, u.user_id u, CAST(? AS SIGNED) a, CAST(? AS DATETIME(3)) c
  FROM bucket_ownership w
  JOIN users u ON u.bucket = w.bucket AND u.user_id = ?
  WHERE w.bucket = ? AND w.state = 'owned'
  LOCK IN SHARE MODE
) n
ON DUPLICATE KEY UPDATE order_id = IF(
  LAST_INSERT_ID(IF(
    ${PLACED_FOR} = n.u AND orders.amount_cents = n.a AND (orders.created_at = n.c OR ? = 1), 1, 2)),
  orders.order_id, orders.order_id)`;

/** Orders as one value: JSON rows of bucket, order id, user id, amount, created at. Ids are bare integers, read exactly. */
const ORDER_LIST = `JSON_TABLE(?, '$[*]' COLUMNS (
  b INT PATH '$[0]', o BIGINT PATH '$[1]', u BIGINT PATH '$[2]', a INT PATH '$[3]', c DATETIME(3) PATH '$[4]')) j`;

/**
 * Places the orders of many callers, all or none of them, in one round trip and one commit. Fence and user are locked as
 * in {@link INSERT_ORDER}, row by row: the scalar subquery cannot be turned around by an optimiser, so exactly these rows
 * are locked, in the order of the list (FACTS-mysql 2). A bucket or user that is not here makes the user id NULL, which the
 * column refuses (1048, `assertion`); an order id that is taken is a `duplicate`. Either takes the whole statement back.
 * One prepared statement for lists of any length. Rows in the order of the primary key. Value: the list.
 */
export const INSERT_ORDERS = `
INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at)
SELECT j.b, j.o, (
  SELECT u.user_id FROM bucket_ownership w JOIN users u ON u.bucket = w.bucket AND u.user_id = j.u
  WHERE w.bucket = j.b AND w.state = 'owned' LOCK IN SHARE MODE
), j.a, j.c
FROM ${ORDER_LIST}`;

/**
 * Which orders of a list {@link INSERT_ORDERS} would take: bucket and user are here, the id is free. Reads without locks;
 * primary keys only. Columns: bucket, order id. Value: the list.
 */
export const READ_INSERTABLE = `
SELECT j.b AS bucket, j.o AS order_id
FROM ${ORDER_LIST}
STRAIGHT_JOIN bucket_ownership w ON w.bucket = j.b AND w.state = 'owned'
STRAIGHT_JOIN users u ON u.bucket = j.b AND u.user_id = j.u
LEFT JOIN orders ON orders.bucket = j.b AND orders.order_id = j.o
WHERE orders.order_id IS NULL`;

/** Why {@link INSERT_ORDER} wrote nothing, in one consistent read. Values: user id, bucket. */
export const READ_OWNER = `
SELECT w.state, w.moved_to, u.user_id AS owner_id
FROM bucket_ownership w
LEFT JOIN users u ON u.bucket = w.bucket AND u.user_id = ? AND w.state = 'owned'
WHERE w.bucket = ?`;

/** One order of a user, with the ownership of its bucket. Primary keys only. Values: user id, order id, bucket. */
export const READ_ORDER = `
SELECT w.state, w.moved_to, u.user_id AS owner_id, o.order_id, o.amount_cents, o.created_at
FROM bucket_ownership w
LEFT JOIN users u ON u.bucket = w.bucket AND u.user_id = ? AND w.state = 'owned'
LEFT JOIN orders o ON o.bucket = u.bucket AND o.order_id = ? AND o.user_id = u.user_id AND o.${VISIBLE}
WHERE w.bucket = ?`;

/**
 * One order as it was placed for a user, whoever has it now, with the ownership of its bucket. Primary keys only.
 * Values: user id, order id, bucket.
 */
export const READ_PLACED = `
SELECT w.state, w.moved_to, orders.order_id, orders.amount_cents, orders.created_at
FROM bucket_ownership w
LEFT JOIN orders ON ${PLACED_FOR} = CAST(? AS SIGNED)
  AND orders.bucket = w.bucket AND orders.order_id = ? AND w.state = 'owned'
WHERE w.bucket = ?`;

/** After a position. Written so that `created_at` bounds the index range, which a row comparison does not on every engine. */
const AFTER = 'AND created_at <= ? AND (created_at < ? OR order_id < CAST(? AS SIGNED))';

/**
 * A page of a user's orders, newest first. No row when the shard does not own the bucket, there is no such user, or there are no
 * orders, which {@link READ_FIRST_PAGE_AND_OWNER} tells apart.
 *
 * Reads `orders_by_user` backwards and stops at the limit. Does not name the bucket of the orders, which follows from the
 * user: with it MySQL 9.7 read the whole bucket by primary key. Forced, because where one user has most orders of a shard
 * MySQL prefers to scan and sort. The condition on owner and user depends on no order and is looked at once. Orders that moved
 * away are read and left out, until they are purged.
 * Values (text protocol): bucket, user id, user id, limit.
 */
export const READ_FIRST_PAGE = page('');

/** A later page: the orders after a position. Values: bucket, user id, user id, created at, created at, order id, limit. */
export const READ_NEXT_PAGE = page(AFTER);

/**
 * The same page with ownership and the user's existence in at least one row, also when there are no orders, all of one
 * moment. Dearer than {@link READ_FIRST_PAGE} by half: the page is written into a temporary table. It is joined as a whole,
 * since otherwise both engines read and sort all orders of the user; the outer order sorts the one page. Values: as there.
 */
export const READ_FIRST_PAGE_AND_OWNER = pageAndOwner('');

/** Of a later page. Values: as {@link READ_NEXT_PAGE}. */
export const READ_NEXT_PAGE_AND_OWNER = pageAndOwner(AFTER);

function page(after: string): string {
  return `
SELECT order_id, amount_cents, created_at
FROM orders FORCE INDEX (orders_by_user)
WHERE 'owned' = (
  SELECT w.state FROM bucket_ownership w JOIN users u ON u.bucket = w.bucket WHERE w.bucket = ? AND u.user_id = ?
) AND ${newestOf(after)}`;
}

function pageAndOwner(after: string): string {
  return `
SELECT w.state, w.moved_to, u.user_id AS owner_id, o.order_id, o.amount_cents, o.created_at
FROM (SELECT bucket, state, moved_to FROM bucket_ownership WHERE bucket = ?) w
LEFT JOIN users u ON u.bucket = w.bucket AND u.user_id = ? AND w.state = 'owned'
LEFT JOIN (
  SELECT order_id, amount_cents, created_at FROM orders FORCE INDEX (orders_by_user) WHERE ${newestOf(after)}
) o ON w.state = 'owned'
ORDER BY o.created_at DESC, o.order_id DESC`;
}

function newestOf(after: string): string {
  return `user_id = ? AND ${VISIBLE} ${after} ORDER BY created_at DESC, order_id DESC LIMIT ?`;
}
