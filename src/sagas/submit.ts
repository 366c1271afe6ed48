import type { OrchestrationClient } from '../durable/client.ts';
import { checked } from '../durable/envelope.ts';
import type { SagaDefinition } from '../durable/saga/definition.ts';
import { startDeadline, type Deadline } from '../kernel/deadline.ts';
import { PermanentError } from '../kernel/errors.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import { errorFields } from '../kernel/logger.ts';
import { ATTRIBUTES, SPANS } from '../kernel/telemetry-names.ts';
import type { Services } from '../services.ts';
import { beginSaga, recordSagaState, type Begun, type ConflictCode } from './journal.ts';
import {
  closeLocal,
  refuseLocal,
  tryLocal,
  type LocalAnswer,
  type LocalSaga,
  type LocalWork,
} from './local.ts';
import { errorOfRecord, isEnded, LOCAL_STEP, stepErrorOf, type EndedRecord } from './model.ts';
import type { SagaId } from './saga-id.ts';
import { tellSagaState } from './saga-telemetry.ts';
import { recordLocal } from './settle-local.ts';
import { waitForEnd } from './wait.ts';

/**
 * How a saga is begun so that it happens once, whatever dies and however many ask.
 *
 * Three rows or records know of an id: the journal's row (J), the ledger row `local` in the saga's first bucket (L) and
 * the orchestration (O). Which way a saga goes is decided by L alone, under its lock: `done` (it was one transaction),
 * `undone` (it was refused for good, with the reason) or `sealed` (the long way). O is started only after L is closed
 * or when no local try under this id can have been sent.
 *
 * Dying at any point leaves one of these, and whoever comes next goes on from it:
 * - nothing: as if never asked. A fresh id was known to the dead call alone.
 * - J running, L absent: a redelivery tries again. The sweep closes L first (`settleLocal`), so that a local try that
 *   is still on its way finds `sealed` and goes by the saga that the sweep has started.
 * - L done or undone, J running (or absent, for a fresh id): the effect is there, or refused, and L has the answer. A
 *   redelivery, or the sweep, finds it and writes it into J. O is never started: whoever would must close L before.
 * - L sealed, J running, O absent: a redelivery starts O; the sweep starts it to compensate. For a fresh id J absent
 *   as well: nothing happened and nothing will.
 * - O exists: it ends by itself and writes J before.
 *
 * Two at once under one id: the first to enter L decides and the other waits for its lock. One that is refused does not
 * tell so before it has entered L as `undone`: meanwhile another may have succeeded (its answer counts) or gone by saga
 * (then both do). One whose map has the buckets apart seals L and learns whether the other was done. J is written once:
 * one of the two is the first, the others are replays; two ends of one saga cannot meet in J, because L closed all but
 * one way to end.
 *
 * An error that a retry may mend leaves the outcome unknown, as any such error of a write does here: the same id asked
 * again tells.
 */

/** One request for a saga. */
export interface SagaSubmission<Input, Output> {
  readonly saga: SagaDefinition<Input, Output>;
  readonly sagaId: SagaId;
  /** The same, as JSON, each time this id is used for the same request. */
  readonly input: Input;
  /**
   * Others may use this id for the same request, earlier, later or at the same time (a queue message, an
   * `Idempotency-Key`). False: the id is fresh and known to this call alone.
   */
  readonly identified: boolean;
  /** Of the error when the id was used for another request; default `conflict`. */
  readonly conflictCode?: ConflictCode;
  readonly local?: LocalSaga<Input, Output>;
  /** Write a local success into the journal also when the id is fresh: it is told to the caller. */
  readonly recorded?: boolean;
  /** How long this call may wait for the end, what comes before included, milliseconds. */
  readonly waitMs: number;
}

/** `replayed`: an earlier request had this id. `local`: it was one transaction. */
export type Submitted<Output> =
  | {
      readonly kind: 'completed';
      readonly value: Output;
      readonly replayed: boolean;
      readonly local: boolean;
    }
  | { readonly kind: 'running' };

/**
 * Has a saga carried out, once for its id: as one local transaction where one shard has all its buckets, else by its
 * orchestration. Throws the error of a saga that was compensated or refused (by its code permanent, or retryable as a
 * new saga), `conflict` when the id was used for another request, and retryable errors when a shard or the runtime is
 * away; then the same call is safe to repeat, and for a fresh id the outcome is unknown.
 */
export async function submitSaga<Input, Output>(
  services: Services,
  client: OrchestrationClient,
  submission: SagaSubmission<Input, Output>,
): Promise<Submitted<Output>> {
  const { telemetry } = services;
  if (!telemetry.enabled) return await submit(services, client, submission);
  const options = { inherited: { [ATTRIBUTES.saga]: submission.sagaId } };
  return await telemetry.span(SPANS.sagaSubmit, options, () =>
    submit(services, client, submission),
  );
}

