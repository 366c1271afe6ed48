import { z } from 'zod';
import type { Attempt, CallOptions, SqlRow, SqlRunner } from '../database/contracts.ts';
import { createWriteMemory } from '../database/outcome.ts';
import { sqlNow } from '../database/ownership.ts';
import { refusalAfterNothing, refusalInRow } from '../database/refusals.ts';
import { sagaOutcome, stepView, type SagaOutcome, type SagaView } from '../durable/saga/view.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import { fromSqlDatetime } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { SETTLE_ENTRY } from './audit-statements.ts';
import { BEGIN_SAGA, READ_SAGA, RECORD_SAGA } from './journal-statements.ts';
import { canonicalJson, type SagaRecord } from './model.ts';
import { homeBucketOf, type SagaId } from './saga-id.ts';

type JournalServices = Pick<Services, 'clock' | 'config' | 'database' | 'logger'>;

/** A saga about to be written down. */
export interface NewSaga {
  readonly sagaId: SagaId;
  readonly kind: string;
  /** A JSON value; the same whenever this id is used for the same request. */
  readonly input: unknown;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** Of the error when the id was used for another request; default `conflict`. */
  readonly conflictCode?: ConflictCode | undefined;
}

/** `idempotency-conflict` for an id that was derived from an `Idempotency-Key`. */
export type ConflictCode = 'conflict' | 'idempotency-conflict';

/** `known`: an earlier call, or one at the same time, wrote it down. */
export type Begun =
  { readonly kind: 'new' } | { readonly kind: 'known'; readonly record: SagaRecord };

/**
 * Writes a saga down before anything of it happens. Idempotent. Throws a permanent error with {@link NewSaga.conflictCode}
 * when the id was used for another kind or input, and `shard-unavailable` (retryable).
 */
export async function beginSaga(
  services: JournalServices,
  saga: NewSaga,
  options: CallOptions = { deadlineMs: services.config.REQUEST_DEADLINE_MS },
): Promise<Begun> {
  const bucket = homeBucketOf(saga.sagaId);
  const memory = createWriteMemory();
  const createdAt = sqlNow(saga.nowMs);
  return await services.database.onOwner<Begun>(
    bucket,
    async (shard) => {
      const values = [saga.sagaId, saga.kind, canonicalJson(saga.input), createdAt, bucket];
      const { affectedRows, insertId } = await memory.watch(() =>
        shard.execute(BEGIN_SAGA, values),
      );
      if (affectedRows === 0) return await refusalAfterNothing(shard, bucket);
      if (insertId === 0) return { kind: 'answered', value: { kind: 'new' } };
      if (insertId === 2) throw sagaIdInUse(saga);
      const found = await read(shard, saga.sagaId);
      if (found.kind === 'refused') return found;
      const record = found.value;
      if (record === undefined) throw new BugError('a saga vanished from the journal');
      // Met after a try whose answer was lost, a row of this very moment was written by that try.
      const isOurs =
        memory.mayHaveWritten &&
        record.status === 'running' &&
        record.createdAt === fromSqlDatetime(createdAt);
      return { kind: 'answered', value: isOurs ? { kind: 'new' } : { kind: 'known', record } };
    },
    options,
  );
}

/** The saga's row, or undefined when there is none. Throws `shard-unavailable` (retryable). */
export async function readSaga(
  services: Pick<Services, 'config' | 'database'>,
  sagaId: SagaId,
  options: CallOptions = { deadlineMs: services.config.REQUEST_DEADLINE_MS },
): Promise<SagaRecord | undefined> {
  return await services.database.onOwner(
    homeBucketOf(sagaId),
    (shard) => read(shard, sagaId),
    options,
  );
}

/** How a saga stands. */
export interface SagaState {
  readonly sagaId: SagaId;
  readonly view: SagaView;
  /** Given when it has ended. */
  readonly outcome?: SagaOutcome | undefined;
  /** For a saga that was not written down when it began. */
  readonly input?: unknown;
  /** An operator's audit entry to settle in the same transaction. */
  readonly verb?: { readonly entry: string; readonly state: 'applied' | 'refused' } | undefined;
}

