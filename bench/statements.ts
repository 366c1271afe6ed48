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

export function insertRows(table: string, columns: string, rows: readonly string[]): string {
  return `INSERT INTO ${table} (${columns}) VALUES ${rows.join(',')}`;
}

/** Fresh statistics: a table that was just filled is otherwise planned as an empty one. */
export function analyzeTables(): string {
  return `ANALYZE TABLE ${SHARDED_TABLES.map(({ name }) => name).join(', ')}`;
}
