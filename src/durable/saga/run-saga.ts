import { PermanentError } from '../../kernel/errors.ts';
import { assertNever } from '../../kernel/exhaustive.ts';
import { errorFields } from '../../kernel/logger.ts';
import { call } from '../call.ts';
import {
  continueAsNew,
  eventInbox,
  nowMs,
  setStatus,
  type Continued,
  type EventInbox,
  type OrchestratorContext,
  type Steps,
} from '../context.ts';
import { checked } from '../envelope.ts';
import { implementOrchestration, type OrchestrationImplementation } from '../implement.ts';
import {
  afterAnswer,
  afterRecord,
  afterUnmadeInput,
  delivering,
  nextMove,
  type SagaMove,
} from './decide.ts';
import type { SagaDefinition, SagaStart } from './definition.ts';
import { afterOperator } from './operator.ts';
import { OPERATOR_EVENT, operatorEvent, recordSaga } from './record.ts';
import { beginSaga, currentStep, sagaState, viewOf, type Ending, type SagaState } from './state.ts';
import type { StepAnswer, StepError } from './step.ts';
import type { SagaOutcome } from './view.ts';

/**
 * Moves after which the next execution begins as soon as nothing can be lost by it, and after which it begins in any
 * case: a wait that ran out has taken in all operators' words before it, one that was cut short may have left some.
 */
const MOVES_PER_EXECUTION = 20;
const MOST_MOVES_PER_EXECUTION = 100;

interface Run<Input, Output> {
  readonly ctx: OrchestratorContext;
  readonly saga: SagaDefinition<Input, Output>;
  readonly start: SagaStart;
  readonly inbox: EventInbox;
}

/**
 * The orchestration that carries out a saga's table under the saga's id: all of its effects or none, whatever fails on
 * the way. Idempotent: started again under the same id it meets its own ledger rows.
 */
export function implementSaga<Input, Output>(
  saga: SagaDefinition<Input, Output>,
): OrchestrationImplementation {
  return implementOrchestration(saga.orchestration, function* (ctx, start): Steps<
    SagaOutcome | Continued
  > {
    const run = { ctx, saga, start, inbox: eventInbox(ctx, OPERATOR_EVENT) };
    let state = firstState(run);
    for (let moves = 0; ; moves++) {
      state = takeWord(run, state, run.inbox.poll());
      setStatus(ctx, saga.orchestration, viewOf(saga, state));
      const move = nextMove(saga, state, nowMs(ctx));
      if (move.kind === 'finish') return outcomeOf(run, state, move.ending);
      if (move.kind === 'wait') {
        const word = yield* run.inbox.wait(move.untilMs);
        state = word === undefined ? { ...state, notBeforeMs: 0 } : takeWord(run, state, word);
        const enough = word === undefined ? MOVES_PER_EXECUTION : MOST_MOVES_PER_EXECUTION;
        if (moves >= enough) {
          return continueAsNew(ctx, saga.orchestration, { ...start, state });
        }
        continue;
      }
      state = yield* perform(run, state, move);
    }
  });
}

function firstState<Input, Output>({ ctx, saga, start }: Run<Input, Output>): SagaState {
  if (start.state !== undefined) {
    return checked(saga.orchestration.name, 'input', sagaState, start.state);
  }
  return beginSaga(saga, {
    sagaId: ctx.df.instanceId,
    mode: start.mode,
    nowMs: nowMs(ctx),
    deadlineMs: start.deadlineMs,
  });
}

function takeWord<Input, Output>(
  { ctx, saga }: Run<Input, Output>,
  state: SagaState,
  word: { readonly data: unknown } | undefined,
): SagaState {
  if (word === undefined) return state;
  const event = operatorEvent.safeParse(word.data);
  if (event.success) return afterOperator(saga, state, event.data);
  ctx.logger.log('warn', 'sagas.event_ignored', { sagaId: state.sagaId });
  return state;
}

