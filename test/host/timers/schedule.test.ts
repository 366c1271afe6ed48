import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  formatLocalTime,
  isSubMinute,
  parseSchedule,
} from '../../../local/host/timers/schedule.ts';

const before = process.env['TZ'];

beforeEach(() => {
  process.env['TZ'] = 'Europe/Berlin';
});

afterEach(() => {
  if (before === undefined) delete process.env['TZ'];
  else process.env['TZ'] = before;
});

function occurrences(schedule: string, after: string, count: number): string[] {
  const parsed = parseSchedule(schedule);
  let at = Date.parse(after);
  return Array.from({ length: count }, () => {
    at = parsed.next(at);
    return new Date(at).toISOString().slice(0, 16);
  });
}

describe('change of the clocks in Berlin', () => {
  test('a named hour inside the gap of spring fires once, shifted', () => {
    expect(occurrences('0 30 2 * * *', '2026-03-28T00:00:00Z', 3)).toEqual([
      '2026-03-28T01:30',
      '2026-03-29T01:30',
      '2026-03-30T00:30',
    ]);
  });

  test('a named hour that occurs twice in autumn fires once', () => {
    expect(occurrences('0 30 2 * * *', '2026-10-24T12:00:00Z', 2)).toEqual([
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ]);
  });

  test('a schedule of every hour keeps its beat in both', () => {
    expect(occurrences('0 0 * * * *', '2026-10-24T22:30:00Z', 4)).toEqual([
      '2026-10-24T23:00',
      '2026-10-25T00:00',
      '2026-10-25T01:00',
      '2026-10-25T02:00',
    ]);
    expect(occurrences('0 */30 * * * *', '2026-03-29T00:15:00Z', 3)).toEqual([
      '2026-03-29T00:30',
      '2026-03-29T01:00',
      '2026-03-29T01:30',
    ]);
  });
});

test('a time span is counted from the last run, whatever the clock on the wall says', () => {
  expect(occurrences('00:45:00', '2026-10-25T00:30:00Z', 2)).toEqual([
    '2026-10-25T01:15',
    '2026-10-25T02:00',
  ]);
  expect(occurrences('1.02:00:00', '2026-01-01T00:00:00Z', 1)).toEqual(['2026-01-02T02:00']);
});

test('what never occurs, takes no time or is no schedule is refused', () => {
  expect(() => parseSchedule('0 0 0 30 2 *')).toThrow(/never occurs/);
  expect(() => parseSchedule('00:00:00')).toThrow(/longer than zero/);
  expect(() => parseSchedule('24:00:00')).toThrow(/5 or 6 fields/);
  expect(() => parseSchedule('')).toThrow(/5 or 6 fields/);
});

test('schedules closer than a minute keep no record', () => {
  expect(isSubMinute(parseSchedule('*/30 * * * * *'), 0)).toBe(true);
  expect(isSubMinute(parseSchedule('0 * * * * *'), 0)).toBe(false);
  expect(isSubMinute(parseSchedule('00:00:59'), 0)).toBe(true);
});

test('times are written with the offset of the zone; never is the smallest DateTime', () => {
  expect(formatLocalTime(Date.parse('2026-07-01T10:00:00Z'))).toBe('2026-07-01T12:00:00+02:00');
  expect(formatLocalTime(Date.parse('2026-01-01T00:00:00Z'))).toBe('2026-01-01T01:00:00+01:00');
  expect(formatLocalTime(0)).toBe('0001-01-01T00:00:00+00:00');
});
