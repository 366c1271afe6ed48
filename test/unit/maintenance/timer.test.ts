import { expect, test } from 'vitest';
import { windowEnd } from '../../../src/maintenance/timer.ts';

const NOW = Date.parse('2026-01-15T12:00:00.000Z');
const HOUR = 3_600_000;

test('a run in time has a whole window', () => {
  const next = '2026-01-16T02:00:00Z';
  expect(windowEnd({ isPastDue: false, scheduleStatus: { next } }, NOW, 3 * HOUR)).toBe(
    NOW + 3 * HOUR,
  );
});

test('a run that is late has what is left of the window of its night, or nothing', () => {
  const late = (next: string) =>
    windowEnd({ isPastDue: true, scheduleStatus: { next } }, NOW, 3 * HOUR) - NOW;
  expect(late('2026-01-15T11:00:00Z')).toBe(2 * HOUR);
  expect(late('2026-01-15T02:00:00Z')).toBe(-7 * HOUR);
});

test('a host that does not say when is believed to be in time', () => {
  expect(windowEnd({ isPastDue: true, scheduleStatus: null }, NOW, HOUR)).toBe(NOW + HOUR);
});
