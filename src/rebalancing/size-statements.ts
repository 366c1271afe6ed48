import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';

/** SQL that looks at whole shards, for plans and preflights. */

const NAMES = SHARDED_TABLES.map((table) => table.name);

/** What the server believes to have, without counting: `name`, `rows_estimate`, `row_bytes`. */
export const READ_TABLE_SIZES = `SELECT TABLE_NAME AS name, TABLE_ROWS AS rows_estimate, AVG_ROW_LENGTH AS row_bytes FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${NAMES.map((name) => `'${name}'`).join(', ')})`;

/** Rows of every bucket in every sharded table: `t`, `bucket`, `n`. Reads the shard's primary keys from end to end. */
export const COUNT_BUCKETS = NAMES.map(
  (name) => `SELECT '${name}' AS t, bucket, COUNT(*) AS n FROM ${name} GROUP BY bucket`,
).join(' UNION ALL ');

/**
 * The optimizer's guess of a bucket's rows in `orders`, a row per bucket in their order: `rows`. It looks at a few pages
 * of each range, however many rows there are. The format is named because MySQL 9 has another default.
 */
export function explainBuckets(buckets: readonly number[]): string {
  const parts = buckets.map((bucket) => `SELECT 1 FROM orders WHERE bucket = ${bucket}`);
  return `EXPLAIN FORMAT=TRADITIONAL ${parts.join(' UNION ALL ')}`;
}

/** `read_only`, `innodb_read_only`: 1 when the server takes no writes. */
export const READ_WRITABLE =
  'SELECT @@GLOBAL.read_only AS read_only, @@GLOBAL.innodb_read_only AS innodb_read_only';

/** `bucket`, `state`, `epoch` of all ownership rows. */
export const READ_ALL_OWNERSHIP = 'SELECT bucket, state, epoch, moved_to FROM bucket_ownership';

/** Of all moves to this shard: `bucket`, `move_id`, `source_shard`, `epoch`, `phase`, `progress`, times. At most 1024 rows. */
export const READ_ALL_MOVES =
  'SELECT bucket, move_id, source_shard, epoch, phase, progress, started_at, updated_at FROM bucket_moves';

/** Buckets among these of which a table has a row: `bucket`. */
export function bucketsWithRows(buckets: readonly number[]): string {
  const list = buckets.join(', ');
  return NAMES.map((name) => `SELECT DISTINCT bucket FROM ${name} WHERE bucket IN (${list})`).join(
    ' UNION ',
  );
}
