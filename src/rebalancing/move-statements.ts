import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';

/** SQL of ownership and progress of moves. What copies, compares and deletes rows is in `row-statements.ts`. */

const list = (count: number): string => Array.from({ length: count }, () => '?').join(', ');

/** Columns of tables: `t`, `c`, `d` (type), `bytes`. Values: names of tables, through the text protocol. */
export function readColumns(tables: number): string {
  return `SELECT TABLE_NAME AS t, COLUMN_NAME AS c, DATA_TYPE AS d, CHARACTER_OCTET_LENGTH AS bytes FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${list(tables)})`;
}

/** Mean bytes per row by the server's statistics: `t`, `bytes`. Values: names of tables, through the text protocol. */
export function readRowLengths(tables: number): string {
  return `SELECT TABLE_NAME AS t, AVG_ROW_LENGTH AS bytes FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${list(tables)})`;
}

/** Rows of a bucket in every sharded table: `t`, `n`. Each is one range of the primary key. */
export function countRows(bucket: number): string {
  return SHARDED_TABLES.map(
    ({ name }) => `SELECT '${name}' AS t, COUNT(*) AS n FROM ${name} WHERE bucket = ${bucket}`,
  ).join(' UNION ALL ');
}

/** The sharded tables in which a bucket has a row at all: `t`. */
export function tablesWithRows(bucket: number): string {
  return SHARDED_TABLES.map(
    ({ name }) => `(SELECT '${name}' AS t FROM ${name} WHERE bucket = ${bucket} LIMIT 1)`,
  ).join(' UNION ALL ');
}

export const READ_MOVE =
  'SELECT move_id, source_shard, epoch, phase, progress, started_at, updated_at FROM bucket_moves WHERE bucket = ?';

/** Values: bucket, epoch, time, token. Fails with `duplicate` when there is a row. */
export const INSERT_RECEIVING =
  "INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at, token) VALUES (?, 'receiving', ?, NULL, ?, ?)";

/** A bucket that was here before comes back. Values: epoch, time, token, bucket, epoch at which it left. */
export const TURN_TO_RECEIVING =
  "UPDATE bucket_ownership SET state = 'receiving', epoch = ?, moved_to = NULL, fenced_until = NULL, updated_at = ?, token = ? WHERE bucket = ? AND state = 'gone' AND epoch = ?";

export const DELETE_MOVE = 'DELETE FROM bucket_moves WHERE bucket = ?';

/** As {@link DELETE_MOVE}, for packets. */
export function deleteMove(bucket: number): string {
  return `DELETE FROM bucket_moves WHERE bucket = ${bucket}`;
}

/** Values: bucket, move, source, epoch, progress, time, time. */
export const INSERT_MOVE =
  "INSERT INTO bucket_moves (bucket, move_id, source_shard, epoch, phase, progress, started_at, updated_at) VALUES (?, ?, ?, ?, 'copying', ?, ?, ?)";

/**
 * A delivery takes the move over: waits for writes under the token of before and refuses those that come later. Only
 * while the bucket is being received for this move and nobody cancels it. Values: token, time, bucket, move.
 */
export const CLAIM = `
UPDATE bucket_ownership SET token = ?, updated_at = ?
WHERE bucket = ? AND state = 'receiving'
  AND EXISTS (SELECT 1 FROM bucket_moves m
    WHERE m.bucket = bucket_ownership.bucket AND m.move_id = ? AND m.phase <> 'cancelling')`;

/** As {@link CLAIM}, if the move is still held with the token of before. Values: …, that token. */
export const RECLAIM = `${CLAIM} AND token = ?`;

/** For the cancellation, whatever its phase. Values: token, time, bucket, move. */
export const CLAIM_TO_CANCEL = CLAIM.replace(" AND m.phase <> 'cancelling'", '');

export const MARK_CANCELLING =
  "UPDATE bucket_moves SET phase = 'cancelling', updated_at = ? WHERE bucket = ?";

/** Back from {@link MARK_CANCELLING}, when the move turned out to be decided. Values: time, bucket, move. */
export const UNMARK_CANCELLING =
  "UPDATE bucket_moves SET phase = 'checking', updated_at = ? WHERE bucket = ? AND move_id = ? AND phase = 'cancelling'";

/**
 * The last of a cancellation: the target points at the source again, at the source's epoch. Without a row a shard that had
 * the bucket before could send nobody on, and the purge of older copies would find no owner behind it. Values: source,
 * time, bucket, token.
 */
export const SEND_BACK =
  "UPDATE bucket_ownership SET state = 'gone', moved_to = ?, fenced_until = NULL, token = NULL, updated_at = ? WHERE bucket = ? AND state = 'receiving' AND token = ?";

/** For packets; all values are literals. */
export function saveProgress(values: {
  readonly bucket: number;
  readonly phase: string;
  readonly progress: string;
  readonly now: string;
}): string {
  return `UPDATE bucket_moves SET phase = ${values.phase}, progress = ${values.progress}, updated_at = ${values.now} WHERE bucket = ${values.bucket}`;
}

/**
 * What was verified, while the bucket is being received under this token; no rows when it is not. One statement, because
 * writers wait: a packet would be one as well, but waits for a connection of the batches. Locks both rows in the order of
 * a cancellation. Values: progress, time, time, bucket, token.
 */
export const RECORD_VERIFIED = `
UPDATE bucket_ownership w LEFT JOIN bucket_moves m ON m.bucket = w.bucket
SET m.progress = ?, m.updated_at = ?, w.updated_at = ?
WHERE w.bucket = ? AND w.state = 'receiving' AND w.token = ?`;

/** After the switch, when no token is left. Values: progress, time, bucket, move. */
export const SAVE_PUBLISHED =
  "UPDATE bucket_moves SET progress = ?, updated_at = ? WHERE bucket = ? AND move_id = ? AND phase = 'owned'";

/**
 * For packets: fails with error 1242 (`assertion`) unless the bucket is being received under this token; holds its row
 * with a shared lock until the transaction ends, so that a claim waits for it. `token` is a literal.
 */
export function assertReceiving(bucket: number, token: string): string {
  return assertOwnership(bucket, `state = 'receiving' AND token = ${token}`);
}

/** As {@link assertReceiving}: the bucket has left this shard at that epoch. */
export function assertGone(bucket: number, epoch: number): string {
  return assertOwnership(bucket, `state = 'gone' AND epoch = ${epoch}`);
}

function assertOwnership(bucket: number, condition: string): string {
  return `SELECT IF((SELECT COUNT(*) FROM bucket_ownership WHERE bucket = ${bucket} AND ${condition} LOCK IN SHARE MODE) = 1, 1, (SELECT 1 UNION ALL SELECT 2)) AS asserted`;
}
