import type { Work } from './model.ts';

/** SQL of one unit of maintenance: what it does to a table, what it looks at first, what it writes down. */

/**
 * Marks the statement of one unit in the server's process list, so that its watcher ends that one and no other. `mark` is
 * ours: letters, digits and hyphens.
 */
function marked(text: string, mark: string): string {
  return `${text} /* shardline-maintenance ${mark} */`;
}

/** What {@link marked} leaves in the process list, for INSTR. */
export function markText(mark: string): string {
  return `shardline-maintenance ${mark}`;
}

/** NO_WRITE_TO_BINLOG: statistics are not replicated, and every server counts its own. */
export function analyzeTable(table: string, mark: string): string {
  return marked(`ANALYZE NO_WRITE_TO_BINLOG TABLE ${quoted(table)}`, mark);
}

const HISTOGRAM_BUCKETS = 64;

/** MySQL only. */
export function updateHistogram(table: string, columns: readonly string[], mark: string): string {
  const list = columns.map(quoted).join(', ');
  return marked(
    `ANALYZE NO_WRITE_TO_BINLOG TABLE ${quoted(table)} UPDATE HISTOGRAM ON ${list} WITH ${HISTOGRAM_BUCKETS} BUCKETS`,
    mark,
  );
}

/**
 * Not OPTIMIZE, which falls back to a copy that blocks writers where this is refused with 1846. It is written to the binary
 * log: ALTER knows no NO_WRITE_TO_BINLOG, and a replica's pages are as empty as its source's.
 */
export function rebuildTable(table: string, mark: string): string {
  return marked(`ALTER TABLE ${quoted(table)} FORCE, ALGORITHM=INPLACE, LOCK=NONE`, mark);
}

/** The statement of an action, first and alone. */
export function statementOf(
  action: Work,
  target: { readonly table: string; readonly columns: readonly string[]; readonly mark: string },
): string {
  const { table, columns, mark } = target;
  if (action === 'rebuild') return rebuildTable(table, mark);
  if (action === 'histogram') return updateHistogram(table, columns, mark);
  return analyzeTable(table, mark);
}

function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** Short metadata waits; no time limit of the session's, since the watcher has its own; silence while others are awaited. */
export function unitSession(metadataWaitSeconds: number): string {
  return `SET SESSION lock_wait_timeout = ${metadataWaitSeconds}, SESSION wait_timeout = 900 /*M! , SESSION max_statement_time = 0 */`;
}

export const READ_SESSION_ID = 'SELECT CONNECTION_ID() AS id';

/** `read_only`: 1 when the server takes no writes. */
export const READ_READ_ONLY =
  'SELECT GREATEST(@@GLOBAL.read_only, @@GLOBAL.innodb_read_only) AS read_only';

/** Seconds of the oldest open transaction but ours. Needs PROCESS. Values: connection ids of ours (one). */
export const READ_OLDEST_TRANSACTION =
  'SELECT trx_mysql_thread_id AS id, TIMESTAMPDIFF(SECOND, trx_started, NOW()) AS seconds FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id NOT IN (0, ?) ORDER BY trx_started LIMIT 1';

/** Who waits for a metadata lock or a table's flush. Without PROCESS only sessions of the same user. Values: our id. */
export const READ_WAITING =
  "SELECT ID AS id, INFO AS info FROM information_schema.PROCESSLIST WHERE ID <> ? AND DB = DATABASE() AND (STATE LIKE 'Waiting for table metadata lock%' OR STATE LIKE 'Waiting for table flush%') LIMIT 100";

/** 1 while the session runs the marked statement. Values: id, mark. */
export const IS_STILL_RUNNING =
  'SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE ID = ? AND INSTR(INFO, ?) > 0';

/** Ends a statement, not its session. An account may do so with its own. */
export function killStatement(sessionId: string): string {
  return `KILL QUERY ${BigInt(sessionId)}`;
}

/** MySQL from 8.0.22, MariaDB from 10.5. Needs REPLICATION CLIENT or SLAVE MONITOR. */
export const READ_REPLICA = 'SHOW REPLICA STATUS';

/** Moves to this shard that are under way. Values: seconds of silence after which one counts as paused. */
export const COUNT_MOVES_IN =
  "SELECT COUNT(*) AS n FROM bucket_moves WHERE phase <> 'owned' AND updated_at > UTC_TIMESTAMP(3) - INTERVAL ? SECOND";
/** At another shard: moves from the given one. Values: source, seconds. */
export const COUNT_MOVES_FROM =
  "SELECT COUNT(*) AS n FROM bucket_moves WHERE source_shard = ? AND phase <> 'owned' AND updated_at > UTC_TIMESTAMP(3) - INTERVAL ? SECOND";

/** Needs PROCESS. */
export const READ_FILE_BYTES_MYSQL =
  'SELECT SUM(FILE_SIZE) AS bytes FROM information_schema.INNODB_TABLESPACES';
export const READ_FILE_BYTES_MARIADB =
  'SELECT SUM(FILE_SIZE) AS bytes FROM information_schema.INNODB_SYS_TABLESPACES';

/** Values: run, table, action, reason, who, statement, status, code, detail, before, after, begun, ended, ms, blocked. */
export const INSERT_LOG =
  'INSERT INTO maintenance_log (run_id, table_name, action, reason, requested_by, statement, status, code, detail, figures_before, figures_after, started_at, finished_at, statement_ms, blocked_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';

/** Once. Values: status, code, detail, after, ended, ms, blocked, id. */
export const CLOSE_LOG =
  "UPDATE maintenance_log SET status = ?, code = ?, detail = ?, figures_after = ?, finished_at = ?, statement_ms = ?, blocked_ms = ? WHERE log_id = ? AND status = 'running'";

/** Only under the shard's maintenance lock: then nobody who wrote such a row is alive, nor the statement. Values: detail, time. */
export const ABANDON_LOG =
  "UPDATE maintenance_log SET status = 'abandoned', code = 'abandoned', detail = ?, finished_at = ? WHERE status = 'running' LIMIT 1000";

/** Values: table, action, limit. */
export const READ_DURATIONS =
  "SELECT statement_ms, figures_before, finished_at FROM maintenance_log WHERE table_name = ? AND action = ? AND status = 'done' AND statement_ms IS NOT NULL ORDER BY log_id DESC LIMIT ?";

/** Values: time, limit. */
export const PURGE_LOG =
  "DELETE FROM maintenance_log WHERE started_at < ? AND status <> 'running' ORDER BY started_at LIMIT ?";
