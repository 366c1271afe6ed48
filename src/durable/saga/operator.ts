import { assertNever } from '../../kernel/exhaustive.ts';
import { lookAround, startVerb } from './progress.ts';
import type { OperatorEvent } from './record.ts';
import {
  currentStep,
  endingOf,
  type SagaState,
  type SagaTable,
  type SettledVerb,
} from './state.ts';
import type { StepError } from './step.ts';

/**
 * An operator's word, taken in between two moves. What became of it is written down by the next record; `compensate`
 * while the pivot is in doubt stays undecided until the pivot is looked at.
 */
export function afterOperator(table: SagaTable, state: SagaState, event: OperatorEvent): SagaState {
  const { verb, entry } = event;
  switch (verb) {
    case 'retry':
      return settled({ ...state, notBeforeMs: 0 }, entry, 'applied');
    case 'skip':
      return skip(table, state, event);
    case 'compensate':
      return compensate(table, state, entry);
    default:
      return assertNever(verb);
  }
}

/**
 * Only what will never be given up otherwise can be skipped (a step after the pivot, a compensation), and only when it
 * failed: a word that comes late must not hit the step after the one it was meant for.
 */
function skip(
  table: SagaTable,
  state: SagaState,
  { entry, step: meant }: OperatorEvent,
): SagaState {
  if (endingOf(table, state) !== undefined) return settled(state, entry, 'refused');
  const { step, progress } = currentStep(table, state);
  const isMeant = progress.attempts > 0 && (meant ?? step.name) === step.name;
  if (!isMeant) return settled(state, entry, 'refused');
  switch (state.phase) {
    case 'compensating':
      return settled(startVerb(state, 'abandon'), entry, 'applied');
    case 'forward':
      return step.role === 'retriable'
        ? settled(startVerb(state, 'seal'), entry, 'applied')
        : settled(state, entry, 'refused');
    case 'recovering':
      return settled(state, entry, 'refused');
    default:
      return assertNever(state.phase);
  }
}

/** Before the pivot is known to be done; whether it is, the steps tell when they are closed. */
function compensate(table: SagaTable, state: SagaState, entry: string): SagaState {
  if (endingOf(table, state) !== undefined) return settled(state, entry, 'refused');
  switch (state.phase) {
    case 'compensating':
      return settled(state, entry, 'refused');
    case 'recovering':
      return undecided(state, entry);
    case 'forward':
      return currentStep(table, state).step.role === 'retriable'
        ? settled(state, entry, 'refused')
        : undecided(lookAround(state, ASKED), entry);
    default:
      return assertNever(state.phase);
  }
}

function settled(state: SagaState, entry: string, as: SettledVerb['state']): SagaState {
  const { journal } = state;
  const words = [...journal.settled, { entry, state: as }].slice(-MAX_WORDS);
  return { ...state, journal: { ...journal, settled: words, postponed: false } };
}

function undecided(state: SagaState, entry: string): SagaState {
  const { journal } = state;
  const words = [...journal.undecided, entry].slice(-MAX_WORDS);
  return { ...state, journal: { ...journal, undecided: words } };
}

/** Words kept while the journal does not answer: the state is carried from execution to execution and stays small. */
const MAX_WORDS = 50;

const ASKED: StepError = {
  code: 'conflict',
  message: 'An operator had this saga taken back.',
};
