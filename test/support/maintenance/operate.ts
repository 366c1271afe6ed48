import { expect } from 'vitest';
import type { MaintenanceRequest } from '../../../src/maintenance/run-model.ts';
import { pageViewSchema, type PageView } from '../../../src/maintenance/run-view.ts';
import type { TestApp } from '../app.ts';
import { until } from '../http.ts';

/** Starts a run and gives its id. */
export async function startMaintenance(
  app: Pick<TestApp, 'http'>,
  request: Partial<MaintenanceRequest> = {},
): Promise<string> {
  const reply = await app.http.post('/api/ops/maintenance', request);
  if (reply.status !== 202) throw new Error(`${reply.status} ${reply.text}`);
  return String(reply.json['maintenanceId']);
}

export async function maintenanceNow(
  app: Pick<TestApp, 'http'>,
  id: string,
): Promise<PageView | undefined> {
  try {
    const reply = await app.http.get(`/api/ops/maintenance/${id}?limit=500`);
    return reply.status === 200 ? pageViewSchema.parse(reply.json) : undefined;
  } catch (error) {
    // The host was killed a moment ago.
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

export async function maintenanceEnded(
  app: Pick<TestApp, 'http'>,
  id: string,
  timeoutMs = 120_000,
): Promise<PageView> {
  const isOver = (run: PageView | undefined): boolean =>
    run !== undefined && run.status !== 'running' && run.status !== 'cancelling';
  const run = await until(() => maintenanceNow(app, id), isOver, { timeoutMs, everyMs: 200 });
  if (run === undefined) throw new Error('the run is not shown');
  return run;
}

export interface LogRow {
  readonly table: string;
  readonly action: string;
  readonly status: string;
  readonly startedAt: string;
  readonly finishedAt: string | null;
}

/** The command log of a run on one shard, oldest first. */
export async function logOf(app: TestApp, shard: number, runId: string): Promise<LogRow[]> {
  const rows = await app.sql(
    shard,
    'SELECT table_name, action, status, started_at, finished_at FROM maintenance_log WHERE run_id = ? ORDER BY log_id',
    [runId],
  );
  return rows.map((row) => ({
    table: String(row['table_name']),
    action: String(row['action']),
    status: String(row['status']),
    startedAt: String(row['started_at']),
    finishedAt: typeof row['finished_at'] === 'string' ? row['finished_at'] : null,
  }));
}

/** Nothing is left open, each unit that was done is there, and none began before the one before it had ended. */
export async function expectWholeLog(app: TestApp, run: PageView): Promise<void> {
  for (const { shard } of run.shards) {
    const log = await logOf(app, shard, run.maintenanceId);
    expect(
      log.filter(({ status, finishedAt }) => status === 'running' || finishedAt === null),
    ).toEqual([]);
    const ended = new Set(
      log.filter(({ status }) => status !== 'abandoned').map((row) => row.table),
    );
    const units = run.tables.filter((table) => table.shard === shard && table.outcome !== null);
    expect(units.filter(({ table }) => !ended.has(table))).toEqual([]);
    const overlaps = log.filter((row, index) => {
      const before = log[index - 1];
      // A unit closes the row of a dead one when it has the lock: after it began, by then the other one is gone.
      if (before === undefined || before.status === 'abandoned') return false;
      return row.startedAt < (before.finishedAt ?? '');
    });
    expect(overlaps).toEqual([]);
  }
}

/** Counts maintenance statements that a server runs at one moment, again and again; gives the most it saw. */
export function watchStatements(app: TestApp, shards: number): { stop(): Promise<number> } {
  let going = true;
  let most = 0;
  const watch = async (shard: number): Promise<void> => {
    while (going) {
      const [row] = await app.sql(
        shard,
        "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE() AND (info LIKE 'ALTER TABLE%' OR info LIKE 'ANALYZE%')",
      );
      most = Math.max(most, Number(row?.['n']));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const running = Promise.all(Array.from({ length: shards }, (_, shard) => watch(shard)));
  return {
    stop: async () => {
      going = false;
      await running;
      return most;
    },
  };
}
