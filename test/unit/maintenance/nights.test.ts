import fc from 'fast-check';
import { expect, test } from 'vitest';
import { longestFit } from '../../../src/maintenance/run-queue.ts';
import { newNights, playNight } from '../../support/maintenance/nights.ts';
import type { TestTable } from '../../support/maintenance/tables.ts';

const MIB = 1024 * 1024;
const HOUR = 3_600_000;

/** Rebuilds whose forecast (a guess by size: a quarter of a second per MiB, and 2 s) is a little over what they take. */
function rebuild(shard: number, table: string, mib: number, need = 2): TestTable {
  const takesMs = Math.max(16, mib) * 250;
  return { shard, table, action: 'rebuild', need, bytes: mib * MIB, takesMs };
}
const forecastOf = (mib: number): number => Math.max(16, mib) * 250 + 2_000;

test('a window too short for all: after three nights everything has had its turn', () => {
  const tables = [0, 1, 2].flatMap((shard) =>
    ['orders', 'users', 'sagas', 'steps'].map((table, index) =>
      rebuild(shard, table, 400 + 40 * index, 1 + shard + index),
    ),
  );
  const nights = newNights();
  const windowMs = 500_000;
  const visited = new Set<string>();
  const visitedBy: number[] = [];
  for (let night = 1; night <= 3; night += 1) {
    // Every table is as bad again on each night: nobody may live on the turns of others.
    const { begun, endedAtMs, state } = playNight(nights, tables, { windowMs });
    expect(begun.length).toBeGreaterThan(0);
    expect(endedAtMs).toBeLessThanOrEqual(state.windowEndsAtMs);
    for (const unit of begun) visited.add(unit);
    visitedBy.push(visited.size);
  }
  expect(visitedBy[0]).toBeLessThan(tables.length / 2);
  expect(visitedBy[2]).toBe(tables.length);
});

