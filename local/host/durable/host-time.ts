import type { Clock } from '../contracts.ts';

/**
 * Wraps a wall clock so that time, in ms since the epoch, never runs backwards within one process.
 *
 * When the wall clock is set back by `d`, the result keeps advancing from the last value seen, `d`
 * ahead of the wall clock from then on. Orchestrations rely on it: the timestamp of a turn must not
 * precede earlier ones, and a pending 1-second timer must not wait an hour because of a clock change.
 */
export function neverBackwards(clock: Clock): Clock {
  let aheadMs = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = clock() + aheadMs;
    if (nowMs < lastMs) {
      aheadMs += lastMs - nowMs;
      return lastMs;
    }
    lastMs = nowMs;
    return nowMs;
  };
}
