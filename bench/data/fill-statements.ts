/** Filling of the benches over much data, by the set-up account. */

/** Between the ids of two users; as wide as ids made at different times are apart, for the hash. */
export const USER_ID_STEP = 104_729;

/** Nobody replicates a bench, and its fill is not what is measured. */
export const BEGIN_FILL: readonly string[] = [
  'SET SESSION sql_log_bin = 0',
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  "SET SESSION time_zone = '+00:00'",
  'TRUNCATE TABLE users',
  'TRUNCATE TABLE orders',
];

/** The file holds bucket and user id. The name is not used: the driver is given what it would hold. */
export const LOAD_USERS = `
LOAD DATA LOCAL INFILE 'users' INTO TABLE users FIELDS TERMINATED BY ',' (bucket, user_id)
SET email = CONCAT('u', user_id, '@shop.example.com'), email_key = UNHEX(SHA2(user_id, 256)), created_at = '2025-01-01'`;

/** Orders are written in the order of the primary key; this one would be built up row by row beside it. */
export const DROP_ORDERS_BY_USER = 'ALTER TABLE orders DROP INDEX orders_by_user';

/** As in `sql/shard/0001_initial.sql`. */
export const ADD_ORDERS_BY_USER =
  'ALTER TABLE orders ADD INDEX orders_by_user (user_id, created_at, order_id)';

/** Pages of an index that is built at once are filled so far, percent. A full one would split at its first insert. */
export function fillFactor(percent: number): string {
  return `SET GLOBAL innodb_fill_factor = ${percent}`;
}

/**
 * One more order for each user, at a time within a span that looks drawn. Ids are like those made in production, the time above
 * and a number below; here that is the user's own, so that no two are alike. Values (text protocol): anything that makes the
 * spans differ, milliseconds since 1970 at which the span begins, its length in milliseconds.
 */
export const INSERT_ORDER_FOR_EACH = `
INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at)
SELECT d.bucket, d.ms * 4194304 + d.user_id DIV ${USER_ID_STEP} % 4194304, d.user_id, 100 + d.draw % 50000,
  TIMESTAMPADD(MICROSECOND, d.ms % 1000 * 1000, FROM_UNIXTIME(d.ms DIV 1000))
FROM (
  SELECT r.bucket, r.user_id, r.draw, r.begins + r.draw * r.length DIV 4294967296 AS ms
  FROM (
    SELECT bucket, user_id, CRC32(CONCAT(user_id, '/', ?)) AS draw,
      CAST(? AS SIGNED) AS begins, CAST(? AS SIGNED) AS length FROM users
  ) r
) d`;

export const COUNT_ORDERS = 'SELECT COUNT(*) AS orders FROM orders';

export const ANALYZE_FILLED = 'ANALYZE NO_WRITE_TO_BINLOG TABLE users, orders';

/*
 * Text in `/*!80018 … *\/` is run by MySQL of that version and newer, text in `/*M!100900 … *\/` by MariaDB.
 */

/** What the fill has changed is written before anything is measured. */
export const FLUSH_ALL =
  'SET GLOBAL innodb_max_dirty_pages_pct = 0 /*!80018 , GLOBAL innodb_idle_flush_pct = 100 */';

/**
 * The second went down with the first and does not come back with it. The third: a MySQL server that has had nothing to do for a
 * second writes back all that was changed, at full speed. In turns each would do so while another is measured; a busy server
 * never does.
 */
export const FLUSH_AS_WHEN_BUSY =
  'SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT, GLOBAL innodb_max_dirty_pages_pct_lwm = DEFAULT /*!80018 , GLOBAL innodb_idle_flush_pct = 0 */';

export const DIRTY_PAGES = "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'";

/** Memory for pages, and the log of what is not written back to them yet, where the server can change that while it runs. */
export function serverSizes({ bufferPoolMb, redoLogMb }: ServerSizes): string {
  const bytes = (megabytes: number): number => megabytes * 1024 * 1024;
  return `SET GLOBAL innodb_buffer_pool_size = ${bytes(bufferPoolMb)}
    /*!80030 , GLOBAL innodb_redo_log_capacity = ${bytes(redoLogMb)} */
    /*M!100900 , GLOBAL innodb_log_file_size = ${bytes(redoLogMb)} */`;
}

export interface ServerSizes {
  readonly bufferPoolMb: number;
  readonly redoLogMb: number;
}

export function createDatabase(name: string): string {
  return `CREATE DATABASE ${name}`;
}

export function useDatabase(name: string): string {
  return `USE ${name}`;
}

export function dropDatabase(name: string): string {
  return `DROP DATABASE ${name}`;
}
