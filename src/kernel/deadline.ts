import type { Clock } from './clock.ts';

/** One time limit for all the steps of a piece of work. */
export interface Deadline {
  /** Milliseconds that are left, at least 1: a step that begins too late fails by its own limit. */
  remainingMs(): number;
}

export function startDeadline(clock: Clock, totalMs: number): Deadline {
  const endMs = clock.monotonicMs() + totalMs;
  return { remainingMs: () => Math.max(1, Math.ceil(endMs - clock.monotonicMs())) };
}
