import { EventType } from './history-events.ts';
import type { RetryState } from './retry-policy.ts';
import { openTask, record, type Turn } from './turn.ts';

/** Name under which `callHttp` appears in histories, as in Azure. */
export const HTTP_ACTIVITY = 'BuiltIn::HttpActivity';

/** Schedules an activity (or the built-in HTTP activity) under `id`. */
export function scheduleActivity(
  turn: Turn,
  id: number,
  work: {
    readonly kind: 'activity' | 'http';
    readonly name: string;
    readonly input: string | null;
    readonly retry: RetryState | null;
  },
): void {
  record(turn, {
    EventType: EventType.TaskScheduled,
    EventId: id,
    Name: work.name,
    Version: null,
    Input: `[${work.input ?? 'null'}]`,
  });
  openTask(turn, id, { kind: 'activity', retry: work.retry });
  turn.changes.activities.push({ taskId: id, kind: work.kind, name: work.name, input: work.input });
}

/** Schedules a sub-orchestration under `id`; without an instance id it becomes `<executionId>:<id>`. */
export function scheduleChild(
  turn: Turn,
  id: number,
  work: {
    readonly name: string;
    readonly instanceId: string | null;
    readonly version: string | null;
    readonly input: string | null;
    readonly retry: RetryState | null;
  },
): void {
  const instanceId = work.instanceId ?? `${turn.state.row.executionId}:${id}`;
  record(turn, {
    EventType: EventType.SubOrchestrationInstanceCreated,
    EventId: id,
    Name: work.name,
    InstanceId: instanceId,
    Input: work.input,
    Version: work.version,
  });
  openTask(turn, id, { kind: 'subOrchestration', retry: work.retry });
  const { name, version, input } = work;
  turn.changes.children.push({ taskId: id, instanceId, name, version, input });
}

/** Schedules a durable timer under `id`. */
export function scheduleTimer(
  turn: Turn,
  id: number,
  fireAtMs: number,
  retry: RetryState | null,
): void {
  recordTimer(turn, id, fireAtMs);
  openTask(turn, id, { kind: 'timer', retry });
  turn.changes.timers.push({ taskId: id, fireAtMs });
}

/** Writes the history entry of a timer without arming it. */
export function recordTimer(turn: Turn, id: number, fireAtMs: number): void {
  record(turn, {
    EventType: EventType.TimerCreated,
    EventId: id,
    FireAt: new Date(fireAtMs).toISOString(),
  });
}

/** Schedules the next attempt of a task with retries under `id`. */
export function scheduleAttempt(turn: Turn, id: number, retry: RetryState): void {
  const { name, input } = retry;
  if (retry.kind === 'activity') {
    scheduleActivity(turn, id, { kind: 'activity', name, input, retry });
  } else {
    const { instanceId, version } = retry;
    scheduleChild(turn, id, { name, instanceId, version, input, retry });
  }
}
