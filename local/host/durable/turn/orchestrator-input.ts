import { markPlayed } from './history-events.ts';
import type { Turn } from './turn.ts';

/** Newest replay schema of the SDK (V4); `lock()` needs it. */
const REPLAY_SCHEMA = 3;

/**
 * The constant part of the orchestration trigger's payload.
 *
 * The huge short-timer limit keeps the SDK from splitting long timers: the host waits in chunks
 * itself, so that every timer is one action with one id.
 */
const SETTINGS =
  `"upperSchemaVersion":1,"upperSchemaVersionNew":${REPLAY_SCHEMA},` +
  '"longRunningTimerIntervalDuration":"3.00:00:00","maximumShortTimerDuration":"36500.00:00:00",' +
  '"defaultHttpAsyncRequestSleepTimeMillseconds":30000';

/** Builds the JSON text given to the orchestrator: the whole history, ending with the turn's events. */
export function orchestratorInput(turn: Turn): string {
  const { row, history } = turn.state;
  const events = [...history, ...turn.changes.events].join(',');
  const instance =
    `"input":${row.input ?? 'null'},"instanceId":${JSON.stringify(row.id)},` +
    `"isReplaying":${history.length > 0},` +
    `"parentInstanceId":${JSON.stringify(row.parent?.instanceId ?? null)}`;
  return `{"history":[${events}],${instance},${SETTINGS}}`;
}

/** Takes the turn's events over into the cached history, once the turn is committed. */
export function absorbEvents(turn: Turn): void {
  for (const json of turn.changes.events) turn.state.history.push(markPlayed(json));
}
