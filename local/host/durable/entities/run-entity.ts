import type { InvocationResult } from '../../contracts.ts';
import type { Engine, Wakes } from '../engine.ts';
import { postMessage } from '../instances/post-message.ts';
import type { RunVerdict } from '../keyed-runner.ts';
import { EventType } from '../turn/history-events.ts';
import { formatEntityId, parseEntityId } from './entity-id.ts';
import { replyInput, type OperationMessage } from './entity-messages.ts';
import { takeBatch, type EntityBatch } from './take-batch.ts';

/** Pause before a batch is tried again after an internal error, such as a full disk. */
const ERROR_PAUSE_MS = 1000;

/** `EntityState` of the SDK: what an entity invocation returns. */
interface EntityAnswer {
  readonly entityExists: boolean;
  /** JSON text. */
  readonly entityState?: string;
  readonly results: readonly { readonly isError: boolean; readonly result?: string }[];
  readonly signals: readonly {
    readonly target: { readonly name: string; readonly key: string };
    readonly name: string;
    /** JSON text; empty for none. */
    readonly input: string;
  }[];
}

/** Runs the operations waiting for an entity, one batch at a time. Never rejects. */
export async function runEntity(engine: Engine, entityId: string): Promise<RunVerdict> {
  try {
    if (engine.closed.aborted) return { more: false, cooldownMs: 0 };
    const batch = await engine.commitSoon((wakes) => takeBatch(engine, wakes, entityId));
    if (batch.operations.length === 0) return { more: false, cooldownMs: 0 };
    const answer = await invoke(engine, batch);
    if (engine.closed.aborted) return { more: false, cooldownMs: 0 };
    engine.probe.reach('entity.ran');
    await engine.commitSoon((wakes) => writeAnswer(engine, wakes, batch, answer));
    return { more: true, cooldownMs: 0 };
  } catch (error) {
    if (engine.closed.aborted) return { more: false, cooldownMs: 0 };
    engine.logger.log('error', 'durable.entity_batch_not_committed', { entityId, error });
    return { more: true, cooldownMs: ERROR_PAUSE_MS };
  }
}

async function invoke(engine: Engine, batch: EntityBatch): Promise<EntityAnswer> {
  const { entity, operations } = batch;
  const self = parseEntityId(entity.id);
  const fn = self === null ? undefined : engine.functions.entity(self.name);
  if (fn === undefined) return failAll(batch, `There is no entity function for ${entity.id}.`);
  const request = {
    self,
    exists: entity.exists,
    state: entity.state,
    batch: operations.map(({ op, input, signal }) => ({ name: op, input, isSignal: signal })),
  };
  try {
    const result = await engine.invoker.invoke({
      fn,
      triggerData: { string: JSON.stringify(request) },
      triggerMetadata: {},
    });
    return answerOf(result);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    engine.logger.log('error', 'durable.entity_failed', { entityId: entity.id, error: message });
    return failAll(batch, message);
  }
}

function answerOf(result: InvocationResult): EntityAnswer {
  const value = result.returnValue;
  if (value !== null && value !== undefined && 'json' in value && typeof value.json === 'string') {
    return JSON.parse(value.json) as EntityAnswer;
  }
  throw new Error('the entity function returned no state');
}

/** The invocation itself failed: every operation fails and the state stays as it was. */
function failAll({ entity, operations }: EntityBatch, message: string): EntityAnswer {
  return {
    entityExists: entity.exists,
    ...(entity.state === null ? {} : { entityState: entity.state }),
    results: operations.map(() => ({ isError: true, result: JSON.stringify(message) })),
    signals: [],
  };
}

function writeAnswer(
  engine: Engine,
  wakes: Wakes,
  { entity, operations, seqs }: EntityBatch,
  answer: EntityAnswer,
): void {
  engine.entities.consume(seqs);
  engine.entities.put({
    ...entity,
    exists: answer.entityExists,
    state: answer.entityExists ? (answer.entityState ?? null) : null,
    updatedMs: engine.clock(),
  });
  for (const [index, operation] of operations.entries()) {
    reply(engine, wakes, operation, answer.results[index]);
  }
  for (const signal of answer.signals) {
    const target = formatEntityId(signal.target);
    engine.entities.post(target, {
      kind: 'op',
      op: signal.name,
      signal: true,
      input: signal.input === '' ? null : signal.input,
      requestId: null,
      parentId: null,
      parentExecution: null,
    });
    wakes.entities.add(target);
  }
}

function reply(
  engine: Engine,
  wakes: Wakes,
  operation: OperationMessage,
  result: EntityAnswer['results'][number] | undefined,
): void {
  if (operation.signal || operation.requestId === null || operation.parentId === null) return;
  postMessage(engine, wakes, {
    instanceId: operation.parentId,
    executionId: operation.parentExecution,
    kind: 'reply',
    event: {
      EventType: EventType.EventRaised,
      EventId: -1,
      Name: operation.requestId,
      Input: replyInput(result?.result ?? null, result?.isError === true),
    },
  });
}