test('what fits is never starved, whatever else there is', () => {
  const table = fc.record({
    shard: fc.nat(3),
    table: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    mib: fc.integer({ min: 1, max: 2_000 }),
    need: fc.integer({ min: 1, max: 900 }),
  });
  const arrange = fc.record({
    tables: fc.uniqueArray(table, {
      minLength: 1,
      maxLength: 16,
      selector: ({ shard, table: name }) => `${shard}/${name}`,
    }),
    windowMs: fc.integer({ min: 60_000, max: 1_000_000 }),
    shardsAtOnce: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(arrange, ({ tables, windowMs, shardsAtOnce }) => {
      const all = tables.map(({ shard, table: name, mib, need }) =>
        rebuild(shard, name, mib, need),
      );
      const nights = newNights();
      const visited = new Set<string>();
      // Each night serves at least one of those that have waited longest.
      for (let night = 0; night < all.length; night += 1) {
        const { begun } = playNight(nights, all, { windowMs, shardsAtOnce });
        for (const unit of begun) visited.add(unit);
      }
      // Also what never fits has had its statistics renewed.
      expect(visited.size).toBe(all.length);
    }),
    { numRuns: 150 },
  );
});

test('no more than the cap at once, one per shard, and nothing begins that does not fit', () => {
  const size = fc.integer({ min: 1, max: 600 });
  fc.assert(
    fc.property(fc.array(size, { minLength: 1, maxLength: 12 }), (sizes) => {
      const tables = sizes.map((mib, index) => rebuild(index % 4, `t${index}`, mib));
      const windowMs = 200_000;
      const night = playNight(newNights(), tables, { windowMs, shardsAtOnce: 2 });
      const { state, waves, endedAtMs } = night;
      for (const wave of waves) {
        expect(wave.length).toBeLessThanOrEqual(2);
        expect(new Set(wave).size).toBe(wave.length);
      }
      expect(endedAtMs).toBeLessThanOrEqual(state.windowEndsAtMs);
      expect(state.units.every((unit) => unit.state === 'done' || unit.state === 'put-off')).toBe(
        true,
      );
    }),
  );
});

test('a unit that never fits is told, and its statistics are renewed instead, every night', () => {
  const nights = newNights();
  const tables = [rebuild(0, 'orders', 40_000), rebuild(0, 'users', 100)];
  for (let night = 1; night <= 3; night += 1) {
    const { state, plans } = playNight(nights, tables, { windowMs: HOUR });
    const told = plans[0]?.tables.find(({ table }) => table === 'orders');
    expect(told?.neverFits).toMatchObject({ forecastMs: forecastOf(40_000) });
    expect(told?.neverFits?.forecastMs).toBeGreaterThan(longestFit(HOUR));
    expect(told?.decision).toMatchObject({
      action: 'analyze',
      reason: expect.stringContaining('never begun') as string,
    });
    expect(state.units.map(({ table, action, state: at }) => [table, action, at])).toEqual([
      ['orders', 'analyze', 'done'],
      ['users', 'rebuild', 'done'],
    ]);
  }
});

test('a statement that was stopped when its time was up is believed to take longer', () => {
  const nights = newNights();
  const tables = [rebuild(0, 'orders', 1_000)];
  const stopped = () =>
    ({ status: 'failed', code: 'time-up', retry: true, durationMs: 2 * HOUR }) as const;
  playNight(nights, tables, { windowMs: HOUR, outcome: stopped });
  const { plans } = playNight(nights, tables, { windowMs: HOUR });
  expect(plans[0]?.tables[0]).toMatchObject({
    decision: { action: 'analyze' },
    neverFits: { forecastMs: 3 * HOUR },
  });
  const longer = playNight(nights, tables, { windowMs: 4 * HOUR });
  expect(longer.plans[0]?.tables[0]).toMatchObject({ decision: { action: 'rebuild' } });
});

test('what is in the way of a unit delays no other, and it goes first the night after', () => {
  const nights = newNights();
  const tables = [rebuild(0, 'orders', 100, 9), rebuild(0, 'users', 100), rebuild(1, 'sagas', 100)];
  const moving = (unit: string) =>
    unit === '0/orders'
      ? ({ status: 'skipped', code: 'moves-running', retry: true } as const)
      : undefined;
  const first = playNight(nights, tables, { windowMs: HOUR, outcome: moving });
  expect(first.begun).toEqual(['0/orders', '0/users', '1/sagas', '0/orders']);
  expect(first.state.units.find(({ table }) => table === 'orders')).toMatchObject({
    state: 'skipped',
    code: 'moves-running',
    attempts: 2,
  });
  expect(first.state.status).toBe('completed');
  const second = playNight(nights, [...tables.slice(0, 1), rebuild(0, 'users', 100, 99)], {
    windowMs: HOUR,
  });
  expect(second.begun).toEqual(['0/orders', '0/users']);
});

test('a shard that is away is told, others are served, and its tables keep growing older', () => {
  const nights = newNights();
  const tables = [rebuild(0, 'orders', 2_000), rebuild(1, 'orders', 100), rebuild(1, 'users', 100)];
  playNight(nights, [...tables, rebuild(0, 'users', 1_900)], { windowMs: 700_000 });
  const waiting = nights.queues.get(0)?.entries.filter(({ missed }) => missed > 0);
  expect(waiting).toHaveLength(1);
  const { state, begun } = playNight(nights, tables, { windowMs: 700_000, away: [0] });
  expect(state.shards).toMatchObject([{ state: 'away', attempts: 4 }, { state: 'inspected' }]);
  expect([state.status, begun]).toEqual(['completed', ['1/orders', '1/users']]);
  expect(nights.queues.get(0)?.entries.filter(({ missed }) => missed === 2)).toHaveLength(1);
  expect(playNight(nights, tables, { windowMs: 700_000, away: [0, 1] }).state.status).toBe(
    'failed',
  );
});
