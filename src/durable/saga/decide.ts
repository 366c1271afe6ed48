import { assertNever } from '../../kernel/exhaustive.ts';
import {
  advance,
  compensateFrom,
  descend,
  lookAround,
  pastPivot,
  retryForEver,
  retryInTime,
  waitMs,
  withResult,
  withStep,
} from './progress.ts';
import {
  currentStep,
  endingOf,
  type Ending,
  type SagaState,
  type SagaTable,
  type SettledVerb,
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
  return withStep(tried(table, state), { delivered: true });
}

function tried(table: SagaTable, state: SagaState): SagaState {
  const { progress } = currentStep(table, state);
  const undoing = state.verb === 'undo' || state.verb === 'abandon';
  return withStep(
    { ...state, notBeforeMs: 0, journal: { ...state.journal, postponed: false } },
    { state: undoing ? 'undoing' : 'running', attempts: progress.attempts + 1 },
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
  // A saga that is recovered may have sent it out before it was lost.
  const recovered = state.phase === 'recovering' && state.failure === undefined;
  const neverOut = !progress.delivered && !recovered;
  if (neverOut && step.role !== 'retriable') {
    const unneeded = withStep(state, { state: 'unneeded', lastError: error });
    return compensateFrom(table, unneeded, { cursor: state.cursor - 1, error });
  }
  if (neverOut && state.verb === 'seal') {
    return advance(table, withStep(state, { state: 'skipped', lastError: error }), nowMs);
  }
  return afterAnswer(table, tried(table, state), { kind: 'failed', error }, nowMs);
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
  const againAtMs = nowMs + waitMs(table, `${state.sagaId}/journal`, attempts);
  return {
    ...state,
    notBeforeMs: ended ? againAtMs : state.notBeforeMs,
    attention: state.attention || (ended && attempts >= table.limits.attentionAfter),
    journal: { ...journal, attempts, postponed: true },
  };
}

function afterRun(
  table: SagaTable,
  state: SagaState,
  answer: StepAnswer,
  nowMs: number,
): SagaState {
  switch (answer.kind) {
    case 'done':
      return advance(table, afterDone(table, state, answer.value), nowMs);
    case 'refused':
      return afterRefusal(table, state, answer.error, nowMs);
    case 'undone':
    case 'sealed':
      return afterClosed(table, state, nowMs);
    case 'failed':
      return currentStep(table, state).step.role === 'retriable'
        ? retryForEver(table, state, answer.error, nowMs)
        : (retryInTime(table, state, answer.error, nowMs) ??
            lookAround(failed(state, answer.error), answer.error));
    default:
      return assertNever(answer);
  }
}

function afterDone(table: SagaTable, state: SagaState, value: unknown): SagaState {
  const done = withResult(state, value);
  return currentStep(table, state).step.role === 'pivot' ? pastPivot(done) : done;
}

/** A compensatable step that was refused is undone as well: an earlier try of it may still come late. */
function afterRefusal(
  table: SagaTable,
  state: SagaState,
  error: StepError,
  nowMs: number,
): SagaState {
  const { role } = currentStep(table, state).step;
  switch (role) {
    case 'compensatable':
      return compensateFrom(table, failed(state, error), { cursor: state.cursor, error });
    case 'pivot':
      return lookAround(failed(state, error), error);
    case 'retriable':
      return retryForEver(table, state, error, nowMs);
    default:
      return assertNever(role);
  }
}

/** Somebody else closed the step (an earlier run, an operator, the sweep): it will never be done. */
function afterClosed(table: SagaTable, state: SagaState, nowMs: number): SagaState {
  const { role } = currentStep(table, state).step;
  switch (role) {
    case 'compensatable':
      return compensateFrom(table, failed(state, CLOSED), { cursor: state.cursor, error: CLOSED });
    case 'pivot':
      return lookAround(failed(state, CLOSED), CLOSED);
    case 'retriable':
      return advance(table, withStep(state, { state: 'skipped', lastError: CLOSED }), nowMs);
    default:
      return assertNever(role);
  }
}

function afterSeal(
  table: SagaTable,
  state: SagaState,
  answer: StepAnswer,
  nowMs: number,
): SagaState {
  switch (answer.kind) {
    case 'done':
      return advance(table, afterDone(table, state, answer.value), nowMs);
    case 'undone':
    case 'sealed': {
      if (currentStep(table, state).step.role === 'retriable') {
        return advance(table, withStep(state, { state: 'skipped' }), nowMs);
      }
      const closed = withStep(state, { state: answer.kind === 'undone' ? 'undone' : 'unneeded' });
      return compensateFrom(table, closed, {
        cursor: state.cursor - 1,
        error: state.failure ?? LOST,
      });
    }
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
    case 'sealed':
      return descend(withStep(state, { state: state.verb === 'abandon' ? 'skipped' : 'undone' }));
    case 'done':
      return retryForEver(table, state, UNEXPECTED, nowMs);
    case 'refused':
    case 'failed':
      return retryForEver(table, state, answer.error, nowMs);
    default:
      return assertNever(answer);
  }
}

function failed(state: SagaState, error: StepError): SagaState {
  return withStep(state, { state: 'failed', lastError: error });
}

const CLOSED: StepError = {
  code: 'conflict',
  message:
    'A step of this saga was closed before it ran: an earlier run of the same saga, an operator or the sweep took it back. Send the request again under a new id.',
};

/** Not the fault of the request: of a code that tells the caller (and `saga-of-key.ts`) that it may succeed another time. */
const LOST: StepError = {
  code: 'shard-unavailable',
  message:
    'This saga was interrupted before its point of no return and was taken back. Send the request again.',
};

const UNEXPECTED: StepError = {
  code: 'internal',
  message: 'A compensation gave an answer that it cannot give.',
};
