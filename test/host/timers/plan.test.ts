import { describe, expect, test } from 'vitest';
import { parseSchedule } from '../../../local/host/timers/schedule.ts';
import { planTimerStart, recordAfterRun } from '../../../local/host/timers/listener.ts';

const HOUR = 3_600_000;
const NOON = Date.parse('2026-05-05T12:00:00Z');
const hourly = parseSchedule('0 0 * * * *');
const stored = { lastMs: NOON, nextMs: NOON + HOUR, lastUpdatedMs: NOON };

function plan(
  nowMs: number,
  options: { record?: typeof stored; schedule?: string; onStart?: boolean } = {},
) {
  return planTimerStart({
    schedule: options.schedule === undefined ? hourly : parseSchedule(options.schedule),
    stored: options.record ?? stored,
    nowMs,
    runOnStartup: options.onStart ?? false,
  });
}

describe('at start', () => {
  test('a first start waits for the next occurrence, or runs when asked to', () => {
    const first = { schedule: hourly, stored: undefined, nowMs: NOON + 1000 };
    expect(planTimerStart({ ...first, runOnStartup: false })).toEqual({
      record: { lastMs: 0, nextMs: NOON + HOUR, lastUpdatedMs: NOON + 1000 },
      runNow: 'no',
    });
    expect(planTimerStart({ ...first, runOnStartup: true }).runNow).toBe('startup');
  });

  test('an occurrence missed while the host was down is past due', () => {
    expect(plan(NOON + 5 * HOUR)).toEqual({ record: stored, runNow: 'past-due' });
    expect(plan(NOON + HOUR).runNow).toBe('past-due');
    expect(plan(NOON + HOUR - 1).runNow).toBe('no');
  });

  test('a changed schedule is taken up without being past due', () => {
    const soon = plan(NOON + 60_000, { schedule: '0 30 * * * *' });
    expect(soon).toEqual({
      record: { lastMs: NOON, nextMs: NOON + HOUR / 2, lastUpdatedMs: NOON },
      runNow: 'no',
    });
    const late = plan(NOON + 5 * HOUR, { schedule: '0 30 * * * *' });
    expect(late.record.nextMs).toBe(NOON + 5.5 * HOUR);
    expect(late.runNow).toBe('no');
  });

  test('a record from a clock far ahead is dropped instead of waiting for that time', () => {
    const back = plan(NOON - 72 * HOUR);
    expect(back.record.nextMs).toBe(NOON - 71 * HOUR);
    expect(back.runNow).toBe('no');
    expect(plan(NOON - 60_000).record).toEqual(stored);
  });
});

describe('after a run', () => {
  const run = (nowMs: number) =>
    recordAfterRun(hourly, { startedMs: NOON, dueMs: NOON, nowMs }).nextMs;

  test('occurrences that passed meanwhile are skipped, never run one upon the other', () => {
    expect(run(NOON + 20)).toBe(NOON + HOUR);
    expect(run(NOON + 2.5 * HOUR)).toBe(NOON + 3 * HOUR);
  });

  test('a clock set back a little never repeats the occurrence; far back begins anew', () => {
    expect(run(NOON - 5 * 60_000)).toBe(NOON + HOUR);
    expect(run(NOON - 3.5 * HOUR)).toBe(NOON - 3 * HOUR);
  });
});
