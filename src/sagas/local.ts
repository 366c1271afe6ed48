import type { Attempt, SqlRunner } from '../database/contracts.ts';
import { refusalAfterNothing } from '../database/refusals.ts';
import { lockOwned } from '../database/statements.ts';
import { checked } from '../durable/envelope.ts';
import type { SagaDefinition } from '../durable/saga/definition.ts';
import { stepError } from '../durable/saga/step.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { AppError, PermanentError } from '../kernel/errors.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import type { BucketId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { StepRun } from './implement-step.ts';
import {
  enterToRefuse,
  enterToRun,
  enterToSeal,
  recordResult,
  type LedgerEntry,
  type LedgerKey,
} from './ledger.ts';
import { errorOfRecord, LOCAL_STEP, stepErrorOf } from './model.ts';
import type { SagaId } from './saga-id.ts';
import { transactionThatMayEnd, type Ending } from './transaction.ts';

/** All of a saga in one transaction, for when one shard owns all its buckets. */
export interface LocalSaga<Input, Output> {
  /** Every bucket it touches. The first has the ledger row and must follow from the input alone. */
  readonly buckets: (input: Input) => readonly [BucketId, ...BucketId[]];
  /**
   * The effect, behind the fences of all buckets. Throws a `PermanentError` to refuse. A refusal of a bucket that it
   * returns sends the saga the long way.
   */
  readonly run: (tx: SqlRunner, input: Input, run: StepRun) => Promise<Attempt<Output>>;
}

/** Any, for registries. */
export type AnyLocalSaga = LocalSaga<never, unknown>;

/** One saga that is to be, or may have been, carried out locally. */
export interface LocalWork<Input, Output> {
  readonly saga: Pick<SagaDefinition<Input, Output>, 'kind' | 'output'>;
  readonly sagaId: SagaId;
  readonly input: Input;
  readonly local: LocalSaga<Input, Output>;
  readonly deadline: Deadline;
}

/**
 * What the ledger row `local` says. `done`, `refused`: the saga has ended so, for good. `by-saga`: not locally, which is
 * settled once the row is `closed`; `untried`: this call sent nothing; `open`: it did, and an earlier try whose answer was
 * lost may have got through.
 */
export type LocalAnswer<Output> =
  | { readonly kind: 'done'; readonly value: Output }
  | { readonly kind: 'refused'; readonly error: AppError }
  | { readonly kind: 'by-saga'; readonly row: 'untried' | 'open' | 'closed' };

/**
 * Carries a saga out in one transaction on the owner of its first bucket, when the map has all its buckets there; gives
 * an earlier delivery's answer again. Idempotent by the saga's id. Throws the `PermanentError` of the effect, after which
 * nothing was changed and nothing settled ({@link refuseLocal} does), and `shard-unavailable` (retryable).
 */
export async function tryLocal<Input, Output>(
  services: Services,
  work: LocalWork<Input, Output>,
): Promise<LocalAnswer<Output>> {
  const buckets = inOrder(work.local.buckets(work.input));
  if (!(await areOnOneShard(services, buckets))) return { kind: 'by-saga', row: 'untried' };
  return await services.database.onOwner(
    homeOf(work),
    async (shard) => {
      const attempt = await transactionThatMayEnd(shard, (tx) =>
        runInside(services, tx, { work, buckets }),
      );
      await services.probe.reach('sagas.afterLocalCommit', subjectOf(work));
      return attempt;
    },
    { deadlineMs: work.deadline.remainingMs() },
  );
}

async function runInside<Input, Output>(
  services: Services,
  tx: SqlRunner,
  tried: { readonly work: LocalWork<Input, Output>; readonly buckets: readonly BucketId[] },
): Promise<Ending<Attempt<LocalAnswer<Output>>>> {
  const { work, buckets } = tried;
  const { saga, sagaId, input, local } = work;
  const key = keyOf(work);
  if (buckets.length > 1) {
    // All fences at once and in order: two that take the same ones wait for each other, not in a circle.
    const locked = await tx.query(lockOwned(buckets.length), buckets);
    if (!locked.some((row) => row['bucket'] === key.bucket)) {
      return drop(await refusalAfterNothing(tx, key.bucket));
    }
    if (locked.length < buckets.length) return drop(answered(BY_SAGA));
  }
  const nowMs = services.clock.nowMs();
  const entry = await enterToRun(tx, key, nowMs);
  if (entry.kind === 'refused') return drop(entry);
  if (entry.kind !== 'new') return keep(answered(answerOf(work, entry)));
  const attempt = await local.run(tx, input, { sagaId, nowMs });
  if (attempt.kind === 'refused') return drop(answered(BY_SAGA));
  const value = checked(saga.kind, 'output', saga.output, attempt.value);
  await recordResult(tx, key, value);
  await services.probe.reach('sagas.beforeLocalCommit', subjectOf(work));
  return keep(answered({ kind: 'done', value }));
}

/**
 * Settles that a saga may not be done locally any more, unless it was: for the one way, by saga, that is taken next.
 * Idempotent. Throws `shard-unavailable` (retryable).
 */
export async function closeLocal<Input, Output>(
  services: Services,
  work: LocalWork<Input, Output>,
): Promise<LocalAnswer<Output>> {
  return await settle(services, work, (tx, key, nowMs) => enterToSeal(tx, key, nowMs));
}

/**
 * Settles that a saga was refused, unless another delivery did it, or took it the long way, meanwhile. Idempotent; the
 * first refusal counts. Throws `shard-unavailable` (retryable).
 */
export async function refuseLocal<Input, Output>(
  services: Services,
  work: LocalWork<Input, Output>,
  error: PermanentError,
): Promise<LocalAnswer<Output>> {
  return await settle(services, work, async (tx, key, nowMs) => {
    const entry = await enterToRefuse(tx, key, nowMs);
    if (entry.kind !== 'new') return entry;
    const result = stepErrorOf(error);
    await recordResult(tx, key, result);
    return { kind: 'undone', result };
  });
}

function settle<Input, Output>(
  services: Services,
  work: LocalWork<Input, Output>,
  enter: (tx: SqlRunner, key: LedgerKey, nowMs: number) => Promise<LedgerEntry>,
): Promise<LocalAnswer<Output>> {
  return services.database.onOwner(
    homeOf(work),
    (shard) =>
      shard.transaction(async (tx) => {
        const entry = await enter(tx, keyOf(work), services.clock.nowMs());
        return entry.kind === 'refused' ? entry : answered(answerOf(work, entry));
      }),
    { deadlineMs: work.deadline.remainingMs() },
  );
}

type Entered = Exclude<LedgerEntry, { readonly kind: 'refused' }>;

function answerOf<Input, Output>(
  { saga }: LocalWork<Input, Output>,
  entry: Entered,
): LocalAnswer<Output> {
  switch (entry.kind) {
    case 'done':
      return { kind: 'done', value: checked(saga.kind, 'output', saga.output, entry.result) };
    case 'undone':
      return {
        kind: 'refused',
        error: errorOfRecord(checked(saga.kind, 'output', stepError, entry.result)),
      };
    case 'new':
    case 'sealed':
      return { kind: 'by-saga', row: 'closed' };
    default:
      return assertNever(entry);
  }
}

const BY_SAGA = { kind: 'by-saga', row: 'open' } as const;

function answered<T>(value: T): Attempt<T> {
  return { kind: 'answered', value };
}

function keep<T>(value: T): Ending<T> {
  return { keep: true, value };
}

function drop<T>(value: T): Ending<T> {
  return { keep: false, value };
}

function homeOf<Input, Output>({ local, input }: LocalWork<Input, Output>): BucketId {
  return local.buckets(input)[0];
}

function keyOf<Input, Output>(work: LocalWork<Input, Output>): LedgerKey {
  return { bucket: homeOf(work), sagaId: work.sagaId, step: LOCAL_STEP };
}

function subjectOf({ sagaId }: { readonly sagaId: SagaId }): string {
  return `${sagaId}/${LOCAL_STEP}/run`;
}

function inOrder(buckets: readonly BucketId[]): readonly BucketId[] {
  return [...new Set(buckets)].toSorted((a, b) => a - b);
}

async function areOnOneShard(services: Services, buckets: readonly BucketId[]): Promise<boolean> {
  const routes = await Promise.all(buckets.map((bucket) => services.database.route(bucket)));
  return new Set(routes.map((route) => route.shard)).size === 1;
}
