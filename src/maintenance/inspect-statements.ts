import type { Engine } from './model.ts';

/** SQL that reads figures of tables. Nothing here locks a table or changes one; every list is bounded. */

export const READ_SERVER =
  'SELECT VERSION() AS version, DATABASE() AS db, @@innodb_page_size AS page_bytes';

/**
 * The schema's tables by size, by the persistent statistics alone: one range of a small InnoDB table, however many tables
 * there are. Values: limit.
 */
export const READ_LARGEST =
  'SELECT table_name AS t FROM mysql.innodb_table_stats WHERE database_name = DATABASE() ORDER BY clustered_index_size + sum_of_other_index_sizes DESC, table_name LIMIT ?';

/** Where the statistics may not be read. Values: limit. */
export const READ_NAMES =
  "SELECT TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME LIMIT ?";

export const COUNT_TABLES =
  "SELECT COUNT(*) AS n FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'";

/** Sizes and rows of the named tables; both engines look up names without opening the others. */
export function readTables(names: number): string {
  return `SELECT TABLE_NAME AS t, ENGINE AS storage_engine, TABLE_ROWS AS n_rows, DATA_LENGTH AS data_bytes, INDEX_LENGTH AS index_bytes, DATA_FREE AS free_bytes FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' AND TABLE_NAME IN (${marks(names)})`;
}

export function readTableStatistics(names: number): string {
  return `SELECT table_name AS t, n_rows, UNIX_TIMESTAMP(last_update) AS analyzed_at FROM mysql.innodb_table_stats WHERE database_name = DATABASE() AND table_name IN (${marks(names)})`;
}

/** `n`: `size` and `n_leaf_pages` of each index. */
export function readIndexStatistics(names: number): string {
  return `SELECT table_name AS t, index_name AS i, stat_name AS n, stat_value AS v FROM mysql.innodb_index_stats WHERE database_name = DATABASE() AND table_name IN (${marks(names)}) AND stat_name IN ('size', 'n_leaf_pages')`;
}

export function readPrimaryKeys(names: number): string {
  return `SELECT DISTINCT TABLE_NAME AS t FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND INDEX_NAME = 'PRIMARY' AND TABLE_NAME IN (${marks(names)})`;
}

/**
 * Rows changed since the last ANALYZE or recalculation, of tables that are open. Goes through all tables of the server,
 * hence its own time limit. Needs PROCESS. Values: names as `schema/table`.
 */
export function readChanged(engine: Engine, names: number, limitMs: number): string {
  const list = marks(names);
  return engine === 'mysql'
    ? `SELECT /*+ MAX_EXECUTION_TIME(${limitMs}) */ NAME AS t, MODIFIED_COUNTER AS n FROM information_schema.INNODB_TABLESTATS WHERE NAME IN (${list})`
    : `SET STATEMENT max_statement_time = ${limitMs / 1_000} FOR SELECT NAME AS t, MODIFIED_COUNTER AS n FROM information_schema.INNODB_SYS_TABLESTATS WHERE NAME IN (${list})`;
}

/** MySQL only. */
export function readHistograms(names: number): string {
  return `SELECT TABLE_NAME AS t, COLUMN_NAME AS c, JSON_UNQUOTE(JSON_EXTRACT(HISTOGRAM, '$."last-updated"')) AS updated_at FROM information_schema.COLUMN_STATISTICS WHERE SCHEMA_NAME = DATABASE() AND TABLE_NAME IN (${marks(names)})`;
}

export function readKept(names: number): string {
  return `SELECT table_name AS t, baseline, rebuilt_at FROM maintenance_tables WHERE table_name IN (${marks(names)})`;
}

/** Rows `(table, baseline, time of a rebuild or NULL, now)` as literals. */
export function keep(rows: readonly string[]): string {
  return `INSERT INTO maintenance_tables (table_name, baseline, rebuilt_at, updated_at) VALUES ${rows.join(', ')} ON DUPLICATE KEY UPDATE baseline = VALUES(baseline), rebuilt_at = COALESCE(VALUES(rebuilt_at), rebuilt_at), updated_at = VALUES(updated_at)`;
}

function marks(count: number): string {
  return Array.from({ length: count }, () => '?').join(', ');
}
