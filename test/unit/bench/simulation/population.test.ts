import { describe, expect, test } from 'vitest';
import {
  fillCells,
  hashUsers,
  shareOfBusiest,
  zipfShares,
} from '../../../../bench/simulation/population.ts';
import { loadsOf } from '../../../../bench/simulation/outcome.ts';
import { moduloScheme, START } from '../../../../bench/simulation/schemes.ts';
import { createRandom } from '../../../support/random.ts';

const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);

describe('shares by Zipf’s law', () => {
  test('fall with the rank as the exponent says, and add up to one', () => {
    const shares = zipfShares(1_000, 0.86);
    expect(sum(shares)).toBeCloseTo(1, 12);
    expect((shares[0] as number) / (shares[9] as number)).toBeCloseTo(10 ** 0.86, 9);
    expect(shares).toEqual(shares.toSorted((a, b) => b - a));
  });

  test('are all alike with exponent 0', () => {
    expect(new Set(zipfShares(50, 0))).toEqual(new Set([0.02]));
    expect(shareOfBusiest(zipfShares(50, 0), 0.2)).toBeCloseTo(0.2, 12);
  });
});

describe('cells', () => {
  const users = hashUsers(3_000, createRandom(5));

  test('hold all orders, whoever is the busiest', () => {
    const shares = zipfShares(3_000, 0.9);
    for (const first of [0, 2_999]) {
      const cells = fillCells(users, shares, first);
      for (const kind of [cells.buckets, cells.residues, cells.arcs]) {
        expect(sum(kind)).toBeCloseTo(1, 9);
      }
      expect(Math.max(...cells.buckets)).toBeGreaterThanOrEqual(shares[0] as number);
      expect(cells.buckets[users.buckets[first] as number]).toBeGreaterThanOrEqual(
        shares[0] as number,
      );
    }
  });

  test('are the same for the same seed, and others for another', () => {
    expect(hashUsers(100, createRandom(5)).buckets).toEqual(users.buckets.subarray(0, 100));
    expect(hashUsers(100, createRandom(6)).buckets).not.toEqual(users.buckets.subarray(0, 100));
  });
});

test('orders that are drawn one by one lie where the expected ones lie', () => {
  const random = createRandom();
  const [count, orders] = [2_000, 200_000];
  const users = hashUsers(count, random);
  const shares = zipfShares(count, 0.86);
  const sums: number[] = [];
  for (const share of shares) sums.push((sums.at(-1) ?? 0) + share);
  const drawn = new Float64Array(count);
  for (let order = 0; order < orders; order++) {
    const at = random.next();
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] as number) > at) high = middle;
      else low = middle + 1;
    }
    drawn[low] = (drawn[low] as number) + 1 / orders;
  }
  const loads = (of: Float64Array): readonly number[] =>
    loadsOf(fillCells(users, of, 0).residues, moduloScheme.owners(START), START);
  const [expected, found] = [loads(shares), loads(drawn)];
  // Six standard deviations of the number of orders of a shard: a shard has 3 125 in the mean.
  expected.forEach((load, shard) => {
    const deviation = Math.sqrt((load * START) / orders);
    expect(Math.abs((found[shard] as number) - load), `seed ${random.seed}`).toBeLessThan(
      6 * deviation,
    );
  });
});
