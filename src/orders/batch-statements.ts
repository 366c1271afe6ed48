import type { BucketId, OrderId, UserId } from '../kernel/ids.ts';
import type { AmountCents } from '../kernel/money.ts';
import { toSqlDatetime, type Timestamp } from '../kernel/time.ts';
import type { RowSet } from './row-set.ts';
import { PLACED_FOR } from './statements.ts';

/**
 * The statements of a batch of orders, for `Shard.packet`: text without parameters, because prepared multi-row
 * statements run at half the speed on MySQL (FACTS-mysql 2). Only numbers, ids and times that their parsers made
 * are written into the text; everything else goes through `literal`.
 */
export interface OrderRow {
  readonly bucket: BucketId;
  readonly orderId: OrderId;
  readonly userId: UserId;
  readonly amountCents: AmountCents;
  readonly createdAt: Timestamp;
  /**
   * False when the time is our default: an order that is there already then counts as the same whatever its time,
   * since the sender did not say one.
   */
  readonly createdAtGiven: boolean;
}

/** Weight of "there with other content" in the counter; above the rows of any chunk. */
const CONFLICT_WEIGHT = 1_000_000;

/** Quotes a value for SQL text (`Shard.literal`). */
export type Literal = (value: string | number) => string;

/**
 * Fails with error 1242 (`assertion`) unless the shard owns every one of these buckets; holds their rows with shared
 * locks until the transaction ends, so that a fence waits for it. A list of `bucket = constant` points on the primary
 * key: exactly the named rows are locked (FACTS-mysql 2).
 */
export function assertOwned(buckets: readonly BucketId[]): string {
  return assertCount(
    `SELECT COUNT(*) FROM bucket_ownership WHERE bucket IN (${buckets.join(',')}) AND state = 'owned' LOCK IN SHARE MODE`,
    buckets.length,
  );
}

/**
 * Fails with error 1242 unless every one of these users exists. Users are not deleted, and the fence keeps their
 * bucket here, so no lock is needed. STRAIGHT_JOIN keeps the list outside: one point read on users' primary key each.
 */
export function assertUsersExist(set: RowSet): string {
  return assertCount(
    `SELECT COUNT(*) FROM ${userList(set)} STRAIGHT_JOIN users u ON u.bucket = j.b AND u.user_id = j.u`,
    set.users,
  );
}

/** Which of these users exist: column `user_id`. */
export function selectUsers(set: RowSet): string {
  return `SELECT u.user_id FROM ${userList(set)} STRAIGHT_JOIN users u ON u.bucket = j.b AND u.user_id = j.u`;
}

/** State of these buckets on the shard; a bucket without a row is not listed. */
export function selectOwnership(buckets: readonly BucketId[]): string {
  return `SELECT bucket, state, moved_to FROM bucket_ownership WHERE bucket IN (${buckets.join(',')})`;
}

/** Sets the connection's counter to 0, ahead of {@link insertOrders}. */
export const RESET_COUNTER = 'SELECT LAST_INSERT_ID(0)';

/**
 * Inserts the orders. The connection's LAST_INSERT_ID becomes the number of those that were there with the same
 * content plus {@link CONFLICT_WEIGHT} times those with other content (FACTS-mysql 3); the rows there stay as they are.
 * A set stands in the order of the primary key: batches that overlap then wait for each other instead of deadlocking.
 */
export function insertOrders(set: RowSet): string {
  const sameTime = set.createdAtGiven ? ' AND created_at = VALUES(created_at)' : '';
  const same = `${PLACED_FOR} = VALUES(user_id) AND amount_cents = VALUES(amount_cents)${sameTime}`;
  return `INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at) VALUES
${set.values}
ON DUPLICATE KEY UPDATE order_id = IF(LAST_INSERT_ID(LAST_INSERT_ID() + IF(${same}, 1, ${CONFLICT_WEIGHT})), orders.order_id, orders.order_id)`;
}

/**
 * What is there under these keys, `user_id` being whom it was placed for: null for an order that is just coming here from
 * another user.
 */
export function selectOrders(rows: readonly OrderRow[]): string {
  const keys = rows.map((row) => `[${row.bucket},${row.orderId}]`).join(',');
  return `SELECT orders.bucket, orders.order_id, ${PLACED_FOR} AS user_id,
  orders.amount_cents, orders.created_at
FROM JSON_TABLE('[${keys}]', '$[*]' COLUMNS (b INT PATH '$[0]', o BIGINT PATH '$[1]')) j
STRAIGHT_JOIN orders ON orders.bucket = j.b AND orders.order_id = j.o`;
}

/** Identity of a chunk's transaction. */
export interface ChunkKey {
  readonly ingestionId: string;
  readonly chunk: string;
}

export interface ChunkFindings {
  /** Buckets the shard did not own. */
  readonly refusedBuckets: readonly BucketId[];
  readonly missingUsers: readonly UserId[];
}

/**
 * Records the chunk with the counter that {@link insertOrders} left, as the last statement of its transaction. Fails
 * with a duplicate key when the chunk was recorded before: then nothing of this transaction is wanted.
 */
export function insertChunkRecord(options: {
  readonly key: ChunkKey;
  readonly findings: ChunkFindings;
  readonly createdAt: Timestamp;
  readonly literal: Literal;
}): string {
  const { key, findings, createdAt, literal } = options;
  return `INSERT INTO ingestion_chunks (ingestion_id, chunk, duplicates, refused_buckets, missing_users, created_at)
VALUES (${literal(key.ingestionId)}, ${literal(key.chunk)}, LAST_INSERT_ID(), '${findings.refusedBuckets.join(',')}', '${findings.missingUsers.join(',')}', '${toSqlDatetime(createdAt)}')`;
}

export function selectChunkRecord(key: ChunkKey, literal: Literal): string {
  return `SELECT duplicates, refused_buckets, missing_users FROM ingestion_chunks
WHERE ingestion_id = ${literal(key.ingestionId)} AND chunk = ${literal(key.chunk)}`;
}

/** Removes an ingestion's records, at most 1 000 at a time: parameters `[ingestionId]`. */
export const DELETE_CHUNK_RECORDS =
  'DELETE FROM ingestion_chunks WHERE ingestion_id = ? LIMIT 1000';

/** Splits the counter that {@link insertOrders} leaves. */
export function splitCounter(counter: number): { readonly same: number; readonly other: number } {
  return { same: counter % CONFLICT_WEIGHT, other: Math.floor(counter / CONFLICT_WEIGHT) };
}

/**
 * 1, or error 1242 when the count is another: the only portable way to stop a packet (FACTS-mysql 2). The column has a
 * name, because without one it is named by its text, and the driver compiles and keeps a reader for each set of names.
 */
function assertCount(select: string, expected: number): string {
  return `SELECT IF((${select}) = ${expected}, 1, (SELECT 1 UNION ALL SELECT 2)) AS asserted`;
}

function userList(set: RowSet): string {
  return `JSON_TABLE('[${set.userKeys}]', '$[*]' COLUMNS (b INT PATH '$[0]', u BIGINT PATH '$[1]')) j`;
}
