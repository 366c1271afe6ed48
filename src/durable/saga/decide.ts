import { backoffMs } from '../../kernel/backoff.ts';
import { assertNever } from '../../kernel/exhaustive.ts';
import { shareOf } from './jitter.ts';
import {
  currentStep,
  endingOf,
  type Ending,
  type SagaState,
  type SagaTable,
  type SettledVerb,
  type StepProgress,
} from './state.ts';
import type { StepAnswer, StepError, StepVerb } from './step.ts';

/** What the runner does next. */
export type SagaMove =
  | { readonly kind: 'wait'; readonly untilMs: number }
  /** `step` is a position in the table. */
  | { readonly kind: 'deliver'; readonly step: number; readonly verb: StepVerb }
  | {
      readonly kind: 'record';
      readonly ending: Ending | undefined;
      readonly verb: SettledVerb | undefined;
    }
  | { readonly kind: 'finish'; readonly ending: Ending };

/** The next move from a state. Pure, as everything here: the same state and time give the same move. */
export function nextMove(table: SagaTable, state: SagaState, nowMs: number): SagaMove {
  const { journal } = state;
  const ending = endingOf(table, state);
  const [verb] = journal.settled;
  if (ending !== undefined && journal.closed && verb === undefined) {
    return { kind: 'finish', ending };
  }
  if (ending === undefined && (journal.due || verb !== undefined) && !journal.postponed) {
    return { kind: 'record', ending, verb };
  }
  if (nowMs < state.notBeforeMs) return { kind: 'wait', untilMs: state.notBeforeMs };
  if (ending !== undefined) return { kind: 'record', ending, verb };
  return { kind: 'deliver', step: state.cursor, verb: state.verb };
}

/** The state while the delivery of the current move is under way. */
export function delivering(table: SagaTable, state: SagaState): SagaState {
  const { progress } = currentStep(table, state);
  const undoing = state.verb === 'undo' || state.verb === 'abandon';
  return withStep(
    { ...state, notBeforeMs: 0, journal: { ...state.journal, postponed: false } },
    { state: undoing ? 'undoing' : 'running', attempts: progress.attempts + 1, delivered: true },
  );
}

/** What the delivery answered, taken in. */
export function afterAnswer(
  table: SagaTable,
  state: SagaState,
  answer: StepAnswer,
  nowMs: number,
): SagaState {
  switch (state.verb) {
    case 'run':
      return afterRun(table, state, answer, nowMs);
    case 'seal':
      return afterSeal(table, state, answer, nowMs);
    case 'undo':
    case 'abandon':
      return afterUndo(table, state, answer, nowMs);
    default:
      return assertNever(state.verb);
  }
}

/**
 * The input of the current step cannot be made, so nothing was delivered: a mistake in the saga's table. A step that
 * never went out needs no compensation, which is what keeps such a saga from being stuck in it.
 */
export function afterUnmadeInput(
  table: SagaTable,
  state: SagaState,
  error: StepError,
  nowMs: number,
): SagaState {
  const { step, progress } = currentStep(table, state);
  const neverOut = !progress.delivered && state.phase === 'forward';
  if (neverOut && step.role !== 'retriable' && state.verb === 'run') {
    return giveUpBefore(table, withStep(state, { state: 'unneeded', lastError: error }), error);
  }
  if (neverOut && step.role === 'retriable' && state.verb === 'seal') {
    return advance(table, withStep(state, { state: 'skipped', lastError: error }), nowMs);
  }
  return afterAnswer(table, delivering(table, state), { kind: 'failed', error }, nowMs);
}

/** How the journal took the current record. */
export function afterRecord(
  table: SagaTable,
  state: SagaState,
  recorded: boolean,
  nowMs: number,
): SagaState {
  const { journal } = state;
  const ended = endingOf(table, state) !== undefined;
  if (recorded) {
    const settled = journal.settled.slice(1);
    return { ...state, journal: { ...journal, due: false, attempts: 0, closed: ended, settled } };
  }
  const attempts = journal.attempts + 1;
  const waitMs = backoff(table, `${state.sagaId}/journal`, attempts);
  return {
    ...state,
    notBeforeMs: ended ? nowMs + waitMs : state.notBeforeMs,
    journal: { ...journal, attempts, postponed: true },
  };
}

