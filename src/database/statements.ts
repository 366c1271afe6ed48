/**
 * SQL of the database layer itself: ownership, identity, migrations, looks at the server. Statements about users,
 * orders and so on live in their slices.
 */

/** Primary key read; no lock. */
export const READ_OWNERSHIP =
  'SELECT state, epoch, moved_to FROM bucket_ownership WHERE bucket = ?';

/** As {@link READ_OWNERSHIP}, with what a move has written; `fenced_for_ms` is negative past the fence's end, NULL without one. */
export const READ_FENCE =
  'SELECT state, epoch, moved_to, token, CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), fenced_until) / 1000 AS SIGNED) AS fenced_for_ms FROM bucket_ownership WHERE bucket = ?';

/**
 * The fence: waits for the shared locks of writers in flight, and blocks later ones, who then find the new state
 * (FACTS-mysql 1). In a transaction of its own, with a lock wait of 1 s. SYSDATE, because its end counts from when the
 * lock was granted, not from when the statement began to wait. Values: token or NULL, microseconds or NULL, time,
 * bucket, epoch.
 */
export const FENCE_BUCKET =
  "UPDATE bucket_ownership SET state = 'fenced', token = ?, fenced_until = SYSDATE(3) + INTERVAL ? MICROSECOND, updated_at = ? WHERE bucket = ? AND state = 'owned' AND epoch = ?";

/** Values: time, bucket, epoch, token or NULL for any. */
export const LIFT_FENCE =
  "UPDATE bucket_ownership SET state = 'owned', token = NULL, fenced_until = NULL, updated_at = ? WHERE bucket = ? AND state = 'fenced' AND epoch = ? AND token <=> COALESCE(?, token)";

/** Anybody's, once the fence's end has passed by the server's clock. Values: time, bucket. */
export const LIFT_EXPIRED_FENCE =
  "UPDATE bucket_ownership SET state = 'owned', token = NULL, fenced_until = NULL, updated_at = ? WHERE bucket = ? AND state = 'fenced' AND fenced_until <= UTC_TIMESTAMP(3)";

/** The point of no return of a move (ADR 0016). Values: next epoch, target, time, bucket, epoch, token. */
export const GIVE_BUCKET_AWAY =
  "UPDATE bucket_ownership SET state = 'gone', epoch = ?, moved_to = ?, fenced_until = NULL, updated_at = ? WHERE bucket = ? AND state = 'fenced' AND epoch = ? AND token = ?";

/**
 * The target takes over, and the move's record with it; only after the source gave the bucket away at `epoch`. One
 * statement for both rows, since writers are waiting. Values: time, time, bucket, epoch.
 */
export const TAKE_BUCKET_OVER = `
UPDATE bucket_ownership w LEFT JOIN bucket_moves m ON m.bucket = w.bucket
SET w.state = 'owned', w.epoch = w.epoch + 1, w.moved_to = NULL, w.token = NULL, w.updated_at = ?,
  m.phase = 'owned', m.updated_at = ?
WHERE w.bucket = ? AND w.state = 'receiving' AND w.epoch = ?`;

/**
 * The fences of several buckets for one transaction, those that are owned; in order of the buckets, so that two of
 * them wait for each other instead of in a circle. Values: the buckets.
 */
export function lockOwned(buckets: number): string {
  const list = Array.from({ length: buckets }, () => '?').join(', ');
  return `SELECT bucket FROM bucket_ownership WHERE bucket IN (${list}) AND state = 'owned' ORDER BY bucket LOCK IN SHARE MODE`;
}

/** Start of the seed; followed by rows `(bucket, 'owned', 1, NULL, time)`. */
export const SEED_OWNERSHIP =
  'INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES ';

export const READ_IDENTITY =
  'SELECT cluster_id, shard_id, shard_name FROM shard_identity WHERE singleton = 1';

export const INSERT_IDENTITY =
  'INSERT INTO shard_identity (singleton, cluster_id, shard_id, shard_name, created_at) VALUES (1, ?, ?, ?, ?)';

export const READ_SERVER = 'SELECT VERSION() AS version, @@max_connections AS max_connections';

export const READ_VERSION = 'SELECT VERSION() AS version';

/** Waits up to the given seconds; 1 when it is ours. Ends with the session, also when that dies. */
export const TAKE_NAMED_LOCK = 'SELECT GET_LOCK(?, ?) AS taken';
export const FREE_NAMED_LOCK = 'SELECT RELEASE_LOCK(?) AS freed';

/**
 * One row per migration file ever begun, with the oldest version whose builds may go on (NULL: none). `begun` is the number of the statement last started, `done` of the one last
 * finished; all of the file is applied when `finished_at` is set.
 */
export const CREATE_MIGRATION_LOG = `CREATE TABLE IF NOT EXISTS schema_migrations (
  version INT UNSIGNED NOT NULL,
  name VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  checksum CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  begun INT UNSIGNED NOT NULL,
  done INT UNSIGNED NOT NULL,
  started_at DATETIME(3) NOT NULL,
  finished_at DATETIME(3) NULL,
  compatible_with INT UNSIGNED NULL,
  PRIMARY KEY (version)
) ENGINE=InnoDB`;

export const MIGRATION_LOG_EXISTS =
  "SELECT COUNT(*) AS present FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'schema_migrations'";

/** For a log that was made before this column. */
export const MIGRATION_LOG_HAS_COMPATIBILITY =
  "SELECT COUNT(*) AS present FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'schema_migrations' AND COLUMN_NAME = 'compatible_with'";
export const ADD_COMPATIBILITY_TO_LOG =
  'ALTER TABLE schema_migrations ADD COLUMN compatible_with INT UNSIGNED NULL';

/** All columns, because a log of an earlier build lacks `compatible_with`. */
export const READ_MIGRATION_LOG =
  'SELECT schema_migrations.*, finished_at IS NOT NULL AS finished FROM schema_migrations ORDER BY version';

export const BEGIN_MIGRATION =
  'INSERT INTO schema_migrations (version, name, checksum, begun, done, started_at, compatible_with) VALUES (?, ?, ?, 0, 0, ?, ?)';

export const BEGIN_MIGRATION_STATEMENT = 'UPDATE schema_migrations SET begun = ? WHERE version = ?';

export const END_MIGRATION_STATEMENT = 'UPDATE schema_migrations SET done = ? WHERE version = ?';

export const END_MIGRATION = 'UPDATE schema_migrations SET finished_at = ? WHERE version = ?';

/** Parameters: the names of the sharded tables, through the text protocol. */
export function readEstimatedRows(tables: number): string {
  const names = Array.from({ length: tables }, () => '?').join(', ');
  return `SELECT TABLE_NAME AS name, TABLE_ROWS AS estimate FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${names})`;
}

/** Statements that run at the moment: `Value`. */
export const READ_THREADS_RUNNING = "SHOW GLOBAL STATUS LIKE 'Threads_running'";
/** MariaDB; gives no row on MySQL: `Value`. */
export const READ_HISTORY_STATUS = "SHOW GLOBAL STATUS LIKE 'Innodb_history_list_length'";
/** MySQL; needs the privilege PROCESS: `Value`. */
export const READ_HISTORY_METRIC =
  "SELECT `COUNT` AS Value FROM information_schema.INNODB_METRICS WHERE NAME = 'trx_rseg_history_len'";
export const PROBE = 'SELECT 1 AS one';
