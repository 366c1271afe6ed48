import { backoffMs } from '../../kernel/backoff.ts';
import { shareOf } from './jitter.ts';
import {
  currentStep,
  endingOf,
  type SagaState,
  type SagaTable,
  type SettledVerb,
  type StepProgress,
} from './state.ts';
import type { StepError, StepVerb } from './step.ts';

/** On to the next step, or to the end. The deadline is about reaching the pivot. */
export function advance(table: SagaTable, state: SagaState, nowMs: number): SagaState {
  const verb = state.phase === 'recovering' ? 'seal' : 'run';
  const next = moveTo(state, state.cursor + 1, verb);
  const role = table.steps[next.cursor]?.role;
  const beforePivot = role === 'compensatable' || role === 'pivot';
  return state.phase === 'forward' && beforePivot && nowMs >= state.deadlineAtMs
    ? lookAround(next, TOO_LATE)
    : next;
}

/** On to the step before, or to the end. */
export function descend(state: SagaState): SagaState {
  return moveTo(state, state.cursor - 1, 'undo');
}

/**
 * Gives up where it is not known what is done: this step may be, and after an earlier run under the same id even the
 * pivot. So the steps are closed one by one from here on, each telling whether it is done: the first that is not
 * decides to compensate, a pivot that is done to go on.
 */
export function lookAround(state: SagaState, error: StepError): SagaState {
  return startVerb({ ...state, phase: 'recovering', failure: error }, 'seal');
}

/** The pivot is done: no way back from here. */
export function pastPivot(state: SagaState): SagaState {
  const { failure: _overcome, ...rest } = state;
  return settleUndecided({ ...rest, phase: 'forward' }, 'refused');
}

/** Takes back what is done, from the step `cursor` downwards; none: it is at its end. */
export function compensateFrom(
  table: SagaTable,
  state: SagaState,
  { cursor, error }: { readonly cursor: number; readonly error: StepError },
): SagaState {
  const steps = state.steps.map((step) =>
    step.state === 'pending' ? { ...step, state: 'unneeded' as const } : step,
  );
  const compensating = settleUndecided(
    { ...state, steps, failure: error, phase: 'compensating' },
    'applied',
  );
  const moved = moveTo(compensating, cursor, 'undo');
  // One that has nothing to take back writes its end down, and nothing before it.
  return endingOf(table, moved) === undefined ? withDue(moved) : moved;
}

/** The same step with another verb, tried at once. */
export function startVerb(state: SagaState, verb: StepVerb): SagaState {
  return withStep({ ...state, verb, notBeforeMs: 0 }, { attempts: 0 });
}

/** Tries again while tries and deadline last; undefined: they do not. */
export function retryInTime(
  table: SagaTable,
  state: SagaState,
  error: StepError,
  nowMs: number,
): SagaState | undefined {
  const { progress } = currentStep(table, state);
  const againAtMs = nowMs + waitAfter(table, state, progress);
  const over = progress.attempts >= table.limits.maxAttempts || againAtMs >= state.deadlineAtMs;
  if (over) return undefined;
  return withStep({ ...state, notBeforeMs: againAtMs }, { state: 'failed', lastError: error });
}

/** Tries again however long it takes, and asks for attention after a while. */
export function retryForEver(
  table: SagaTable,
  state: SagaState,
  error: StepError,
  nowMs: number,
): SagaState {
  const { progress } = currentStep(table, state);
  const waiting = withStep(
    { ...state, notBeforeMs: nowMs + waitAfter(table, state, progress) },
    { lastError: error, ...(progress.state === 'running' && { state: 'failed' as const }) },
  );
  const alarming = progress.attempts >= table.limits.attentionAfter && !state.attention;
  return alarming ? withDue({ ...waiting, attention: true }) : waiting;
}

/** Jitter without randomness: a replay must wait as long as the first time. */
export function waitMs({ limits }: SagaTable, subject: string, attempts: number): number {
  const random = (): number => shareOf(`${subject}/${attempts}`);
  return Math.max(1, backoffMs(limits.backoff, attempts, random));
}

/** The step under the cursor is done and answered `value`. */
export function withResult(state: SagaState, value: unknown): SagaState {
  const { lastError: _overcome, ...progress } = state.steps[state.cursor] as StepProgress;
  const steps = state.steps.with(state.cursor, { ...progress, state: 'done' });
  return { ...state, steps, results: { ...state.results, [progress.name]: value } };
}

/** The step under the cursor, changed. */
export function withStep(state: SagaState, change: Partial<StepProgress>): SagaState {
  const progress = state.steps[state.cursor] as StepProgress;
  return { ...state, steps: state.steps.with(state.cursor, { ...progress, ...change }) };
}

function moveTo(state: SagaState, cursor: number, verb: StepVerb): SagaState {
  const moved = { ...state, cursor, verb, notBeforeMs: 0, attention: false };
  return moved.steps[cursor] === undefined ? moved : withStep(moved, { attempts: 0 });
}

function settleUndecided(state: SagaState, as: SettledVerb['state']): SagaState {
  const { journal } = state;
  const settled = journal.undecided.map((entry) => ({ entry, state: as }));
  return {
    ...state,
    journal: { ...journal, undecided: [], settled: [...journal.settled, ...settled] },
  };
}

function waitAfter(table: SagaTable, state: SagaState, { name, attempts }: StepProgress): number {
  return waitMs(table, `${state.sagaId}/${name}/${state.verb}`, attempts);
}

function withDue(state: SagaState): SagaState {
  return { ...state, journal: { ...state.journal, due: true } };
}

const TOO_LATE: StepError = {
  code: 'shard-unavailable',
  message:
    'This saga did not reach its point of no return before its deadline and was taken back. Send the request again.',
};
