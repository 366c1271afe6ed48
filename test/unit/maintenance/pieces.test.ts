import { describe, expect, test } from 'vitest';
import { DatabaseError } from '../../../src/database/database-error.ts';
import { redundant, unusedOf } from '../../../src/maintenance/advice.ts';
import type { IndexShape } from '../../../src/maintenance/advice.ts';
import { wasteOf } from '../../../src/maintenance/figures.ts';
import { nextBaseline } from '../../../src/maintenance/kept.ts';
import type { IndexFigures } from '../../../src/maintenance/model.ts';
import { failureOf, ReportedFailure } from '../../../src/maintenance/unit-errors.ts';

/** The states of one table of 300 000 rows, as measured on both engines (docs/maintenance.md). */
describe('waste', () => {
  const index = (change: Partial<IndexFigures>): IndexFigures => ({
    name: 'PRIMARY',
    pages: 929,
    leafPages: 899,
    rowsPerPage: 323,
    baselineRowsPerPage: 323,
    ...change,
  });

  test.each<[string, Partial<IndexFigures>, number, number]>([
    ['loaded', {}, 300_000, 0],
    ['every third row deleted', {}, 200_000, 0.33],
    ['half deleted, pages merged', { pages: 913, leafPages: 450 }, 150_000, 0.49],
    ['rebuilt', { pages: 353, leafPages: 300, baselineRowsPerPage: 283 }, 100_000, 0],
    [
      'half deleted, no baseline',
      { pages: 913, leafPages: 450, baselineRowsPerPage: null },
      150_000,
      0.42,
    ],
    ['thin pages, no baseline: not seen', { baselineRowsPerPage: null }, 200_000, 0],
  ])('%s', (_, change, rows, waste) => {
    expect(wasteOf([index(change)], rows).waste).toBeCloseTo(waste, 2);
  });

  test('of less than an extent is not told', () => {
    expect(wasteOf([index({ pages: 63 })], 1)).toEqual({ waste: null, wasteFrom: 'unknown' });
  });

  test('is measured by the best fill seen, and anew after a rebuild', () => {
    expect(nextBaseline([index({ rowsPerPage: 200 })], false)).toEqual({ PRIMARY: 323 });
    expect(nextBaseline([index({ rowsPerPage: 400 })], false)).toEqual({ PRIMARY: 400 });
    expect(nextBaseline([index({ rowsPerPage: 200 })], true)).toEqual({ PRIMARY: 200 });
    expect(nextBaseline([index({ pages: 10 })], true)).toBeNull();
  });
});

describe('an error of a statement', () => {
  const error = (errno: number, message = 'as the server says'): DatabaseError =>
    DatabaseError.from(Object.assign(new Error(message), { errno }), 'statement') as DatabaseError;

  test.each([
    [1205, 'skipped', 'metadata-lock', true],
    [1213, 'skipped', 'metadata-lock', true],
    [1317, 'failed', 'killed', true],
    [1969, 'failed', 'killed', true],
    [1290, 'skipped', 'read-only', true],
    [1836, 'skipped', 'read-only', true],
    [1114, 'failed', 'disk-full', true],
    [1021, 'failed', 'disk-full', true],
    [1878, 'failed', 'disk-full', true],
    [1846, 'skipped', 'not-supported', false],
    [1142, 'skipped', 'not-permitted', false],
    [1146, 'skipped', 'table-gone', false],
    [3169, 'failed', 'connection-lost', true],
    [1030, 'failed', 'refused', true],
  ])('%i: %s, %s', (errno, status, code, retry) => {
    expect(failureOf(error(errno), { ended: null })).toMatchObject({ status, code, retry });
  });

  test('1030 with the operating system’s 28 is a full disk', () => {
    const full = error(1030, "Got error 28 'No space left on device' from InnoDB");
    expect(failureOf(full, { ended: null })?.code).toBe('disk-full');
  });

  test('after its own watcher ended it, it says so', () => {
    expect(failureOf(error(1317), { ended: 'blocked-others' })?.code).toBe('blocked-others');
    expect(failureOf(error(1317), { ended: 'time-up' })?.code).toBe('time-up');
  });

  test('in a row of ANALYZE is one as well; what is no error of the database is passed on', () => {
    expect(failureOf(new ReportedFailure('no'), { ended: null })?.code).toBe('refused');
    expect(failureOf(new Error('a bug'), { ended: null })).toBeUndefined();
  });
});

describe('advice', () => {
  const index = (name: string, columns: string[], isUnique = false): IndexShape => ({
    table: 't',
    name,
    columns,
    isUnique,
  });

  test('calls an index redundant when another begins with it, of two equal ones the later', () => {
    const indexes = [
      index('PRIMARY', ['a', 'b'], true),
      index('by_a', ['a']),
      index('by_c', ['c', 'd']),
      index('by_c2', ['c', 'd']),
      index('only_c', ['c'], true),
      index('by_d', ['d', 'c']),
      index('by_prefix', ['c(10)']),
    ];
    expect(redundant(indexes).map((advice) => advice.index)).toEqual(['by_a', 'by_c2']);
  });

  test('calls unused what was counted as such, and enforces nothing', () => {
    const indexes = [
      index('u', ['a'], true),
      index('i', ['b']),
      index('j', ['c']),
      index('k', ['d']),
    ];
    const uses = new Map([
      ['t.u', 0],
      ['t.i', 0],
      ['t.j', 3],
    ]);
    expect(unusedOf(indexes, uses, 8 * 86_400).map((advice) => advice.index)).toEqual(['i']);
  });
});