/**
 * Writes down how a saga stands. Idempotent; a saga that has ended stays as it ended, which answers `ended-before`, and a
 * missing row is written. Throws `shard-unavailable` (retryable).
 */
export async function recordSagaState(
  services: JournalServices,
  state: SagaState,
  options: CallOptions = { deadlineMs: services.config.SAGA_STEP_DEADLINE_MS },
): Promise<'recorded' | 'ended-before'> {
  const bucket = homeBucketOf(state.sagaId);
  const { verb } = state;
  return await services.database.onOwner(
    bucket,
    (shard) => {
      const now = sqlNow(services.clock.nowMs());
      if (verb === undefined) return record(services, shard, state, now);
      return shard.transaction(async (tx) => {
        const attempt = await record(services, tx, state, now);
        if (attempt.kind === 'refused') return attempt;
        await tx.execute(SETTLE_ENTRY, [verb.state, now, bucket, state.sagaId, verb.entry]);
        return attempt;
      });
    },
    options,
  );
}

async function record(
  services: Pick<Services, 'logger'>,
  runner: SqlRunner,
  { sagaId, view, outcome, input }: SagaState,
  now: string,
): Promise<Attempt<'recorded' | 'ended-before'>> {
  const bucket = homeBucketOf(sagaId);
  const { affectedRows, insertId } = await runner.execute(RECORD_SAGA, [
    sagaId,
    view.kind,
    view.status,
    view.attention ? 1 : 0,
    canonicalJson(input ?? null),
    JSON.stringify(view.steps),
    outcome === undefined ? null : JSON.stringify(outcome),
    now,
    outcome === undefined ? null : now,
    bucket,
  ]);
  if (affectedRows === 0) return await refusalAfterNothing(runner, bucket);
  if (insertId === 3 && outcome !== undefined) {
    // Never expected: whoever ends a saga has closed every other way it could end.
    services.logger.log('error', 'sagas.ended_twice', { sagaId, status: view.status });
  }
  return { kind: 'answered', value: insertId >= 2 ? 'ended-before' : 'recorded' };
}

async function read(runner: SqlRunner, sagaId: SagaId): Promise<Attempt<SagaRecord | undefined>> {
  const [row] = await runner.select(READ_SAGA, [sagaId, homeBucketOf(sagaId)]);
  const refusal = refusalInRow(row);
  if (refusal !== undefined) return refusal;
  const found = row === undefined || row['saga_id'] === null ? undefined : recordInRow(row);
  return { kind: 'answered', value: found };
}

const stepsInRow = z.array(stepView);

function recordInRow(row: SqlRow): SagaRecord {
  const { steps, outcome, finished_at: finishedAt } = row;
  return {
    sagaId: String(row['saga_id']) as SagaId,
    kind: String(row['kind']),
    status: row['status'] as SagaRecord['status'],
    attention: Number(row['attention']) === 1,
    input: JSON.parse(String(row['input'])) as unknown,
    steps: typeof steps === 'string' ? stepsInRow.parse(JSON.parse(steps)) : undefined,
    outcome: typeof outcome === 'string' ? sagaOutcome.parse(JSON.parse(outcome)) : undefined,
    createdAt: fromSqlDatetime(String(row['created_at'])),
    updatedAt: fromSqlDatetime(String(row['updated_at'])),
    finishedAt: typeof finishedAt === 'string' ? fromSqlDatetime(finishedAt) : undefined,
  };
}

/** Told by {@link isIdInUse}. */
export function sagaIdInUse({
  sagaId,
  conflictCode = 'conflict',
}: Pick<NewSaga, 'sagaId' | 'conflictCode'>): PermanentError {
  const message =
    conflictCode === 'idempotency-conflict'
      ? 'This Idempotency-Key was used for a request with another body. Send a new key for a new request, or the first body to get its answer again.'
      : `Saga id ${sagaId} was used for another request. Leave the id out, or send a new one.`;
  return new PermanentError(conflictCode, message, { details: { sagaIdInUse: sagaId } });
}

/** True when a saga's id was used for another request; the journal's row under it is then not this one's answer. */
export function isIdInUse(error: unknown): boolean {
  return error instanceof PermanentError && error.details['sagaIdInUse'] !== undefined;
}
