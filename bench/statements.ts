import { SHARDED_TABLES } from '../src/sharding/sharded-tables.ts';

/** Statements of the benches: what the product has no use for. */

/** Also removes the traces of the move, so that the next one begins like the first. */
export function emptyShard(bucket: number): readonly string[] {
  return [
    ...SHARDED_TABLES.map(({ name }) => `TRUNCATE TABLE ${name}`),
    `DELETE FROM bucket_ownership WHERE bucket = ${bucket}`,
    `DELETE FROM bucket_moves WHERE bucket = ${bucket}`,
  ];
}

/** A plain scan of a table's part of the bucket that has to read every column of every row, and does nothing else with it. */
export function scanTable(table: (typeof SHARDED_TABLES)[number], bucket: number): string {
  const lengths = table.columns.map((column) => `IFNULL(LENGTH(${column}), 0)`).join(' + ');
  return `SELECT COUNT(*) AS n, SUM(${lengths}) AS bytes FROM ${table.name} WHERE bucket = ${bucket}`;
}

/** The servers' own checksum of all tables, whole: the bench has one bucket in them. */
export function checksumOfTables(): string {
  return `CHECKSUM TABLE ${SHARDED_TABLES.map(({ name }) => name).join(', ')}`;
}

export function insertRows(table: string, columns: string, rows: readonly string[]): string {
  return `INSERT INTO ${table} (${columns}) VALUES ${rows.join(',')}`;
}

/** Fresh statistics: a table that was just filled is otherwise planned as an empty one. */
export function analyzeTables(): string {
  return `ANALYZE TABLE ${SHARDED_TABLES.map(({ name }) => name).join(', ')}`;
}

/** What writing an order costs at least: the row and nothing else. Values: bucket, order id, user id, amount, created at. */
export const PLAIN_INSERT =
  'INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at) VALUES (?, ?, ?, ?, ?)';

/** What reading a page of a user's newest orders costs at least. Value: user id. */
export const PLAIN_PAGE =
  'SELECT order_id, user_id, amount_cents, created_at FROM orders WHERE user_id = ? ORDER BY created_at DESC, order_id DESC LIMIT 101';

export const ALLOW_LOCAL_INFILE = 'SET GLOBAL local_infile = 1';

/** The file's name is not used: the driver is given what it would hold. */
export const LOAD_ORDERS =
  "LOAD DATA LOCAL INFILE 'orders' INTO TABLE orders FIELDS TERMINATED BY ',' (bucket, order_id, user_id, amount_cents, created_at)";

/** What the revenue of one shard costs at least: every row and nothing else. */
export const PLAIN_SUM = 'SELECT SUM(amount_cents) AS cents FROM orders';

/** The same of some buckets only. */
export function plainSumOf(buckets: readonly number[]): string {
  return `${PLAIN_SUM} WHERE bucket IN (${buckets.join(', ')})`;
}

/** On the shard that gave them away: as after a move, with the old copies still there. */
export function giveAway(buckets: readonly number[], to: number): string {
  return `UPDATE bucket_ownership SET state = 'gone', moved_to = ${to} WHERE bucket IN (${buckets.join(', ')})`;
}

/** On the shard that took them over. */
export function takeOver(buckets: readonly number[], epoch: number): string {
  const rows = buckets.map((bucket) => `(${bucket}, 'owned', ${epoch}, NOW(3))`);
  return insertRows('bucket_ownership', 'bucket, state, epoch, updated_at', rows);
}
