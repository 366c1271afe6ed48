import fc from 'fast-check';
import { expect, test } from 'vitest';
import { forecastUnit, type PastUnit } from '../../../src/maintenance/forecast.ts';

const MIB = 1024 * 1024;

function pastOf(table: string, ...durations: readonly number[]): PastUnit[] {
  return durations.map((statementMs, index) => ({
    table,
    action: 'rebuild',
    statementMs,
    bytes: 100 * MIB,
    endedAtMs: index,
  }));
}

const rebuild = (table: string, mib: number) =>
  ({ table, action: 'rebuild', bytes: mib * MIB }) as const;

test('by the median of the table, whatever the outliers, with a margin', () => {
  const past = pastOf('orders', 10_000, 9_000, 600_000, 11_000, 10_000);
  expect(forecastUnit(rebuild('orders', 100), past)).toEqual({ ms: 17_000, from: 'table' });
});

test('in proportion to the size', () => {
  const past = pastOf('orders', 10_000);
  expect(forecastUnit(rebuild('orders', 400), past).ms).toBe(62_000);
  // A small table takes what beginning and end take, not nothing.
  expect(forecastUnit(rebuild('orders', 1), past).ms).toBe(2_000 + 1.5 * 1_600);
});

test('an analysis takes as long whatever the size', () => {
  const past = pastOf('orders', 40).map((entry) => ({ ...entry, action: 'analyze' }) as const);
  const at = (mib: number) =>
    forecastUnit({ table: 'orders', action: 'analyze', bytes: mib * MIB }, past).ms;
  expect(at(1)).toBe(at(100_000));
});

test('by other tables of the shard when there are enough, else by a guess', () => {
  expect(forecastUnit(rebuild('users', 100), pastOf('orders', 1_000, 1_000)).from).toBe('guess');
  const three = pastOf('orders', 1_000, 1_000, 1_000);
  expect(forecastUnit(rebuild('users', 100), three)).toEqual({ ms: 3_500, from: 'shard' });
  expect(forecastUnit(rebuild('users', 400), []).ms).toBe(102_000);
});

test('a server that got slower is believed after some nights', () => {
  const old = pastOf('orders', ...Array.from({ length: 50 }, () => 1_000));
  const lately = pastOf('orders', ...Array.from({ length: 5 }, () => 9_000)).map((entry) => ({
    ...entry,
    endedAtMs: entry.endedAtMs + 1_000,
  }));
  expect(forecastUnit(rebuild('orders', 100), [...old, ...lately]).ms).toBe(15_500);
});

test('never less for more bytes, whatever the past', () => {
  const unit = fc.record({
    table: fc.constantFrom('a', 'b'),
    action: fc.constantFrom('analyze', 'histogram', 'rebuild' as const),
    statementMs: fc.nat(10_000_000),
    bytes: fc.nat(2 ** 40),
    endedAtMs: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(unit), fc.nat(2 ** 40), fc.nat(2 ** 40), (past, one, other) => {
      const at = (bytes: number) =>
        forecastUnit({ table: 'a', action: 'rebuild', bytes }, past as PastUnit[]).ms;
      return at(Math.min(one, other)) <= at(Math.max(one, other));
    }),
  );
});
