import { z } from 'zod';
import { BugError } from '../../kernel/errors.ts';
import type { SagaLimits, SagaStep } from './definition.ts';
import { STEP_VERBS, stepError, type StepError } from './step.ts';
import { STEP_STATES, type SagaStatus, type SagaView } from './view.ts';

/** What the runner's decisions need of a saga's definition. */
export interface SagaTable {
  readonly kind: string;
  readonly steps: readonly SagaStep[];
  readonly limits: SagaLimits;
}

const stepProgress = z.strictObject({
  name: z.string(),
  state: z.enum(STEP_STATES),
  /** Tries of the verb it is at. */
  attempts: z.int().min(0),
  lastError: stepError.optional(),
  /** Whether an activity was ever scheduled for it in this run: what never went out cannot come late. */
  delivered: z.boolean(),
});
export type StepProgress = z.infer<typeof stepProgress>;

const settledVerb = z.strictObject({ entry: z.string(), state: z.enum(['applied', 'refused']) });
export type SettledVerb = z.infer<typeof settledVerb>;

/**
 * Where a saga stands: all that its runner knows, as JSON, so that it can be carried into a new execution. `cursor` is
 * the step it is at and `verb` what is being delivered to it; the end is a cursor outside the table.
 */
export const sagaState = z.strictObject({
  sagaId: z.string(),
  /** `recovering`: finds out how far a lost run came. */
  phase: z.enum(['recovering', 'forward', 'compensating']),
  cursor: z.int().min(-1),
  verb: z.enum(STEP_VERBS),
  steps: z.array(stepProgress),
  /** What the steps that are done answered, by name. */
  results: z.record(z.string(), z.unknown()),
  /** Why it compensates, or will as soon as the pivot is sealed. */
  failure: stepError.optional(),
  /** Milliseconds since 1970, the orchestration's own clock. */
  startedAtMs: z.number(),
  deadlineAtMs: z.number(),
  /** Nothing is delivered before this time; 0: at once. */
  notBeforeMs: z.number(),
  attention: z.boolean(),
  journal: z.strictObject({
    /** How it stands should be written down. */
    due: z.boolean(),
    /** The last try failed; the next one follows the next delivery, so that the journal's shard holds up no step. */
    postponed: z.boolean(),
    attempts: z.int().min(0),
    /** The end was written down. */
    closed: z.boolean(),
    /** Operators' words that were settled and not written down yet. */
    settled: z.array(settledVerb),
    /** `compensate` asked for while the pivot was in doubt: settled with it. */
    undecided: z.array(z.string()),
  }),
});
export type SagaState = z.infer<typeof sagaState>;

/** The state of a saga that begins, or of one that begins to be recovered. */
export function beginSaga(
  table: SagaTable,
  start: {
    readonly sagaId: string;
    readonly mode: 'run' | 'recover';
    readonly nowMs: number;
    readonly deadlineMs: number | undefined;
  },
): SagaState {
  return {
    sagaId: start.sagaId,
    phase: start.mode === 'run' ? 'forward' : 'recovering',
    cursor: 0,
    verb: start.mode === 'run' ? 'run' : 'seal',
    steps: table.steps.map(({ name }) => ({
      name,
      state: 'pending',
      attempts: 0,
      delivered: false,
    })),
    results: {},
    startedAtMs: start.nowMs,
    deadlineAtMs: start.nowMs + (start.deadlineMs ?? table.limits.deadlineMs),
    notBeforeMs: 0,
    attention: false,
    journal: {
      due: false,
      postponed: false,
      attempts: 0,
      closed: false,
      settled: [],
      undecided: [],
    },
  };
}

/** The step under the cursor, from the table and from the state. */
export function currentStep(
  table: SagaTable,
  state: SagaState,
): { readonly step: SagaStep; readonly progress: StepProgress } {
  const step = table.steps[state.cursor];
  const progress = state.steps[state.cursor];
  if (step === undefined || progress === undefined || step.name !== progress.name) {
    throw new BugError(`saga ${table.kind} has no step ${state.cursor} of this state`);
  }
  return { step, progress };
}

/** How a saga ended; undefined while there is something left to do. */
export type Ending =
  { readonly kind: 'completed' } | { readonly kind: 'compensated'; readonly error: StepError };

export function endingOf(table: SagaTable, state: SagaState): Ending | undefined {
  if (state.cursor >= table.steps.length) return { kind: 'completed' };
  if (state.cursor >= 0) return undefined;
  if (state.failure === undefined) throw new BugError('a saga compensated without a reason');
  return { kind: 'compensated', error: state.failure };
}

/** Longest message of an error in a view: 20 steps of it stay below the 16 KB of a custom status. */
const VIEW_MESSAGE_CHARS = 300;

/** The state as callers and operators see it: small, without inputs and results. */
export function viewOf(table: SagaTable, state: SagaState): SagaView {
  return {
    kind: table.kind,
    status: statusOf(table, state),
    attention: state.attention,
    steps: state.steps.map(({ name, state: stepState, attempts, lastError }) => ({
      name,
      state: stepState,
      attempts,
      ...(lastError !== undefined && {
        lastError: {
          code: lastError.code,
          message: lastError.message.slice(0, VIEW_MESSAGE_CHARS),
        },
      }),
    })),
  };
}

function statusOf(table: SagaTable, state: SagaState): SagaStatus {
  const ending = endingOf(table, state);
  if (ending !== undefined) return ending.kind;
  return state.phase === 'compensating' ? 'compensating' : 'running';
}
