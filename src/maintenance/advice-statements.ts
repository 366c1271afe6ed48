/** SQL of the advice on indexes. All of it reads the dictionary only, of the application's own schema. */

/** One row per column of an index, in order. Bounded: a schema of ours has some dozens. */
export const READ_INDEX_COLUMNS =
  'SELECT TABLE_NAME AS t, INDEX_NAME AS i, NON_UNIQUE AS non_unique, COLUMN_NAME AS c, SUB_PART AS sub_part, INDEX_TYPE AS kind FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX LIMIT 20000';

export const READ_ALL_TABLES =
  "SELECT TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME LIMIT 20000";

/** Indexes nobody has used since the server's start, `uses` 0. Empty while performance_schema is off. */
export const READ_INDEX_USE =
  'SELECT OBJECT_NAME AS t, INDEX_NAME AS i, COUNT_STAR AS uses FROM performance_schema.table_io_waits_summary_by_index_usage WHERE OBJECT_SCHEMA = DATABASE() AND INDEX_NAME IS NOT NULL LIMIT 20000';

export const READ_UPTIME = "SHOW GLOBAL STATUS LIKE 'Uptime'";
