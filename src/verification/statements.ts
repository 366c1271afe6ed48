import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';

/**
 * Statements of the checks. Each page is one range of a primary key, joined with the ownership of its bucket: one
 * statement is one snapshot, so a row and "this shard owns it" are of one moment. STRAIGHT_JOIN keeps the page's table
 * outside, which keeps the order of the key without a sort; FORCE INDEX keeps MySQL from a hash join with a small table,
 * which would read the whole range and sort it for each page.
 */
const OWNED = "w.state IN ('owned', 'fenced')";

/** How a keyset page goes on. Values after the first page: bucket, key, bucket, last bucket; before: first and last bucket. */
function range(alias: string, key: string, marker: string, isFirst: boolean): string {
  return isFirst
    ? `${alias}.bucket BETWEEN ? AND ?`
    : `((${alias}.bucket = ? AND ${alias}.${key} > ${marker}) OR (${alias}.bucket > ? AND ${alias}.bucket <= ?))`;
}

const NUMBER = 'CAST(? AS SIGNED)';
const BINARY = 'UNHEX(?)';
const ASCII = 'CONVERT(? USING ascii) COLLATE ascii_bin';

/** All ownership rows, at most 1024. */
export const READ_ALL_OWNERSHIP =
  'SELECT bucket, state, epoch, moved_to FROM bucket_ownership ORDER BY bucket';

/** Epoch of each bucket the shard owns. Values: first and last bucket. */
export const READ_OWNED = `
SELECT w.bucket, w.epoch FROM bucket_ownership w WHERE w.bucket BETWEEN ? AND ? AND ${OWNED}`;

/** Columns: bucket, user_id, email, k (email key, hex). Values: range, limit. */
export function readUsers(isFirst: boolean): string {
  return `
SELECT u.bucket, u.user_id, u.email, HEX(u.email_key) AS k
FROM users u
STRAIGHT_JOIN bucket_ownership w ON w.bucket = u.bucket AND ${OWNED}
WHERE ${range('u', 'user_id', NUMBER, isFirst)}
ORDER BY u.bucket, u.user_id LIMIT ?`;
}

/** Columns: bucket, k (hex), email, user_id, state, updated_at. Values: range, limit. */
export function readDirectory(isFirst: boolean): string {
  return `
SELECT d.bucket, HEX(d.email_key) AS k, d.email, d.user_id, d.state, d.updated_at
FROM email_directory d
STRAIGHT_JOIN bucket_ownership w ON w.bucket = d.bucket AND ${OWNED}
WHERE ${range('d', 'email_key', BINARY, isFirst)}
ORDER BY d.bucket, d.email_key LIMIT ?`;
}

/**
 * Orders with their user and their transfer, both in the same bucket and hence in the same snapshot. Columns: bucket,
 * order_id, user_id, amount_cents, state, owner_id (null: no such user), t_state, t_user_id. Values: range, limit.
 */
export function readOrders(isFirst: boolean): string {
  return `
SELECT o.bucket, o.order_id, o.user_id, o.amount_cents, o.state, u.user_id AS owner_id,
  t.state AS t_state, t.user_id AS t_user_id
FROM orders o
STRAIGHT_JOIN bucket_ownership w ON w.bucket = o.bucket AND ${OWNED}
LEFT JOIN users u FORCE INDEX (PRIMARY) ON u.bucket = o.bucket AND u.user_id = o.user_id
LEFT JOIN order_transfers t FORCE INDEX (PRIMARY) ON t.bucket = o.bucket AND t.order_id = o.order_id
WHERE ${range('o', 'order_id', NUMBER, isFirst)}
ORDER BY o.bucket, o.order_id LIMIT ?`;
}

const HOLDING = `o.order_id AS found, o.user_id AS o_user_id, o.placed_for, o.amount_cents, o.created_at,
  o.state AS o_state, t.user_id AS t_user_id, t.peer_user_id, t.state AS t_state, t.saga_id, t.updated_at`;

/** Columns: bucket, order_id, and those of a holding (`order-holding.ts`). Values: range, limit. */
export function readTransfers(isFirst: boolean): string {
  return `
SELECT t.bucket, t.order_id, ${HOLDING}
FROM order_transfers t
STRAIGHT_JOIN bucket_ownership w ON w.bucket = t.bucket AND ${OWNED}
LEFT JOIN orders o FORCE INDEX (PRIMARY) ON o.bucket = t.bucket AND o.order_id = t.order_id
WHERE ${range('t', 'order_id', NUMBER, isFirst)}
ORDER BY t.bucket, t.order_id LIMIT ?`;
}

/** Columns: bucket, saga_id, kind, status, has_outcome, created_at, finished_at, input. Values: range, limit. */
export function readSagas(isFirst: boolean): string {
  return `
SELECT s.bucket, s.saga_id, s.kind, s.status, s.outcome IS NOT NULL AS has_outcome, s.created_at, s.finished_at,
  IF(s.kind = 'transfer-order' AND s.status = 'completed', s.input, NULL) AS input
FROM sagas s
STRAIGHT_JOIN bucket_ownership w ON w.bucket = s.bucket AND ${OWNED}
WHERE ${range('s', 'saga_id', ASCII, isFirst)}
ORDER BY s.bucket, s.saga_id LIMIT ?`;
}

