import type { Shard } from '../database/contracts.ts';
import { sqlNow } from '../database/ownership.ts';
import type { ShardId } from '../kernel/ids.ts';
import { fromSqlDatetime } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { figuresSummarySchema } from './model.ts';
import type {
  FiguresSummary,
  PastDuration,
  UnitCode,
  UnitOutcome,
  UnitRequest,
  UnitStatus,
  Work,
} from './model.ts';
import {
  ABANDON_LOG,
  CLOSE_LOG,
  INSERT_LOG,
  PURGE_LOG,
  READ_DURATIONS,
} from './unit-statements.ts';

/** What is known of a unit when its row is written. */
export interface LogEntry {
  readonly request: UnitRequest;
  readonly action: UnitOutcome['action'];
  readonly reason: string;
  readonly statement: string | null;
  readonly status: UnitStatus | 'running';
  readonly code: UnitCode | null;
  readonly detail: string | null;
  readonly before: FiguresSummary | null;
  readonly startedAtMs: number;
  readonly finishedAtMs: number | null;
}

/** Writes a row and gives its id. Not idempotent: a repeat after a lost answer leaves two, of which the lock closes one. */
export async function beginLog(shard: Shard, entry: LogEntry): Promise<string> {
  const { request, before } = entry;
  const written = await shard.execute(INSERT_LOG, [
    request.runId,
    request.table,
    entry.action,
    entry.reason.slice(0, 1_000),
    request.by,
    entry.statement,
    entry.status,
    entry.code,
    entry.detail?.slice(0, 1_000) ?? null,
    before === null ? null : JSON.stringify(before),
    null,
    sqlNow(entry.startedAtMs),
    entry.finishedAtMs === null ? null : sqlNow(entry.finishedAtMs),
    null,
    null,
  ]);
  return String(written.insertId);
}

export interface LogEnd {
  readonly status: UnitStatus;
  readonly code: UnitCode;
  readonly detail: string;
  readonly after: FiguresSummary | null;
  readonly finishedAtMs: number;
  readonly statementMs: number | null;
  readonly blockedMs: number;
}

/** Closes a row that is `running`; idempotent. */
export async function endLog(shard: Shard, logId: string, end: LogEnd): Promise<void> {
  await shard.execute(CLOSE_LOG, [
    end.status,
    end.code,
    end.detail.slice(0, 1_000),
    end.after === null ? null : JSON.stringify(end.after),
    sqlNow(end.finishedAtMs),
    end.statementMs === null ? null : Math.round(end.statementMs),
    Math.round(end.blockedMs),
    logId,
  ]);
}

/**
 * Closes rows that dead processes left `running`, and says how many. Only for the holder of the shard's maintenance lock: the
 * lock lies on the session of the statement, so that neither can be alive any more.
 */
export async function abandonStale(shard: Shard, nowMs: number): Promise<number> {
  const detail =
    'The process that ran it ended without a word; the next unit on the shard found the row. Whether the statement ended well shows in the figures of the unit that followed.';
  return (await shard.execute(ABANDON_LOG, [detail, sqlNow(nowMs)])).affectedRows;
}

type LogServices = Pick<Services, 'database' | 'clock' | 'config'>;

const PAST_RUNS = 20;
const DEADLINE_MS = 10_000;

/** Durations of the last runs of an action on a table, newest first, at most 20: for forecasts. */
export async function readDurations(
  services: Pick<LogServices, 'database'>,
  shardId: ShardId,
  table: string,
  action: Work,
): Promise<readonly PastDuration[]> {
  const rows = await services.database.onShard(
    shardId,
    (shard) => shard.query(READ_DURATIONS, [table, action, PAST_RUNS]),
    { deadlineMs: DEADLINE_MS },
  );
  return rows.flatMap((row) => {
    const before = figuresSummarySchema.safeParse(
      JSON.parse(String(row['figures_before'] ?? '{}')),
    );
    if (!before.success) return [];
    return [
      {
        statementMs: Number(row['statement_ms']),
        bytes: before.data.dataBytes + before.data.indexBytes,
        endedAtMs: Date.parse(fromSqlDatetime(String(row['finished_at']))),
      },
    ];
  });
}

const PURGE_ROWS = 1_000;
const PURGE_CHUNKS = 20;

/** Deletes log rows older than MAINTENANCE_LOG_RETENTION_HOURS, in chunks; `more` when there are more than one call takes. */
export async function purgeLog(
  services: LogServices,
  shardId: ShardId,
): Promise<{ readonly rows: number; readonly more: boolean }> {
  const { clock, config, database } = services;
  const before = sqlNow(clock.nowMs() - config.MAINTENANCE_LOG_RETENTION_HOURS * 3_600_000);
  let rows = 0;
  for (let chunk = 0; chunk < PURGE_CHUNKS; chunk += 1) {
    const { affectedRows } = await database.onShard(
      shardId,
      (shard) => shard.execute(PURGE_LOG, [before, PURGE_ROWS]),
      { deadlineMs: DEADLINE_MS },
    );
    rows += affectedRows;
    if (affectedRows < PURGE_ROWS) return { rows, more: false };
  }
  return { rows, more: true };
}
