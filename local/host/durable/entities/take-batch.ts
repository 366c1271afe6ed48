import type { Engine, Wakes } from '../engine.ts';
import { postMessage } from '../instances/post-message.ts';
import type { EntityRow } from '../store/entity-store.ts';
import { EventType } from '../turn/history-events.ts';
import { replyInput, type LockMessage, type OperationMessage } from './entity-messages.ts';

/** Most operations given to an entity in one invocation (Azure's default is 5000). */
const MAX_BATCH = 50;

/** Operations an entity may run now. */
export interface EntityBatch {
  readonly entity: EntityRow;
  readonly operations: readonly OperationMessage[];
  readonly seqs: readonly number[];
}

/**
 * Settles lock and release messages at the head of the entity's queue, then returns the operations
 * that may run. While the entity is locked only its owner's messages count; all others wait, in order.
 * Call within a transaction.
 */
export function takeBatch(engine: Engine, wakes: Wakes, entityId: string): EntityBatch {
  let entity = engine.entities.get(entityId) ?? newEntity(entityId, engine.clock());
  for (;;) {
    const waiting =
      entity.lockOwner === null
        ? engine.entities.inbox(entityId, MAX_BATCH)
        : engine.entities.inboxOf(entityId, entity.lockOwner, MAX_BATCH);
    const head = waiting[0];
    if (head === undefined) return { entity, operations: [], seqs: [] };
    if (head.message.kind === 'op') return leadingOperations(entity, waiting);
    engine.entities.consume([head.seq]);
    if (head.message.kind === 'lock') entity = grantLock(engine, wakes, entity, head.message);
    else if (head.message.lockId === entity.lockId) entity = { ...entity, ...UNLOCKED };
    engine.entities.put(entity);
  }
}

const UNLOCKED = { lockOwner: null, lockId: null };

function newEntity(id: string, nowMs: number): EntityRow {
  return { id, exists: false, state: null, ...UNLOCKED, updatedMs: nowMs };
}

function leadingOperations(
  entity: EntityRow,
  waiting: ReturnType<Engine['entities']['inbox']>,
): EntityBatch {
  const operations: OperationMessage[] = [];
  const seqs: number[] = [];
  for (const { seq, message } of waiting) {
    if (message.kind !== 'op') break;
    operations.push(message);
    seqs.push(seq);
  }
  return { entity, operations, seqs };
}

/** Locks the entity and passes the request on: to the next entity, or back to the orchestration. */
function grantLock(
  engine: Engine,
  wakes: Wakes,
  entity: EntityRow,
  request: LockMessage,
): EntityRow {
  // The orchestration may have ended while its request waited; nobody would release the lock then.
  if (engine.instances.get(request.parentId)?.lock?.id !== request.lockId) return entity;
  const next = request.entityIds[request.position + 1];
  if (next !== undefined) {
    engine.entities.post(next, { ...request, position: request.position + 1 });
    wakes.entities.add(next);
  } else {
    postMessage(engine, wakes, {
      instanceId: request.parentId,
      executionId: request.parentExecution,
      kind: 'reply',
      event: {
        EventType: EventType.EventRaised,
        EventId: -1,
        Name: request.lockId,
        Input: replyInput(null, false),
      },
    });
  }
  return { ...entity, lockOwner: request.parentId, lockId: request.lockId };
}
