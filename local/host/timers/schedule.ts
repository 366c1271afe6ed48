import { parseTimeSpan } from '../app/time-span.ts';
import { nextWallTime, parseNCrontab, type NCrontab } from './ncrontab.ts';

/** When a timer function is due. */
export interface Schedule {
  /** The first occurrence strictly after `afterMs` (epoch milliseconds). */
  next(afterMs: number): number;
}

/** Minutes east of UTC are how this host's zone is known; JavaScript gives minutes west. */
function offsetMs(instantMs: number): number {
  return -new Date(instantMs).getTimezoneOffset() * 60_000;
}

/** The instant of a wall-clock time: the first of two in autumn; shifted forward by the gap in spring. */
function instantOf(wallMs: number): number {
  const wall = new Date(wallMs);
  return new Date(
    wall.getUTCFullYear(),
    wall.getUTCMonth(),
    wall.getUTCDate(),
    wall.getUTCHours(),
    wall.getUTCMinutes(),
    wall.getUTCSeconds(),
  ).getTime();
}

/** The first instant in `(from, to]` with another offset than `from`. */
function transitionBetween(from: number, to: number): number {
  let [low, high] = [from, to];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetMs(middle) === offsetMs(from)) low = middle;
    else high = middle;
  }
  return high;
}

/** Schedules that name hours run once per named time, also when clocks are set back. */
function nextFixed(cron: NCrontab, afterMs: number): number | undefined {
  let wall = nextWallTime(cron, afterMs + offsetMs(afterMs));
  while (wall !== undefined && instantOf(wall) <= afterMs) wall = nextWallTime(cron, wall);
  return wall === undefined ? undefined : instantOf(wall);
}

/** Schedules of every hour keep their beat through a change of the clocks. */
function nextInterval(cron: NCrontab, afterMs: number): number | undefined {
  let base = afterMs;
  for (;;) {
    const offset = offsetMs(base);
    const wall = nextWallTime(cron, base + offset);
    if (wall === undefined) return undefined;
    const found = wall - offset;
    if (offsetMs(found) === offset) return found;
    const transition = transitionBetween(base, found);
    const shifted = nextWallTime(cron, transition - 1000 + offsetMs(transition));
    if (shifted === undefined) return undefined;
    const candidate = shifted - offsetMs(transition);
    if (offsetMs(candidate) === offsetMs(transition)) return candidate;
    base = transition;
  }
}

function cronSchedule(expression: string): Schedule {
  const cron = parseNCrontab(expression);
  const search = cron.hours.size === 24 ? nextInterval : nextFixed;
  const schedule: Schedule = {
    next(afterMs) {
      const found = search(cron, afterMs);
      if (found === undefined) throw new Error('it never occurs');
      return found;
    },
  };
  schedule.next(0);
  return schedule;
}

/**
 * Parses a timer's schedule: NCRONTAB in the zone of this process, or a TimeSpan between two runs.
 * Throws a plain `Error` that says what is wrong; the caller names the function.
 */
export function parseSchedule(text: string): Schedule {
  const span = parseTimeSpan(text);
  if (span === undefined) return cronSchedule(text);
  if (span <= 0) throw new Error('a time span must be longer than zero');
  return { next: (afterMs) => afterMs + span };
}

/** Whether occurrences are closer than a minute somewhere in the next few; such timers keep no record. */
export function isSubMinute(schedule: Schedule, nowMs: number): boolean {
  let previous = schedule.next(nowMs);
  for (let count = 0; count < 5; count += 1) {
    const next = schedule.next(previous);
    if (next - previous < 60_000) return true;
    previous = next;
  }
  return false;
}

/** .NET's round-trip format with the zone's offset, without fractions: `2026-01-01T00:00:00+00:00`. */
export function formatLocalTime(instantMs: number): string {
  // Zero stands for "never", which .NET writes as the smallest DateTime.
  if (instantMs === 0) return '0001-01-01T00:00:00+00:00';
  const offset = offsetMs(instantMs);
  const minutes = Math.abs(offset) / 60_000;
  const pad = (value: number): string => String(Math.trunc(value)).padStart(2, '0');
  const sign = offset < 0 ? '-' : '+';
  const wall = new Date(instantMs + offset).toISOString().slice(0, 19);
  return `${wall}${sign}${pad(minutes / 60)}:${pad(minutes % 60)}`;
}
