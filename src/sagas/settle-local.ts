import type { SagaDefinition } from '../durable/saga/definition.ts';
import { checked } from '../durable/envelope.ts';
import type { StepView } from '../durable/saga/view.ts';
import { startDeadline } from '../kernel/deadline.ts';
import type { Services } from '../services.ts';
import { recordSagaState, type SagaState } from './journal.ts';
import { closeLocal, type LocalAnswer, type LocalSaga, type LocalWork } from './local.ts';
import { LOCAL_STEP, stepErrorOf } from './model.ts';
import type { SagaModule } from './modules.ts';
import type { SagaId } from './saga-id.ts';

/**
 * For whoever starts a lost saga again: its local transaction may have been its whole life, committed by a process that
 * died before it could write that down. Writes down such an end (`ended`), or settles that there is none and never will
 * be (`by-saga`): then its orchestration may start. Idempotent. Throws `shard-unavailable` (retryable).
 */
export async function settleLocal(
  services: Services,
  { definition, local }: Pick<SagaModule, 'definition' | 'local'>,
  lost: { readonly sagaId: SagaId; readonly input: unknown },
): Promise<'ended' | 'by-saga'> {
  if (local === undefined) return 'by-saga';
  // A module's parts fit each other; the registry holds them erased.
  const saga = definition as SagaDefinition<unknown, unknown>;
  const work: LocalWork<unknown, unknown> = {
    saga,
    sagaId: lost.sagaId,
    input: checked(saga.kind, 'input', saga.input, lost.input),
    local: local as LocalSaga<unknown, unknown>,
    deadline: startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS),
  };
  const answer = await closeLocal(services, work);
  if (answer.kind === 'by-saga') return 'by-saga';
  await recordLocal(services, work, answer);
  return 'ended';
}

/** Writes down how a saga ended locally: with the one step `local`. Idempotent. */
export async function recordLocal<Input, Output>(
  services: Services,
  { saga, sagaId, input, deadline }: LocalWork<Input, Output>,
  answer: Exclude<LocalAnswer<Output>, { readonly kind: 'by-saga' }>,
): Promise<void> {
  const state = (
    step: Omit<StepView, 'name' | 'attempts'>,
    status: 'completed' | 'compensated',
    outcome: SagaState['outcome'],
  ): SagaState => ({
    sagaId,
    input,
    view: {
      kind: saga.kind,
      status,
      attention: false,
      steps: [{ name: LOCAL_STEP, attempts: 1, ...step }],
    },
    outcome,
  });
  const ended =
    answer.kind === 'done'
      ? state({ state: 'done' }, 'completed', { kind: 'completed', value: answer.value ?? null })
      : refused(stepErrorOf(answer.error));
  await recordSagaState(services, ended, { deadlineMs: deadline.remainingMs() });

  function refused(error: ReturnType<typeof stepErrorOf>): SagaState {
    const outcome = { kind: 'compensated', error } as const;
    return state({ state: 'failed', lastError: error }, 'compensated', outcome);
  }
}
