import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../../src/config.ts';
import { decisionSchema, tableFiguresSchema } from '../../../src/maintenance/model.ts';
import type { TableFigures } from '../../../src/maintenance/model.ts';
import { decide, policyOf, staleAfterRows } from '../../../src/maintenance/policy.ts';
import type { Policy } from '../../../src/maintenance/policy.ts';

const NOW = Date.UTC(2026, 5, 1);
const DAY = 24 * 3_600_000;
const MB = 1024 * 1024;

function policy(settings: Readonly<Record<string, string>> = {}): Policy {
  return policyOf(
    loadConfig({
      SHARDS: JSON.stringify([{ name: 'one', host: 'db.invalid', user: 'app', database: 'app' }]),
      AzureWebJobsStorage: 'UseDevelopmentStorage=true',
      ...settings,
    }),
  );
}

/** A table of 200 MB that needs nothing. */
function figures(change: Partial<TableFigures> = {}): TableFigures {
  return tableFiguresSchema.parse({
    schema: 'app',
    table: 'orders',
    engine: 'mysql',
    storageEngine: 'InnoDB',
    rows: 1_000_000,
    statisticsRows: 1_000_000,
    dataBytes: 150 * MB,
    indexBytes: 50 * MB,
    freeBytes: 0,
    pageBytes: 16_384,
    indexes: [],
    changedRows: 0,
    changedRowsFrom: 'counter',
    lastAnalyzedAtMs: NOW - DAY,
    lastRebuiltAtMs: null,
    waste: 0.1,
    wasteFrom: 'baseline',
    hasPrimaryKey: true,
    isRegistered: true,
    histograms: [],
    unknown: [],
    ...change,
  });
}

describe('the rows after which statistics are stale', () => {
  test.each([
    [0, 500],
    [5_000, 500],
    [50_000, 5_000],
    [100_000, 10_000],
    [1_000_000, 31_623],
    [100_000_000, 316_228],
  ])('of %i rows: %i', (rows, limit) => {
    expect(staleAfterRows(rows, { analyzeShare: 0.1, analyzeMinRows: 500 })).toBe(limit);
  });
});

describe('a decision', () => {
  test.each<[string, Partial<TableFigures>, string, string]>([
    ['nothing for what is fine', {}, 'none', 'fine'],
    ['ANALYZE at the limit of changed rows', { changedRows: 31_623 }, 'analyze', 'changed-rows'],
    ['nothing just below it', { changedRows: 31_622 }, 'none', 'fine'],
    ['ANALYZE without statistics', { statisticsRows: null }, 'analyze', 'statistics-missing'],
    [
      'ANALYZE of old statistics when something changed',
      { lastAnalyzedAtMs: NOW - 30 * DAY, changedRows: 1 },
      'analyze',
      'statistics-old',
    ],
    [
      'nothing for old statistics of a table at rest',
      { lastAnalyzedAtMs: NOW - 300 * DAY },
      'none',
      'fine',
    ],
    ['a rebuild in the high band', { waste: 0.4, changedRows: 900_000 }, 'rebuild', 'fragmented'],
    ['nothing in the medium band of a small table', { waste: 0.39 }, 'none', 'fine'],
    [
      'a rebuild in the medium band where it is worth a gigabyte',
      { waste: 0.25, dataBytes: 4_096 * MB },
      'rebuild',
      'wasted-bytes',
    ],
    [
      'no rebuild of a small table',
      { waste: 0.9, dataBytes: 10 * MB, indexBytes: 0 },
      'none',
      'fine',
    ],
    [
      'no second rebuild within a week',
      { waste: 0.9, lastRebuiltAtMs: NOW - 6 * DAY },
      'none',
      'rebuilt-lately',
    ],
    ['nothing for another engine', { storageEngine: 'MyISAM' }, 'none', 'not-innodb'],
    ['nothing for an unknown table', { isRegistered: false, waste: 0.9 }, 'none', 'not-registered'],
    [
      'a histogram that is missing',
      { histograms: [{ column: 'a', updatedAtMs: null }] },
      'histogram',
      'histogram-missing',
    ],
    [
      'a histogram that is old',
      { histograms: [{ column: 'a', updatedAtMs: NOW - 7 * DAY }] },
      'histogram',
      'histogram-old',
    ],
    [
      'no histogram on MariaDB',
      { engine: 'mariadb', histograms: [{ column: 'a', updatedAtMs: null }] },
      'none',
      'no-histograms',
    ],
  ])('is %s', (_, change, action, code) => {
    const decision = decide(figures(change), policy(), NOW);
    expect(decisionSchema.parse(decision)).toMatchObject({ action, code });
    expect(decision.reason).not.toBe('');
    expect(decision.need > 0).toBe(action !== 'none');
  });

  test('grows in need with what is wrong', () => {
    const need = (change: Partial<TableFigures>): number =>
      decide(figures(change), policy(), NOW).need;
    expect(need({ changedRows: 63_246 })).toBeCloseTo(2, 3);
    expect(need({ waste: 0.8 })).toBeCloseTo(2, 3);
    expect(need({ changedRows: 40_000_000_000 })).toBe(1_000);
  });

  test('keeps to the patterns, also when it is forced', () => {
    const noRebuild = policy({ MAINTENANCE_EXCLUDE: 'ord*:rebuild' });
    const aged = figures({ waste: 0.9, changedRows: 500_000 });
    expect(decide(aged, noRebuild, NOW).action).toBe('analyze');
    expect(decide(figures(), noRebuild, NOW, { force: true })).toMatchObject({
      action: 'analyze',
      code: 'forced',
    });
    expect(decide(figures(), policy(), NOW, { force: true }).action).toBe('rebuild');
    const without = policy({ MAINTENANCE_EXCLUDE: 'app.orders' });
    expect(decide(aged, without, NOW, { force: true }).code).toBe('excluded');
    const other = policy({ MAINTENANCE_EXCLUDE: 'other.*' });
    expect(decide(aged, other, NOW).action).toBe('rebuild');
    const stranger = policy({ MAINTENANCE_INCLUDE: 'registered, x_?' });
    const unknown = { ...aged, isRegistered: false };
    expect(decide({ ...unknown, table: 'x_1' }, stranger, NOW).action).toBe('rebuild');
    expect(decide({ ...unknown, table: 'x_12' }, stranger, NOW).code).toBe('not-registered');
  });
});

test.each(['a b', 'orders:drop', 'a.b.c', 'x;y'])('the pattern %s is refused at start', (text) => {
  expect(() => policy({ MAINTENANCE_INCLUDE: text })).toThrow(/MAINTENANCE_INCLUDE/);
});
