import type { OrchestrationClient } from '../durable/client.ts';
import { mapBounded, within } from '../kernel/bounded.ts';
import { startDeadline, type Deadline } from '../kernel/deadline.ts';
import { AppError, BugError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import { timestampOf, type Timestamp } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import type { OrphanReport, OrphanSettler, Purger, SagaLife, SagaModule } from './modules.ts';
import { journalPurger } from './purge-journal.ts';
import { ledgerPurger } from './purge-ledger.ts';
import { runPurger } from './purge.ts';
import { createLifeOf } from './sweep-life.ts';
import type { SweepReport, SweptShard } from './sweep-report.ts';
import { reviveSagas, type Revived } from './sweep-revive.ts';
import { keepSweep, lastSweep } from './sweep-store.ts';

/** Less than the minute between two runs by default, and far less than what the platform allows a function. */
const SWEEP_LIMIT_MS = 50_000;
/** Less than this left: a task is not begun any more. */
const WORTH_BEGINNING_MS = 1_000;
/** Shards swept at once: each has one statement of the sweep at a time, and the runtime eight questions per shard. */
const SHARDS_AT_ONCE = 4;

/** What the slices bring to the sweep. */
export interface SweepParts {
  readonly modules: readonly SagaModule[];
  readonly settlers: readonly OrphanSettler[];
  /** Of their own tables; ledger and journal are seen to by the sweep itself. */
  readonly purgers: readonly Purger[];
}

/**
 * Looks after what was left behind: starts sagas again whose orchestration is lost, has the slices settle rows held for
 * sagas that are gone, and deletes what is past its retention time. Bounded in time and rows, and safe beside itself;
 * what it does not come to, the next run does. A shard that is away is reported and stops no other. Throws nothing of
 * the shards; `storage-unavailable` (retryable) when the report of the run before cannot be read, or this one not kept.
 */
export async function sweepSagas(
  services: Services,
  client: OrchestrationClient,
  parts: SweepParts & { readonly nowMs: number },
): Promise<SweepReport> {
  const { clock, database, logger } = services;
  const deadline = startDeadline(clock, SWEEP_LIMIT_MS);
  const places = new Map(Object.entries((await lastSweep(services))?.places ?? {}));
  const lifeOf = createLifeOf(services, client, parts.modules);
  const run = { client, parts, nowMs: parts.nowMs, deadline, places, lifeOf };
  const shards = await mapBounded(database.shardIds(), SHARDS_AT_ONCE, (shard) =>
    sweepShard(services, run, shard),
  );
  const report: SweepReport = {
    startedAt: timeOf(parts.nowMs),
    finishedAt: timeOf(clock.nowMs()),
    complete: shards.every(({ errors, sagas }) => errors.length === 0 && sagas.failed === 0),
    shards,
  };
  logger.log(report.complete ? 'info' : 'warn', 'sagas.swept', { ...report });
  await keepSweep(services, { report, places: Object.fromEntries(places) });
  return report;
}

interface Run {
  readonly client: OrchestrationClient;
  readonly parts: SweepParts;
  readonly nowMs: number;
  readonly deadline: Deadline;
  /** Where tasks go on, by `shard/task`; changed as they go. */
  readonly places: Map<string, string>;
  readonly lifeOf: (sagaId: string) => Promise<SagaLife>;
}

interface Task {
  readonly name: string;
  readonly run: () => Promise<void>;
}

async function sweepShard(services: Services, run: Run, shard: ShardId): Promise<SweptShard> {
  const orphans: Record<string, OrphanReport> = {};
  const purged: Record<string, number> = {};
  const errors: SweptShard['errors'] = [];
  let sagas: Omit<Revived, 'next'> = { stale: 0, alive: 0, revived: 0, ended: 0, failed: 0 };
  const kinds = run.parts.modules.map(({ definition }) => definition.kind);
  const tasks: Task[] = [
    {
      name: 'sagas',
      run: async () => {
        const { next, ...counts } = await revive(services, run, { shard });
        run.places.set(placeOf(shard, SAGAS), next);
        sagas = counts;
      },
    },
    ...run.parts.settlers.map((settler) => ({
      name: `settle ${settler.name}`,
      run: async () => {
        orphans[settler.name] = await settle(services, run, { settler, shard });
      },
    })),
    ...[ledgerPurger, journalPurger(kinds), ...run.parts.purgers].map((purger) => ({
      name: `purge ${purger.name}`,
      run: async () => {
        purged[purger.name] = await purge(services, run, { purger, shard });
      },
    })),
  ];
  for (const task of tasks) {
    const failure = await attempt(services, run, { task, shard });
    if (failure === undefined) continue;
    errors.push({ task: task.name, code: failure.code, message: failure.message });
    if (failure.away) break;
  }
  return { shard, sagas, orphans, purged, errors };
}

interface Failure {
  readonly code: string;
  readonly message: string;
  /** The shard itself does not answer: its other tasks would only wait for it, one after the other. */
  readonly away: boolean;
}

const LATE: Failure = {
  code: 'late',
  message: 'There was no time left in this run; the next one comes to it.',
  away: false,
};

/** Runs a task; what it throws, and want of time, is an answer here. */
async function attempt(
  { clock, logger }: Services,
  { deadline }: Run,
  { task, shard }: { readonly task: Task; readonly shard: ShardId },
): Promise<Failure | undefined> {
  const limitMs = deadline.remainingMs();
  if (limitMs < WORTH_BEGINNING_MS) return LATE;
  try {
    const work = task.run().then(() => undefined);
    return await within<undefined, Failure>(clock, { limitMs, late: LATE }, work);
  } catch (error) {
    const fields = { shardId: shard, task: task.name, ...errorFields(error) };
    logger.log('error', 'sagas.sweep_task_failed', fields);
    if (!(error instanceof AppError) || error instanceof BugError) {
      return { code: 'internal', message: 'It failed unexpectedly; see the log.', away: false };
    }
    const away = error.code === 'shard-unavailable' && error.details['shardId'] === shard;
    return { code: error.code, message: error.message, away };
  }
}

interface On {
  readonly shard: ShardId;
}

function revive(services: Services, run: Run, { shard }: On): Promise<Revived> {
  const { client, nowMs, deadline, parts } = run;
  const after = run.places.get(placeOf(shard, SAGAS)) ?? '';
  const work = { modules: parts.modules, shard, nowMs, deadline, after };
  return reviveSagas(services, client, work);
}

function settle(
  services: Services,
  { nowMs, lifeOf }: Run,
  { settler, shard }: On & { readonly settler: OrphanSettler },
): Promise<OrphanReport> {
  const { SAGA_STALE_MS, SAGA_SWEEP_ROWS } = services.config;
  const olderThanMs = nowMs - SAGA_STALE_MS;
  return settler.settle(services, { shard, olderThanMs, limit: SAGA_SWEEP_ROWS, lifeOf });
}

async function purge(
  services: Services,
  run: Run,
  { purger, shard }: On & { readonly purger: Purger },
): Promise<number> {
  const place = placeOf(shard, purger.name);
  const { nowMs, deadline } = run;
  const after = run.places.get(place) ?? '';
  const { deleted, next } = await runPurger(services, purger, { shard, nowMs, deadline, after });
  run.places.set(place, next);
  return deleted;
}

const SAGAS = 'revive';

function placeOf(shard: ShardId, task: string): string {
  return `${shard}/${task}`;
}

function timeOf(ms: number): Timestamp {
  const timestamp = timestampOf(ms);
  if (timestamp === undefined) throw new BugError('the clock is outside 1970 … 9999');
  return timestamp;
}
