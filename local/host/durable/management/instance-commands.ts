import type { ManagementRequest, ManagementResponse } from '../../contracts.ts';
import { postMessage } from '../instances/post-message.ts';
import { rewindInstance } from '../instances/rewind-instance.ts';
import { EventType, type ControlEvent } from '../turn/history-events.ts';
import { isTerminal } from '../turn/turn.ts';
import type { ManagementContext } from './context.ts';
import { ACCEPTED, isJsonOrEmpty, jsonResponse, refusal } from './responses.ts';

const CONTROL_EVENTS = {
  terminate: EventType.ExecutionTerminated,
  suspend: EventType.ExecutionSuspended,
  resume: EventType.ExecutionResumed,
} as const;

/** A command that changes the state of an instance from outside. */
export type ControlCommand = keyof typeof CONTROL_EVENTS;

/** Whether a path segment (lower-case) names a control command. */
export function isControlCommand(name: string): name is ControlCommand {
  return name in CONTROL_EVENTS;
}

/** `POST /instances/{id}/terminate|suspend|resume?reason=`: takes effect before any waiting event. */
export function controlInstance(
  context: ManagementContext,
  id: string,
  command: ControlCommand,
  request: ManagementRequest,
): ManagementResponse {
  const refused = refuseUnlessRunning(context, id);
  if (refused !== null) return refused;
  const reason = request.query.get('reason') ?? '';
  const event: ControlEvent = {
    EventType: CONTROL_EVENTS[command],
    EventId: -1,
    Input: reason,
    Reason: reason,
  };
  const { engine } = context;
  engine.commit((wakes) =>
    postMessage(engine, wakes, { instanceId: id, executionId: null, kind: 'control', event }),
  );
  return ACCEPTED;
}

/** `POST /instances/{id}/raiseEvent/{name}`: kept until the orchestration waits for it. */
export function raiseEvent(
  context: ManagementContext,
  id: string,
  name: string,
  request: ManagementRequest,
): ManagementResponse {
  const refused = refuseUnlessRunning(context, id);
  if (refused !== null) return refused;
  if (!isJsonOrEmpty(request.body)) return refusal(400, 'The event must be JSON or empty.');
  const { engine } = context;
  engine.commit((wakes) =>
    postMessage(engine, wakes, {
      instanceId: id,
      executionId: null,
      kind: 'event',
      event: {
        EventType: EventType.EventRaised,
        EventId: -1,
        Name: name,
        Input: request.body === '' ? null : request.body,
      },
    }),
  );
  return ACCEPTED;
}

/** `POST /instances/{id}/rewind?reason=`: failed instances only. */
export function rewind(
  { engine }: ManagementContext,
  id: string,
  request: ManagementRequest,
): ManagementResponse {
  const row = engine.instances.get(id);
  if (row === null) return refusal(404, `No instance with ID '${id}' found.`);
  if (row.status === 'Completed' || row.status === 'Terminated') {
    return refusal(410, `The instance is ${row.status}.`);
  }
  if (row.status !== 'Failed') {
    return refusal(412, `Only failed instances can be rewound; this one is ${row.status}.`);
  }
  const reason = request.query.get('reason') ?? '';
  const done = engine.commit((wakes) => rewindInstance(engine, wakes, row, reason));
  if (done) return ACCEPTED;
  return refusal(
    412,
    'This failure cannot be rewound: it did not come from a task without retries that failed in the last turn, ' +
      'or the orchestrator scheduled more work after it. Start the orchestration again instead.',
  );
}

/** `DELETE /instances/{id}`: removes an instance that has ended. */
export function purgeInstance({ engine }: ManagementContext, id: string): ManagementResponse {
  const row = engine.instances.get(id);
  if (row === null) return refusal(404, `No instance with ID '${id}' found.`);
  if (!isTerminal(row.status)) return jsonResponse(200, { instancesDeleted: 0 });
  engine.commit(() => engine.instances.remove(id));
  engine.cache.evict(id);
  return jsonResponse(200, { instancesDeleted: 1 });
}

function refuseUnlessRunning({ engine }: ManagementContext, id: string): ManagementResponse | null {
  const row = engine.instances.get(id);
  if (row === null) return refusal(404, `No instance with ID '${id}' found.`);
  return isTerminal(row.status) ? refusal(410, `The instance is ${row.status}.`) : null;
}