function* perform<Input, Output>(
  run: Run<Input, Output>,
  state: SagaState,
  move: Extract<SagaMove, { kind: 'deliver' | 'record' }>,
): Steps<SagaState> {
  switch (move.kind) {
    case 'deliver':
      return yield* deliver(run, state);
    case 'record':
      return yield* record(run, state, move);
    default:
      return assertNever(move);
  }
}

function* deliver<Input, Output>(run: Run<Input, Output>, state: SagaState): Steps<SagaState> {
  const { ctx, saga } = run;
  const { step } = currentStep(saga, state);
  const made = inputFor(run, state);
  if (!made.ok) {
    const fields = { sagaId: state.sagaId, sagaStep: step.name, ...errorFields(made.error) };
    ctx.logger.log('error', 'sagas.input_unmade', fields);
    return afterUnmadeInput(saga, state, INTERNAL, nowMs(ctx));
  }
  const under = delivering(saga, state);
  setStatus(ctx, saga.orchestration, viewOf(saga, under));
  const payload = {
    sagaId: state.sagaId,
    step: step.name,
    verb: state.verb,
    input: made.input,
  };
  let answer: StepAnswer;
  try {
    answer = yield* call(ctx, step.contract.activity, payload);
  } catch (error) {
    answer = answerOfThrow(error);
  }
  return afterAnswer(saga, under, answer, nowMs(ctx));
}

/** The input of the step under the cursor: the same for each of its verbs, since the steps before it are done. */
function inputFor<Input, Output>(
  { saga, start }: Run<Input, Output>,
  state: SagaState,
):
  { readonly ok: true; readonly input: unknown } | { readonly ok: false; readonly error: unknown } {
  const { step } = currentStep(saga, state);
  try {
    const input = checked(saga.kind, 'input', saga.input, start.input);
    const made = step.inputOf({ sagaId: state.sagaId, input, results: state.results });
    return {
      ok: true,
      input: checked(step.contract.name, 'input', step.contract.input, made),
    };
  } catch (error) {
    // A mistake in the saga's table.
    return { ok: false, error };
  }
}

function* record<Input, Output>(
  run: Run<Input, Output>,
  state: SagaState,
  move: Extract<SagaMove, { kind: 'record' }>,
): Steps<SagaState> {
  const { ctx, saga } = run;
  const { ending, verb } = move;
  let recorded = true;
  try {
    yield* call(ctx, recordSaga, {
      sagaId: state.sagaId,
      view: { ...viewOf(saga, state), ...(ending !== undefined && { attention: false }) },
      ...(ending !== undefined && { outcome: outcomeOf(run, state, ending) }),
      ...(verb !== undefined && { verb }),
    });
  } catch (error) {
    recorded = false;
    const fields = { sagaId: state.sagaId, ...errorFields(error) };
    ctx.logger.log('warn', 'sagas.not_recorded', fields);
  }
  return afterRecord(saga, state, recorded, nowMs(ctx));
}

function outcomeOf<Input, Output>(
  { saga, start }: Run<Input, Output>,
  state: SagaState,
  ending: Ending,
): SagaOutcome {
  switch (ending.kind) {
    case 'completed': {
      const soFar = { sagaId: state.sagaId, input: start.input, results: state.results };
      const value = checked(saga.kind, 'output', saga.output, saga.outputOf(soFar));
      return { kind: 'completed', value: value ?? null };
    }
    case 'compensated':
      return ending;
    default:
      return assertNever(ending);
  }
}

/** A permanent failure is an answer; anything else (a host that died, a bug) may be gone at the next try. */
function answerOfThrow(error: unknown): StepAnswer {
  if (!(error instanceof PermanentError)) return { kind: 'failed', error: INTERNAL };
  const { code, message, problems } = error;
  return {
    kind: 'refused',
    error: { code, message, ...(problems.length > 0 && { problems: [...problems] }) },
  };
}

/** Says nothing of what was thrown: that may name hosts. */
const INTERNAL: StepError = {
  code: 'internal',
  message: 'A step of this saga failed unexpectedly.',
};
