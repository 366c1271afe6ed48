import { randomUUID } from 'node:crypto';
import { formatEntityId } from '../entities/entity-id.ts';
import type { OperationMessage } from '../entities/entity-messages.ts';
import {
  ActionType,
  describeAction,
  type ActivityAction,
  type EntityAction,
  type LockAction,
  type RetryOptions,
  type SubOrchestratorAction,
  type TimerAction,
} from './actions.ts';
import type { FreshAction } from './allocate.ts';
import { EventType } from './history-events.ts';
import type { RetryState } from './retry-policy.ts';
import {
  HTTP_ACTIVITY,
  recordTimer,
  scheduleActivity,
  scheduleChild,
  scheduleTimer,
} from './schedule-work.ts';
import { record, type HeldLock, type Turn } from './turn.ts';

/**
 * Schedules one new action under the ids allocated to it and records it for later replays.
 *
 * @throws RangeError when a timer's time is not a valid date.
 */
export function scheduleAction(turn: Turn, fresh: FreshAction): void {
  const { action, ids } = fresh;
  const id = ids[0] ?? -1;
  switch (action.actionType) {
    case ActionType.CallActivity:
    case ActionType.CallActivityWithRetry:
      scheduleActivityAction(turn, id, action);
      break;
    case ActionType.CallSubOrchestrator:
    case ActionType.CallSubOrchestratorWithRetry:
      scheduleChildAction(turn, id, action);
      break;
    case ActionType.CreateTimer:
      scheduleTimerAction(turn, id, action);
      break;
    case ActionType.CallEntity:
    case ActionType.SignalEntity:
      sendOperation(turn, id, action);
      break;
    case ActionType.CallHttp:
      scheduleActivity(turn, id, {
        kind: 'http',
        name: HTTP_ACTIVITY,
        input: JSON.stringify(action.httpRequest),
        retry: null,
      });
      break;
    case ActionType.LockEntities:
      requestLock(turn, id, action);
      break;
    case ActionType.ReleaseEntities:
      if (turn.state.row.lock !== null) sendReleases(turn, turn.state.row.lock, ids);
      turn.state.row.lock = null;
      break;
    case ActionType.WaitForExternalEvent:
    case ActionType.ContinueAsNew:
      break;
  }
  const recorded = { text: describeAction(action), taskId: ids[0] ?? null };
  turn.state.actions.push(recorded);
  turn.changes.newActions.push(recorded);
}

function scheduleActivityAction(turn: Turn, id: number, action: ActivityAction): void {
  const work = { name: action.functionName, input: quotedText(action.input) };
  const retry = retryState(turn, id, action.retryOptions, {
    ...work,
    kind: 'activity',
    instanceId: null,
    version: null,
  });
  scheduleActivity(turn, id, { ...work, kind: 'activity', retry });
}

function scheduleChildAction(turn: Turn, id: number, action: SubOrchestratorAction): void {
  const work = {
    name: action.functionName,
    input: action.input === undefined ? null : JSON.stringify(action.input),
    instanceId: action.instanceId ?? null,
    version: action.version ?? null,
  };
  const retry = retryState(turn, id, action.retryOptions, { ...work, kind: 'subOrchestration' });
  scheduleChild(turn, id, { ...work, retry });
}

function retryState(
  turn: Turn,
  retryId: number,
  options: RetryOptions | undefined,
  work: Pick<RetryState, 'kind' | 'name' | 'input' | 'instanceId' | 'version'>,
): RetryState | null {
  if (options === undefined) return null;
  // Copied: the app's object could change between turns.
  return { ...work, retryId, options: { ...options }, firstAttemptMs: turn.nowMs, failures: 0 };
}

/** Text of a value whose strings the SDK has already JSON-quoted. */
export function quotedText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function scheduleTimerAction(turn: Turn, id: number, action: TimerAction): void {
  const fireAtMs = new Date(action.fireAt).getTime();
  if (action.isCanceled) recordTimer(turn, id, fireAtMs);
  else scheduleTimer(turn, id, fireAtMs, null);
}

function sendOperation(turn: Turn, id: number, action: EntityAction): void {
  const { row } = turn.state;
  const isSignal = action.actionType === ActionType.SignalEntity;
  const message: OperationMessage = {
    kind: 'op',
    op: action.operation,
    signal: isSignal,
    input: action.input === undefined ? null : JSON.stringify(action.input),
    requestId: isSignal ? null : randomUUID(),
    parentId: row.id,
    parentExecution: row.executionId,
  };
  const request = {
    op: message.op,
    ...(isSignal ? { signal: true } : {}),
    ...(message.input === null ? {} : { input: message.input }),
    id: message.requestId ?? randomUUID(),
    parent: row.id,
    parentExecution: row.executionId,
  };
  record(turn, {
    EventType: EventType.EventSent,
    EventId: id,
    InstanceId: action.instanceId,
    Name: 'op',
    Input: JSON.stringify(request),
  });
  turn.changes.entityMessages.push({ entityId: action.instanceId, message });
}

function requestLock(turn: Turn, id: number, action: LockAction): void {
  const { row } = turn.state;
  const entityIds = action.lockSet.map(formatEntityId);
  const first = entityIds[0] ?? '';
  row.lock = { id: action.lockRequestId, entityIds };
  record(turn, {
    EventType: EventType.EventSent,
    EventId: id,
    InstanceId: first,
    Name: 'op',
    Input: JSON.stringify({
      id: action.lockRequestId,
      lockset: action.lockSet,
      pos: 0,
      parent: row.id,
      parentExecution: row.executionId,
    }),
  });
  turn.changes.entityMessages.push({
    entityId: first,
    message: {
      kind: 'lock',
      lockId: action.lockRequestId,
      entityIds,
      position: 0,
      parentId: row.id,
      parentExecution: row.executionId,
    },
  });
}

/** Sends one release per locked entity; `ids` are those of the history entries, in locking order. */
function sendReleases(turn: Turn, lock: HeldLock, ids: readonly number[]): void {
  for (const [index, entityId] of lock.entityIds.entries()) {
    record(turn, {
      EventType: EventType.EventSent,
      EventId: ids[index] ?? -1,
      InstanceId: entityId,
      Name: 'release',
      Input: JSON.stringify({ id: lock.id, parent: turn.state.row.id }),
    });
    turn.changes.entityMessages.push({
      entityId,
      message: { kind: 'release', lockId: lock.id, parentId: turn.state.row.id },
    });
  }
}