/** Columns: bucket, saga_id, step, state. Values as the others', with the step after the saga where a page goes on. */
export function readLedger(isFirst: boolean): string {
  const place = isFirst
    ? 's.bucket BETWEEN ? AND ?'
    : `((s.bucket = ? AND s.saga_id = ${ASCII} AND s.step > ${ASCII})
  OR (s.bucket = ? AND s.saga_id > ${ASCII}) OR (s.bucket > ? AND s.bucket <= ?))`;
  return `
SELECT s.bucket, s.saga_id, s.step, s.state
FROM saga_steps s
STRAIGHT_JOIN bucket_ownership w ON w.bucket = s.bucket AND ${OWNED}
WHERE ${place}
ORDER BY s.bucket, s.saga_id, s.step LIMIT ?`;
}

/**
 * Rows of a table in buckets that the shard does not own, by bucket, with the state of that moment (null: the shard has
 * no word on the bucket). Values: the buckets.
 */
export function countCopies(table: string, buckets: number): string {
  if (!SHARDED_TABLES.some(({ name }) => name === table)) throw new RangeError(table);
  const list = Array.from({ length: buckets }, () => '?').join(', ');
  return `
SELECT r.bucket, w.state, COUNT(*) AS n
FROM ${table} r
LEFT JOIN bucket_ownership w ON w.bucket = r.bucket
WHERE r.bucket IN (${list})
GROUP BY r.bucket, w.state`;
}

/** Looks up many keys at once, as one JSON array of arrays: a point read of the primary key each. */
const BY_ID = "JSON_TABLE(?, '$[*]' COLUMNS (b INT PATH '$[0]', i BIGINT PATH '$[1]')) j";
const BY_TEXT = "JSON_TABLE(?, '$[*]' COLUMNS (b INT PATH '$[0]', i VARCHAR(100) PATH '$[1]')) j";

/** Columns: k (hex), user_id, state. Value: JSON of [bucket, email key in hex]. */
export const FIND_EMAILS = `
SELECT HEX(d.email_key) AS k, d.user_id, d.state
FROM ${BY_TEXT}
STRAIGHT_JOIN email_directory d ON d.bucket = j.b AND d.email_key = UNHEX(j.i)
STRAIGHT_JOIN bucket_ownership w ON w.bucket = d.bucket AND ${OWNED}`;

/** Columns: user_id, k (hex). Value: JSON of [bucket, user id]. */
export const FIND_USERS = `
SELECT u.user_id, HEX(u.email_key) AS k
FROM ${BY_ID}
STRAIGHT_JOIN users u ON u.bucket = j.b AND u.user_id = j.i
STRAIGHT_JOIN bucket_ownership w ON w.bucket = u.bucket AND ${OWNED}`;

/** Columns: bucket, order_id, and those of a holding. Value: JSON of [bucket, order id]. */
export const FIND_ORDERS = `
SELECT o.bucket, o.order_id, ${HOLDING}
FROM ${BY_ID}
STRAIGHT_JOIN orders o ON o.bucket = j.b AND o.order_id = j.i
STRAIGHT_JOIN bucket_ownership w ON w.bucket = o.bucket AND ${OWNED}
LEFT JOIN order_transfers t FORCE INDEX (PRIMARY) ON t.bucket = o.bucket AND t.order_id = o.order_id`;

/** Columns: saga_id. Value: JSON of [bucket, saga id]. */
export const FIND_SAGAS = `
SELECT s.saga_id
FROM ${BY_TEXT}
STRAIGHT_JOIN sagas s ON s.bucket = j.b AND s.saga_id = CONVERT(j.i USING ascii) COLLATE ascii_bin
STRAIGHT_JOIN bucket_ownership w ON w.bucket = s.bucket AND ${OWNED}`;

/** Second looks, one key each; a row comes back whenever the shard has a word on the bucket. Values: key, bucket. */
export const LOOK_AT_USER = `
SELECT w.state, w.moved_to, u.user_id, u.email, HEX(u.email_key) AS k
FROM bucket_ownership w
LEFT JOIN users u ON u.bucket = w.bucket AND u.user_id = ?
WHERE w.bucket = ?`;

export const LOOK_AT_EMAIL = `
SELECT w.state, w.moved_to, HEX(d.email_key) AS k, d.user_id, d.state AS held
FROM bucket_ownership w
LEFT JOIN email_directory d ON d.bucket = w.bucket AND d.email_key = UNHEX(?)
WHERE w.bucket = ?`;

/** Values: order id, order id, bucket. */
export const LOOK_AT_ORDER = `
SELECT w.state, w.moved_to, w.bucket, ${HOLDING}
FROM bucket_ownership w
LEFT JOIN orders o ON o.bucket = w.bucket AND o.order_id = ?
LEFT JOIN order_transfers t ON t.bucket = w.bucket AND t.order_id = ?
WHERE w.bucket = ?`;

/**
 * Whether the shard holds an unfinished change of a user's email: a short range of `sagas_by_status`. Values: created
 * after, pattern of the user's id in the input.
 */
export const FIND_UNFINISHED_CHANGE = `
SELECT s.saga_id
FROM sagas s
STRAIGHT_JOIN bucket_ownership w ON w.bucket = s.bucket AND ${OWNED}
WHERE s.status IN ('running', 'compensating') AND s.kind = 'change-email' AND s.created_at >= ? AND s.input LIKE ?
LIMIT 1`;
