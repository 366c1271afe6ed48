import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  fromSqlDatetime,
  parseTimestamp,
  timestampOf,
  toSqlDatetime,
} from '../../../src/kernel/time.ts';

describe('parseTimestamp', () => {
  test.each([
    ['2026-01-31T09:30:00.000Z', '2026-01-31T09:30:00.000Z'],
    ['2026-01-31T09:30:00Z', '2026-01-31T09:30:00.000Z'],
    ['2026-01-31T09:30:00.0000Z', '2026-01-31T09:30:00.000Z'],
    ['2026-01-31t09:30:00z', '2026-01-31T09:30:00.000Z'],
    ['2026-01-31T09:30:00.5Z', '2026-01-31T09:30:00.500Z'],
    ['2026-01-31T09:30:00.123456789Z', '2026-01-31T09:30:00.123Z'],
    ['2026-01-31T09:30:00.120+02:00', '2026-01-31T07:30:00.120Z'],
    ['2024-02-29T23:59:59-00:30', '2024-03-01T00:29:59.000Z'],
  ])('%s is %s', (input, expected) => {
    expect(parseTimestamp(input)).toBe(expected);
  });

  test.each([
    '2026-02-29T00:00:00Z',
    '2026-02-29T00:00:00.000Z',
    '2026-01-01T24:00:00.000Z',
    '2026-01-01 00:00:00.000Z',
    '1969-12-31T23:59:59.999Z',
    '+12026-01-31T09:30:00.00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01 00:00:00Z',
    '2026-01-01T00:00:00',
    '2026-01-01',
    '2026-01-01T00:00:00+99:00',
    '1969-12-31T23:59:59Z',
    '1970-01-01T00:30:00+01:00',
    'now',
    '',
    0,
    null,
  ])('refuses %s', (input) => {
    expect(parseTimestamp(input)).toBeUndefined();
  });
});

test('a timestamp survives the way to MySQL and back in both of its protocols', () => {
  const instants = fc.integer({ min: 0, max: 253_402_300_799_999 });
  fc.assert(
    fc.property(instants, (epochMs) => {
      const timestamp = timestampOf(epochMs);
      if (timestamp === undefined) throw new Error('in range');
      const text = toSqlDatetime(timestamp);
      expect(fromSqlDatetime(text)).toBe(timestamp);
      // The binary protocol leaves out a zero fraction.
      expect(fromSqlDatetime(text.replace(/\.000$/, ''))).toBe(timestamp);
    }),
  );
});
