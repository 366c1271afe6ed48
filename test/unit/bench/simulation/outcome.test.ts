import { describe, expect, test } from 'vitest';
import { linesOf } from '../../../../bench/simulation/bench.ts';
import {
  type Draw,
  fewestMoved,
  loadsOf,
  movedShare,
  simulateDraw,
  spreadOf,
} from '../../../../bench/simulation/outcome.ts';
import { fillCells, hashUsers, zipfShares } from '../../../../bench/simulation/population.ts';
import { showChanges, showLaws, showSpread } from '../../../../bench/simulation/report.ts';
import { figuresOf } from '../../../../bench/simulation/results.ts';
import { CHANGES, START } from '../../../../bench/simulation/schemes.ts';
import { createRandom } from '../../../support/random.ts';

describe('figures of one scheme', () => {
  const cells = Float64Array.of(0.1, 0.2, 0.3, 0.4);

  test('loads are in parts of the mean', () => {
    const loads = loadsOf(cells, Uint16Array.of(0, 1, 0, 1), 2);
    expect(loads).toEqual([expect.closeTo(0.8), expect.closeTo(1.2)]);
    const { least, most, deviation } = spreadOf(loads);
    expect([least, most, deviation].map((value) => Number(value.toFixed(9)))).toEqual([
      0.8, 1.2, 0.2,
    ]);
  });

  test('a shard without anything counts', () => {
    expect(spreadOf(loadsOf(cells, Uint16Array.of(0, 0, 0, 0), 2))).toEqual({
      least: 0,
      most: 2,
      deviation: 1,
    });
  });

  test('what changes its owner has moved', () => {
    const moved = movedShare(cells, Uint16Array.of(0, 1, 2, 3), Uint16Array.of(0, 1, 3, 2));
    expect(moved).toBeCloseTo(0.7, 12);
  });

  test('the fewest are what those who join get, or the one who leaves has', () => {
    expect(CHANGES.map((shards) => fewestMoved(shards))).toEqual([
      1 / 65,
      8 / 72,
      64 / 128,
      1 / 64,
    ]);
  });
});

describe('a draw', () => {
  const count = 20_000;
  const random = createRandom(11);
  const users = hashUsers(count, random);
  const keys = fillCells(users, zipfShares(count, 0), 0);
  const draw = (name: string, first: number): Draw =>
    simulateDraw({
      users,
      shares: zipfShares(count, 0.5),
      keys,
      first,
      orders: 1_000_000,
      changes: CHANGES,
      name,
    });
  const draws = [draw('a', 0), draw('b', 7_000)];

  test('is the same for the same users, busyness and points', () => {
    expect(draw('a', 0)).toEqual(draws[0]);
  });

  test('has all orders on its shards, busiest first', () => {
    for (const { loads } of draws.flatMap(({ outcomes }) => outcomes)) {
      expect(loads.reduce((sum, load) => sum + load, 0)).toBeCloseTo(START, 6);
      expect(loads).toEqual(loads.toSorted((a, b) => b - a));
    }
  });

  test('tells the schemes apart by what they are known for', () => {
    const [map, modulo, ring, bareRing] = figuresOf(draws);
    const moved = (of: typeof map): number[] =>
      (of?.changes ?? []).map(({ keysMoved }) => keysMoved.median);
    // Modulo moves nearly all, but for the doubling, which its remainders halve as well as any.
    expect(moved(modulo)[0]).toBeGreaterThan(0.97);
    expect(moved(modulo)[2]).toBeCloseTo(0.5, 1);
    for (const scheme of [map, ring]) {
      moved(scheme).forEach((share, change) => {
        const fewest = fewestMoved(CHANGES[change] as number);
        expect(share).toBeGreaterThan(fewest * 0.7);
        expect(share).toBeLessThan(fewest * 1.3);
      });
    }
    // Alike at 64 shards; the rings are known to be less even, the fewer their points.
    expect(map?.deviation.median).toBeLessThan(ring?.deviation.median ?? 0);
    expect(ring?.deviation.median).toBeLessThan(bareRing?.deviation.median ?? 0);
    for (const scheme of [map, modulo, ring, bareRing]) {
      expect(scheme?.loads).toHaveLength(START);
      expect(scheme?.least.most).toBeLessThanOrEqual(1);
      expect(scheme?.most.least).toBeGreaterThanOrEqual(1);
    }
  });

  test('is told in tables without holes', () => {
    const schemes = figuresOf(draws);
    const hottestBucket = { median: 0.01, least: 0.01, most: 0.01 };
    const law = {
      exponent: 0.5,
      busiestFifth: 0.5,
      hottestUser: 0.001,
      hottestBucket,
      draws,
      schemes,
    };
    const rows = [...showSpread(law, 10_000), ...showChanges(law, 10_000), ...showLaws([law])];
    expect(rows).toHaveLength(1 + 4 + 1 + 16 + 1 + 1);
    expect(rows.join('\n')).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('gives lines of the product beside modulo and the good ring', () => {
    const lines = linesOf(draws);
    expect(lines.map(({ limit }) => limit)).toEqual([
      ...Array.from({ length: 3 }, () => 'hash mod N'),
      ...Array.from({ length: 3 }, () => 'ring, 128 points each'),
    ]);
    expect(lines[1]?.ratio.median).toBeLessThan(0.03);
    for (const { ratio, target } of lines) {
      expect(ratio.median).toBeGreaterThan(0);
      expect(target).toBeUndefined();
    }
  });
});