/**
 * Gives up before the pivot is known to be done. A step in doubt is armed for its compensation before it runs, so it
 * is undone with the others; a pivot in doubt is sealed first, and decides.
 */
export function giveUp(table: SagaTable, state: SagaState, error: StepError): SagaState {
  const { step } = currentStep(table, state);
  const failed = withStep({ ...state, failure: error }, { state: 'failed', lastError: error });
  return step.role === 'pivot'
    ? startVerb(failed, 'seal')
    : compensateFrom(table, failed, state.cursor);
}

/** Gives up at a step that is known to be closed or never went out. */
export function giveUpBefore(table: SagaTable, state: SagaState, error: StepError): SagaState {
  return compensateFrom(table, { ...state, failure: error }, state.cursor - 1);
}

/** The same step with another verb, tried at once. */
export function startVerb(state: SagaState, verb: StepVerb): SagaState {
  return withStep({ ...state, verb, notBeforeMs: 0 }, { attempts: 0 });
}

function afterRun(
  table: SagaTable,
  state: SagaState,
  answer: StepAnswer,
  nowMs: number,
): SagaState {
  const { step } = currentStep(table, state);
  const final = step.role === 'retriable';
  switch (answer.kind) {
    case 'done':
      return advance(table, withResult(state, step.name, answer.value), nowMs);
    case 'refused':
      return final
        ? retryForEver(table, state, answer.error, nowMs)
        : giveUp(table, state, answer.error);
    case 'undone':
    case 'sealed':
      // Closed by somebody else: a run before this one, an operator, the sweep. It will never be done.
      return final
        ? advance(table, withStep(state, { state: 'skipped', lastError: CLOSED }), nowMs)
        : giveUp(table, state, CLOSED);
    case 'failed':
      return final
        ? retryForEver(table, state, answer.error, nowMs)
        : retryInTime(table, state, answer.error, nowMs);
    default:
      return assertNever(answer);
  }
}

function afterSeal(
  table: SagaTable,
  state: SagaState,
  answer: StepAnswer,
  nowMs: number,
): SagaState {
  const { step } = currentStep(table, state);
  switch (answer.kind) {
    case 'done': {
      const done = withResult(state, step.name, answer.value);
      return advance(table, step.role === 'pivot' ? pivotIsDone(done) : done, nowMs);
    }
    case 'undone':
    case 'sealed':
      if (step.role === 'retriable') {
        return advance(table, withStep(state, { state: 'skipped' }), nowMs);
      }
      return giveUpBefore(
        table,
        withStep(state, { state: answer.kind === 'undone' ? 'undone' : 'unneeded' }),
        state.failure ?? LOST,
      );
    case 'refused':
    case 'failed':
      return retryForEver(table, state, answer.error, nowMs);
    default:
      return assertNever(answer);
  }
}

function afterUndo(
  table: SagaTable,
  state: SagaState,
  answer: StepAnswer,
  nowMs: number,
): SagaState {
  switch (answer.kind) {
    case 'undone':
    case 'sealed': {
      const undone = withStep(state, { state: state.verb === 'abandon' ? 'skipped' : 'undone' });
      return moveTo(undone, state.cursor - 1, 'undo');
    }
    case 'done':
      return retryForEver(table, state, UNEXPECTED, nowMs);
    case 'refused':
    case 'failed':
      return retryForEver(table, state, answer.error, nowMs);
    default:
      return assertNever(answer);
  }
}

