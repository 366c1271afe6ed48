import type { Engine } from './engine.ts';
import { postMessage } from './instances/post-message.ts';
import { EventType } from './turn/history-events.ts';

/**
 * Longest single wait. `setTimeout` cannot express more than 24.8 days; waking every minute also
 * notices that the machine slept or its clock was set forward.
 */
const MAX_WAIT_MS = 60_000;

/** Most timers fired in one transaction. */
const MAX_BATCH = 500;

/** Pause after an error of the store, such as a full disk. */
const ERROR_PAUSE_MS = 1000;

/** Fires the durable timers; they live in the store, only the next wake-up is in memory. */
export interface TimerService {
  /** A timer due at `atMs` has been added. */
  notice(atMs: number): void;
  /** Takes up the timers in the store. */
  start(): void;
  stop(): void;
}

/** Creates the service, stopped. */
export function createTimerService(engine: Engine): TimerService {
  let handle: NodeJS.Timeout | undefined;
  let wakeAtMs = Number.POSITIVE_INFINITY;
  let running = false;

  function onTime(): void {
    wakeAtMs = Number.POSITIVE_INFINITY;
    if (!running) return;
    try {
      fireDue(engine);
      const nextMs = engine.work.nextTimerMs();
      if (nextMs !== null) arm(nextMs);
    } catch (error) {
      engine.logger.log('error', 'durable.timers_not_fired', { error });
      arm(engine.clock() + ERROR_PAUSE_MS);
    }
  }

  function arm(atMs: number): void {
    if (!running || atMs >= wakeAtMs) return;
    clearTimeout(handle);
    wakeAtMs = atMs;
    const waitMs = Math.min(Math.max(atMs - engine.clock(), 0), MAX_WAIT_MS);
    handle = setTimeout(onTime, waitMs);
  }

  return {
    notice: arm,
    start() {
      running = true;
      onTime();
    },
    stop() {
      running = false;
      clearTimeout(handle);
    },
  };
}

/** Moves the timers that are due from the store into the inboxes of their orchestrations. */
function fireDue(engine: Engine): void {
  const due = engine.work.dueTimers(engine.clock(), MAX_BATCH);
  if (due.length === 0) return;
  engine.commit((wakes) => {
    for (const { instanceId, executionId, taskId, fireAtMs } of due) {
      engine.work.removeTimer(instanceId, taskId);
      postMessage(engine, wakes, {
        instanceId,
        executionId,
        kind: 'completion',
        event: {
          EventType: EventType.TimerFired,
          EventId: -1,
          TimerId: taskId,
          FireAt: new Date(fireAtMs).toISOString(),
        },
      });
    }
  });
}