async function submit<Input, Output>(
  services: Services,
  client: OrchestrationClient,
  submission: SagaSubmission<Input, Output>,
): Promise<Submitted<Output>> {
  const run: Run<Input, Output> = {
    services,
    client,
    submission,
    deadline: startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS),
    waitUntilMs: services.clock.monotonicMs() + submission.waitMs,
  };
  const begun = submission.identified ? await begin(run) : NEW;
  const replayed = begun.kind === 'known';
  if (begun.kind === 'known' && isEnded(begun.record)) {
    return answerOf(submission.saga, begun.record);
  }
  const local = await goLocally(run);
  if (local.kind !== 'by-saga') {
    const status = local.kind === 'done' ? 'completed' : 'compensated';
    const view = { kind: submission.saga.kind, status, attention: false } as const;
    tellSagaState(services.telemetry, view, 'local');
  }
  switch (local.kind) {
    case 'done':
      return { kind: 'completed', value: local.value, replayed, local: true };
    case 'refused':
      throw local.error;
    case 'by-saga':
      return await goBySaga(run, replayed);
    default:
      return assertNever(local);
  }
}

const NEW: Begun = { kind: 'new' };

interface Run<Input, Output> {
  readonly services: Services;
  readonly client: OrchestrationClient;
  readonly submission: SagaSubmission<Input, Output>;
  readonly deadline: Deadline;
  /** Monotonic. */
  readonly waitUntilMs: number;
}

function begin<Input, Output>({
  services,
  submission,
  deadline,
}: Run<Input, Output>): Promise<Begun> {
  const { saga, sagaId, input, conflictCode } = submission;
  return beginSaga(
    services,
    { sagaId, kind: saga.kind, input, nowMs: services.clock.nowMs(), conflictCode },
    { deadlineMs: deadline.remainingMs() },
  );
}

/** As far as a local transaction settles it; `by-saga` when only the long way is left. */
async function goLocally<Input, Output>(run: Run<Input, Output>): Promise<LocalAnswer<Output>> {
  const { services, submission, deadline } = run;
  const { local, identified, recorded = false } = submission;
  if (local === undefined) return { kind: 'by-saga', row: 'untried' };
  const work: LocalWork<Input, Output> = { ...submission, local, deadline };
  const answer = await settleLocally(services, work, identified);
  if (answer.kind !== 'by-saga' && (identified || (recorded && answer.kind === 'done'))) {
    try {
      await recordLocal(services, work, answer);
    } catch (error) {
      // The ledger has the answer: a redelivery, or the sweep, writes it down.
      const { sagaId } = submission;
      services.logger.log('warn', 'sagas.not_recorded', { sagaId, ...errorFields(error) });
    }
  }
  return answer;
}

async function settleLocally<Input, Output>(
  services: Services,
  work: LocalWork<Input, Output>,
  identified: boolean,
): Promise<LocalAnswer<Output>> {
  try {
    const answer = await tryLocal(services, work);
    if (answer.kind !== 'by-saga' || answer.row === 'closed') return answer;
    return identified || answer.row === 'open' ? await closeLocal(services, work) : answer;
  } catch (error) {
    if (!(error instanceof PermanentError)) throw error;
    return identified ? await refuseLocal(services, work, error) : { kind: 'refused', error };
  }
}

async function goBySaga<Input, Output>(
  run: Run<Input, Output>,
  replayed: boolean,
): Promise<Submitted<Output>> {
  const { services, client, submission } = run;
  const { saga, sagaId, input, identified } = submission;
  if (!identified) await begin(run);
  await services.probe.reach('sagas.beforeStart', sagaId);
  const deadlineMs = services.config.SAGA_DEADLINE_MS;
  try {
    const start = { mode: 'run' as const, input, deadlineMs };
    await client.ensureStarted(saga.orchestration, sagaId, start);
  } catch (error) {
    // The runtime has something else under this id, for good: nothing of the saga will ever run.
    if (error instanceof PermanentError) await recordUnstarted(services, run.submission, error);
    throw error;
  }
  const ended = await waitForEnd(services, sagaId, run.waitUntilMs);
  if (ended === undefined) return { kind: 'running' };
  return { ...answerOf(saga, ended), replayed };
}

async function recordUnstarted<Input, Output>(
  services: Services,
  { saga, sagaId, input }: SagaSubmission<Input, Output>,
  error: PermanentError,
): Promise<void> {
  const view = { kind: saga.kind, status: 'compensated' as const, attention: false, steps: [] };
  const outcome = { kind: 'compensated' as const, error: stepErrorOf(error) };
  await recordSagaState(services, { sagaId, view, outcome, input });
}

/** Throws the error that the saga ended with. */
function answerOf<Input, Output>(
  saga: SagaDefinition<Input, Output>,
  { outcome, steps }: EndedRecord,
): Extract<Submitted<Output>, { kind: 'completed' }> {
  if (outcome.kind === 'compensated') throw errorOfRecord(outcome.error);
  const value = checked(saga.kind, 'output', saga.output, outcome.value);
  const local = steps?.some((step) => step.name === LOCAL_STEP) ?? false;
  return { kind: 'completed', value, replayed: true, local };
}
