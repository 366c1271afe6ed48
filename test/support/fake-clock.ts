import type { Clock } from '../../src/kernel/clock.ts';

interface Sleeper {
  readonly wakeAtMs: number;
  readonly wake: () => void;
}

/** A clock that a test moves. */
export interface FakeClock extends Clock {
  /** Lets `ms` pass: sleepers and timers due by then go on, in order of their time. */
  advance(ms: number): Promise<void>;
  /** Moves only the wall clock, as an operator or a time server does. */
  stepWall(ms: number): void;
  /** As `setTimeout`, on this clock; the returned function cancels. */
  startTimer(ms: number, run: () => void): () => void;
  /** Sleepers and timers that still wait. */
  waiting(): number;
}

export interface FakeClockOptions {
  readonly startMs?: number;
  /** True: a sleep passes its time by itself, at once. For code whose waits are not what is tested. */
  readonly autoSleep?: boolean;
}

export function createFakeClock(options: FakeClockOptions = {}): FakeClock {
  let wallMs = options.startMs ?? Date.UTC(2026, 0, 1);
  let monotonicMs = 1_000;
  let sleepers: Sleeper[] = [];
  const pass = (ms: number): void => {
    wallMs += ms;
    monotonicMs += ms;
  };
  const startTimer = (ms: number, wake: () => void): (() => void) => {
    const sleeper = { wakeAtMs: monotonicMs + ms, wake };
    sleepers.push(sleeper);
    return () => {
      sleepers = sleepers.filter((other) => other !== sleeper);
    };
  };
  return {
    nowMs: () => wallMs,
    monotonicMs: () => monotonicMs,
    startTimer,
    waiting: () => sleepers.length,
    stepWall: (ms) => {
      wallMs += ms;
    },
    sleep: (ms, signal) => {
      if (options.autoSleep === true) {
        pass(ms);
        return settle();
      }
      return new Promise((resolve, reject) => {
        const cancel = startTimer(ms, resolve);
        signal?.addEventListener('abort', () => {
          cancel();
          reject(signal.reason as Error);
        });
      });
    },
    advance: async (ms) => {
      const endMs = monotonicMs + ms;
      await settle();
      for (;;) {
        const due = sleepers
          .filter((sleeper) => sleeper.wakeAtMs <= endMs)
          .toSorted((a, b) => a.wakeAtMs - b.wakeAtMs)[0];
        if (due === undefined) break;
        sleepers = sleepers.filter((other) => other !== due);
        pass(Math.max(0, due.wakeAtMs - monotonicMs));
        due.wake();
        await settle();
      }
      pass(endMs - monotonicMs);
      await settle();
    },
  };
}

/** Lets everything that is ready run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
