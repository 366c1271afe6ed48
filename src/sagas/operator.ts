import type { OrchestrationClient } from '../durable/client.ts';
import { OPERATOR_EVENT, type OperatorVerb } from '../durable/saga/record.ts';
import type { SagaView } from '../durable/saga/view.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import { readEntries, recordRequest, settleRequest, type EntryState } from './audit.ts';
import { readSaga } from './journal.ts';
import type { SagaRecord } from './model.ts';
import type { SagaModule } from './modules.ts';
import type { SagaId } from './saga-id.ts';
import { settleLocal } from './settle-local.ts';
import { orchestrationLives } from './sweep-life.ts';

/**
 * A saga that waits takes a word at once, and one in the middle of a try soon after it. A word that is older and still
 * not settled never reached its saga: it must not stand in the way of the next one for ever.
 */
const WORD_IS_LOST_AFTER_MS = 60_000;

/** What an operator orders. */
export interface OperatorOrder {
  readonly sagaId: SagaId;
  readonly verb: OperatorVerb;
  readonly reason: string;
  readonly by: string | undefined;
  /** For `skip`: the step that is meant; the one the saga is at when undefined. */
  readonly step: string | undefined;
  readonly requestId: string;
}

export interface OperatorAnswer {
  readonly sagaId: string;
  /** Decimal text. */
  readonly entry: string;
  readonly verb: OperatorVerb;
  readonly state: EntryState;
}

/**
 * Passes an operator's word on to a saga, written down first. A saga whose orchestration is lost is started again by
 * `retry` and `compensate`: it goes on when its pivot is done, and otherwise compensates. What became of the word shows
 * in the audit. Throws `not-found`, and `conflict` when the saga has ended, when there is no orchestration that could
 * skip, and when a `skip` before this one is not settled yet; `validation-failed` for a step with another verb (permanent).
 */
export async function orderSaga(
  services: Services,
  client: OrchestrationClient,
  modules: readonly SagaModule[],
  order: OperatorOrder,
): Promise<OperatorAnswer> {
  const { sagaId, verb } = order;
  if (verb !== 'skip' && order.step !== undefined) {
    const problems = [{ path: '/step', message: 'is for skip only' }];
    throw PermanentError.validation('The request is not valid.', problems);
  }
  const record = await readSaga(services, sagaId);
  if (record === undefined) throw sagaNotFound(sagaId);
  if (record.finishedAt !== undefined) throw hasEnded(record);
  const module = modules.find(({ definition }) => definition.kind === record.kind);
  if (module === undefined) {
    throw new PermanentError('conflict', `This app does not run sagas of kind ${record.kind}.`);
  }
  const lives = await orchestrationLives(client, module, sagaId);
  if (verb === 'skip') await requireSkippable(services, sagaId, lives);
  const entry = await services.ids.nextOrderId();
  const step = order.step ?? (lives ? await stepOf(client, module, sagaId) : null);
  await recordRequest(services, {
    sagaId,
    entry,
    verb,
    step,
    reason: order.reason,
    requestedBy: order.by ?? null,
    requestId: order.requestId,
    requestedAtMs: services.clock.nowMs(),
  });
  const state = await passOn(services, client, { module, record, order, entry, step });
  services.logger.log('warn', 'sagas.ordered', { sagaId, verb, entry, state });
  return { sagaId, entry, verb, state };
}

export function sagaNotFound(sagaId: string): PermanentError {
  return new PermanentError('not-found', `There is no saga ${sagaId}.`);
}

function hasEnded({ sagaId, status, finishedAt }: SagaRecord): PermanentError {
  const message = `Saga ${sagaId} ended as ${status} at ${finishedAt}: nothing of it can be changed any more.`;
  return new PermanentError('conflict', message);
}

/** A second word meant for the same step would skip the one after it. */
async function requireSkippable(services: Services, sagaId: SagaId, lives: boolean): Promise<void> {
  if (!lives) {
    const message = `Saga ${sagaId} has no orchestration that could skip a step. Order retry: it starts again, and can be told to skip then.`;
    throw new PermanentError('conflict', message);
  }
  const entries = await readEntries(services, sagaId);
  const lostBefore = services.clock.nowMs() - WORD_IS_LOST_AFTER_MS;
  const open = entries.find(
    ({ verb, state, requestedAt }) =>
      verb === 'skip' && state === 'requested' && Date.parse(requestedAt) > lostBefore,
  );
  if (open === undefined) return;
  const message = `Saga ${sagaId} was told to skip before (entry ${open.entry}) and has not come to it yet. Look at its audit in a minute.`;
  throw new PermanentError('conflict', message);
}

/** Starts the saga again if it must be, then gives it the word. */
async function passOn(
  services: Services,
  client: OrchestrationClient,
  passed: {
    readonly module: SagaModule;
    readonly record: SagaRecord;
    readonly order: OperatorOrder;
    readonly entry: string;
    readonly step: string | null;
  },
): Promise<EntryState> {
  const { module, record, order, entry, step } = passed;
  const { sagaId, verb } = order;
  const word = { verb, entry, ...(verb === 'skip' && step !== null && { step }) };
  if (await client.raise(sagaId, OPERATOR_EVENT, word)) return 'requested';
  if (verb === 'skip') {
    await settleRequest(services, { sagaId, entry, state: 'refused' });
    return 'refused';
  }
  if ((await settleLocal(services, module, { sagaId, input: record.input })) === 'ended') {
    // It was one transaction, whose end had not been written down.
    const state = verb === 'retry' ? 'applied' : 'refused';
    await settleRequest(services, { sagaId, entry, state });
    return state;
  }
  const { orchestration } = module.definition;
  await client.startAgain(orchestration, sagaId, { mode: 'recover', input: record.input });
  if (await client.raise(sagaId, OPERATOR_EVENT, word)) return 'requested';
  // It has ended by now: to start it was all that was needed.
  await settleRequest(services, { sagaId, entry, state: 'applied' });
  return 'applied';
}

/** The step the saga is at, as its orchestration tells. */
async function stepOf(
  client: OrchestrationClient,
  { definition }: SagaModule,
  sagaId: string,
): Promise<string | null> {
  const view: SagaView | undefined = (await client.status(definition.orchestration, sagaId))
    ?.status;
  const at = view?.steps.find(({ state }) => state === 'running' || state === 'undoing');
  return at?.name ?? null;
}
