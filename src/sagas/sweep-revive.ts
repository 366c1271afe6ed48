import { sqlNow } from '../database/ownership.ts';
import type { SqlRow, SqlValue } from '../database/contracts.ts';
import { lockOwned } from '../database/statements.ts';
import type { OrchestrationClient } from '../durable/client.ts';
import { mapBounded } from '../kernel/bounded.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { AppError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import { fromSqlDatetime, toSqlDatetime } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import type { SagaModule } from './modules.ts';
import type { SagaId } from './saga-id.ts';
import { settleLocal } from './settle-local.ts';
import { orchestrationLives } from './sweep-life.ts';
import { CLAIM_UNFINISHED, READ_INPUT, findUnfinished } from './sweep-statements.ts';

/** Instances asked after at once, of one shard's sagas. */
const LOOKS_AT_ONCE = 8;

export interface ReviveWork {
  readonly modules: readonly SagaModule[];
  readonly shard: ShardId;
  readonly nowMs: number;
  readonly deadline: Deadline;
  /** `next` of the run before; empty for the beginning. */
  readonly after: string;
}

export interface Revived {
  /** Unfinished and untouched for long. */
  readonly stale: number;
  /** Their orchestration lives: it waits, or needs attention. */
  readonly alive: number;
  /** Started again, to go on or to compensate. */
  readonly revived: number;
  /** One transaction was their whole life; its end is written down now. */
  readonly ended: number;
  /** What was tried failed; the next run tries again. */
  readonly failed: number;
  /** Where the next run goes on, so that many that live hide none that is lost; empty for the beginning. */
  readonly next: string;
}

interface Found {
  readonly bucket: number;
  readonly sagaId: SagaId;
  readonly kind: string;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/**
 * Starts again the sagas of one shard that are written down as unfinished and have no orchestration any more. Safe
 * beside itself: the row is claimed as it was found, and the runtime starts an id once. One whose start fails after its
 * row was claimed is looked at again when it is stale again.
 */
export async function reviveSagas(
  services: Services,
  client: OrchestrationClient,
  work: ReviveWork,
): Promise<Revived> {
  const { config } = services;
  const found = await readUnfinished(services, work);
  const staleBefore = sqlNow(work.nowMs - config.SAGA_STALE_MS);
  const stale = found.filter(({ updatedAt }) => updatedAt < staleBefore);
  const outcomes = await mapBounded(stale, LOOKS_AT_ONCE, (saga) =>
    lookAfter(services, client, { saga, work }),
  );
  const last = found.at(-1);
  const more = found.length >= config.SAGA_SWEEP_ROWS && last !== undefined;
  const count = (kind: Outcome): number => outcomes.filter((outcome) => outcome === kind).length;
  return {
    stale: stale.length,
    alive: count('alive'),
    revived: count('revived'),
    ended: count('ended'),
    failed: count('failed'),
    next: more ? `${last.createdAt}/${last.sagaId}` : '',
  };
}

async function readUnfinished(services: Services, work: ReviveWork): Promise<readonly Found[]> {
  const { database, config } = services;
  const limit = config.SAGA_SWEEP_ROWS;
  const before = sqlNow(work.nowMs - config.SAGA_STALE_MS);
  const [time = '', sagaId = ''] = work.after.split('/', 2);
  const after: readonly SqlValue[] = work.after === '' ? [] : [time, time, sagaId];
  const ranges = work.modules.flatMap(({ definition }) =>
    ['running', 'compensating'].map((status) => [status, definition.kind] as const),
  );
  if (ranges.length === 0) return [];
  const values = ranges.flatMap((range) => [...range, before, ...after, limit]);
  const rows = await database.onShard(
    work.shard,
    (shard) => shard.query(findUnfinished(ranges.length, after.length > 0), [...values, limit]),
    { deadlineMs: limitMs(services, work.deadline) },
  );
  return rows.map(foundInRow);
}

type Outcome = 'alive' | 'revived' | 'ended' | 'left' | 'failed';

interface Stale {
  readonly saga: Found;
  readonly work: ReviveWork;
}

/** One saga whose failure is its own; when the runtime does not answer there is no point in asking after others. */
async function lookAfter(
  services: Services,
  client: OrchestrationClient,
  { saga, work }: Stale,
): Promise<Outcome> {
  const module = work.modules.find(({ definition }) => definition.kind === saga.kind);
  if (module === undefined) return 'left';
  try {
    if (await orchestrationLives(client, module, saga.sagaId)) return 'alive';
    return await revive(services, client, { module, saga, work });
  } catch (error) {
    if (error instanceof AppError && error.code === 'storage-unavailable') throw error;
    const { sagaId, kind } = saga;
    services.logger.log('error', 'sagas.not_revived', { sagaId, kind, ...errorFields(error) });
    return 'failed';
  }
}

async function revive(
  services: Services,
  client: OrchestrationClient,
  { module, saga, work }: Stale & { readonly module: SagaModule },
): Promise<Outcome> {
  const { sagaId, kind } = saga;
  const claimed = await claim(services, saga, work);
  if (claimed === undefined) return 'left';
  const { input } = claimed;
  if ((await settleLocal(services, module, { sagaId, input })) === 'ended') return 'ended';
  const { orchestration } = module.definition;
  const started = await client.startAgain(orchestration, sagaId, { mode: 'recover', input });
  if (started === 'running') return 'left';
  services.logger.log('warn', 'sagas.revived', { sagaId, kind });
  return 'revived';
}

/** The saga's input, when its row is still as it was found and is claimed by this call. */
async function claim(
  services: Services,
  saga: Found,
  work: ReviveWork,
): Promise<{ readonly input: unknown } | undefined> {
  const { bucket, sagaId, updatedAt } = saga;
  return await services.database.onShard(
    work.shard,
    (shard) =>
      shard.transaction(async (tx) => {
        const owned = await tx.query(lockOwned(1), [bucket]);
        if (owned.length === 0) return undefined;
        const now = sqlNow(services.clock.nowMs());
        const claimed = await tx.execute(CLAIM_UNFINISHED, [now, bucket, sagaId, updatedAt]);
        if (claimed.affectedRows === 0) return undefined;
        const [row] = await tx.select(READ_INPUT, [bucket, sagaId]);
        return { input: JSON.parse(String(row?.['input'])) as unknown };
      }),
    { deadlineMs: limitMs(services, work.deadline) },
  );
}

function foundInRow(row: SqlRow): Found {
  const time = (name: string): string => toSqlDatetime(fromSqlDatetime(String(row[name])));
  return {
    bucket: Number(row['bucket']),
    sagaId: String(row['saga_id']) as SagaId,
    kind: String(row['kind']),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  };
}

function limitMs({ config }: Services, deadline: Deadline): number {
  return Math.min(config.SAGA_STEP_DEADLINE_MS, deadline.remainingMs());
}