/** On to the next step, or to the end. The deadline is about reaching the pivot. */
function advance(table: SagaTable, state: SagaState, nowMs: number): SagaState {
  const verb = state.phase === 'recovering' ? 'seal' : 'run';
  const next = moveTo(state, state.cursor + 1, verb);
  const role = table.steps[next.cursor]?.role;
  const beforePivot = role === 'compensatable' || role === 'pivot';
  return state.phase === 'forward' && beforePivot && nowMs >= state.deadlineAtMs
    ? giveUpBefore(table, next, TOO_LATE)
    : next;
}

function pivotIsDone(state: SagaState): SagaState {
  const { failure: _settled, ...rest } = state;
  return settleUndecided({ ...rest, phase: 'forward' }, 'refused');
}

function compensateFrom(table: SagaTable, state: SagaState, cursor: number): SagaState {
  const steps = state.steps.map((step) =>
    step.state === 'pending' ? { ...step, state: 'unneeded' as const } : step,
  );
  const compensating = settleUndecided({ ...state, steps, phase: 'compensating' }, 'applied');
  const moved = moveTo(compensating, cursor, 'undo');
  // One that has nothing to compensate is at its end, and that is written down.
  return endingOf(table, moved) === undefined ? withDue(moved) : moved;
}

function settleUndecided(state: SagaState, as: SettledVerb['state']): SagaState {
  const { journal } = state;
  const settled = journal.undecided.map((entry) => ({ entry, state: as }));
  return {
    ...state,
    journal: { ...journal, undecided: [], settled: [...journal.settled, ...settled] },
  };
}

function retryInTime(
  table: SagaTable,
  state: SagaState,
  error: StepError,
  nowMs: number,
): SagaState {
  const { progress } = currentStep(table, state);
  const againAtMs = nowMs + waitAfter(table, state, progress);
  const over = progress.attempts >= table.limits.maxAttempts || againAtMs >= state.deadlineAtMs;
  if (over) return giveUp(table, state, error);
  return withStep({ ...state, notBeforeMs: againAtMs }, { state: 'failed', lastError: error });
}

function retryForEver(
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

function waitAfter(table: SagaTable, state: SagaState, { name, attempts }: StepProgress): number {
  return backoff(table, `${state.sagaId}/${name}/${state.verb}`, attempts);
}

/** Jitter without randomness: a replay must wait as long as the first time. */
function backoff({ limits }: SagaTable, subject: string, attempts: number): number {
  return Math.max(
    1,
    backoffMs(limits.backoff, attempts, () => shareOf(`${subject}/${attempts}`)),
  );
}

function moveTo(state: SagaState, cursor: number, verb: StepVerb): SagaState {
  const moved = { ...state, cursor, verb, notBeforeMs: 0, attention: false };
  return moved.steps[cursor] === undefined ? moved : withStep(moved, { attempts: 0 });
}

function withResult(state: SagaState, name: string, value: unknown): SagaState {
  const { lastError: _overcome, ...progress } = state.steps[state.cursor] as StepProgress;
  const steps = state.steps.with(state.cursor, { ...progress, state: 'done' });
  return { ...state, steps, results: { ...state.results, [name]: value } };
}

function withStep(state: SagaState, change: Partial<StepProgress>): SagaState {
  const progress = state.steps[state.cursor] as StepProgress;
  return { ...state, steps: state.steps.with(state.cursor, { ...progress, ...change }) };
}

function withDue(state: SagaState): SagaState {
  return { ...state, journal: { ...state.journal, due: true } };
}

const CLOSED: StepError = {
  code: 'conflict',
  message:
    'A step of this saga was closed before it ran: an earlier run of the same saga, an operator or the sweep took it back. Send the request again under a new id.',
};

const LOST: StepError = {
  code: 'conflict',
  message:
    'This saga was interrupted before its point of no return and was taken back. Send the request again under a new id.',
};

const TOO_LATE: StepError = {
  code: 'shard-unavailable',
  message:
    'This saga did not reach its point of no return before its deadline and was taken back. Send the request again under a new id.',
};

const UNEXPECTED: StepError = {
  code: 'internal',
  message: 'A compensation gave an answer that it cannot give.',
};
