import { Readable } from 'node:stream';
import type { Services } from '../services.ts';
import type { RunState } from './run-model.ts';
import { runFolder, type RunStore } from './run-store.ts';
import { endStatusOf } from './run-state.ts';
import { viewRun, viewShard, viewTables } from './run-view.ts';

/**
 * A report is a blob of lines of JSON: each shard followed by its tables, and the run last. It is written when the run
 * ends, shard by shard, so that it may be as long as it has to be.
 */
const CONTAINER = 'maintenance';
const STARTED = 'started/';
const REPORTS = 'reports/';
/** 256 shards with the most tables each, and room. */
const MAX_REPORT_BYTES = 512 * 1024 * 1024;
/** Documents of one run: its state, its wish, one per shard. */
const MAX_DOCUMENTS = 1_000;
/** Old runs deleted at the end of one run: more than a night brings. */
const MAX_DELETED = 50;

/** Sorts by time; the id makes it unique. */
function stampOf(maintenanceId: string, startedAtMs: number): string {
  return `${new Date(startedAtMs).toISOString().replaceAll(/[:.]/g, '-')}_${maintenanceId}`;
}

/** Name of the report's blob in the container `maintenance`. */
export function reportName(maintenanceId: string, startedAtMs: number): string {
  return `${REPORTS}${stampOf(maintenanceId, startedAtMs)}.ndjson`;
}

/** Leaves a trace of a run by which its documents are found and deleted one day, whatever becomes of it. Idempotent. */
export async function noteStarted(
  { blobs }: Pick<Services, 'blobs'>,
  maintenanceId: string,
  startedAtMs: number,
): Promise<void> {
  await blobs.write(CONTAINER, STARTED + stampOf(maintenanceId, startedAtMs), maintenanceId);
}

/** Idempotent: a repeat writes the same again. */
export async function writeReport(
  { blobs, clock }: Pick<Services, 'blobs' | 'clock'>,
  store: RunStore,
  maintenanceId: string,
  state: RunState,
): Promise<void> {
  async function* lines(): AsyncGenerator<string> {
    let neverFit = 0;
    for (const entry of state.shards) {
      const plan = await store.readPlan(maintenanceId, entry.shard);
      yield line({ kind: 'shard', ...viewShard(entry, plan), advice: plan?.advice.advice ?? [] });
      if (plan === undefined) continue;
      neverFit += plan.tables.filter((table) => table.neverFits !== null).length;
      for (const table of viewTables(state, plan)) yield line({ kind: 'table', ...table });
    }
    const finishedAtMs = clock.nowMs();
    const ended = { ...state, status: endStatusOf(state), finishedAtMs };
    const run = viewRun(maintenanceId, ended, neverFit, finishedAtMs);
    yield line({ kind: 'run', ...run });
  }
  const name = reportName(maintenanceId, state.startedAtMs);
  const limits = { maxBytes: MAX_REPORT_BYTES };
  await blobs.upload(CONTAINER, name, Readable.from(lines(), { objectMode: false }), limits);
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

/** Deletes what is left of runs that began before the retention. Idempotent; the trace goes last. */
export async function deleteOldRuns({
  blobs,
  clock,
  config,
}: Pick<Services, 'blobs' | 'clock' | 'config'>): Promise<void> {
  const oldestMs = clock.nowMs() - config.MAINTENANCE_REPORT_DAYS * 24 * 3_600_000;
  const oldest = STARTED + stampOf('', oldestMs);
  // Names come in the order of time: the oldest first.
  const names = await blobs.list(CONTAINER, STARTED, MAX_DELETED);
  for (const name of names.filter((found) => found < oldest)) {
    const stamp = name.slice(STARTED.length);
    const maintenanceId = stamp.slice(stamp.indexOf('_') + 1);
    for (const document of await blobs.list('control', runFolder(maintenanceId), MAX_DOCUMENTS)) {
      await blobs.delete('control', document);
    }
    await blobs.delete(CONTAINER, `${REPORTS}${stamp}.ndjson`);
    await blobs.delete(CONTAINER, name);
  }
}
