import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import { initialBucketMap, type BucketMap } from '../../../src/sharding/bucket-map.ts';
import { BUCKET_COUNT } from '../../../src/sharding/hash.ts';
import { createRandom } from '../../support/random.ts';
import { planRebalance, type RebalancePlan } from '../../../src/sharding/rebalance-plan.ts';

const initial = (shards: number): BucketMap =>
  initialBucketMap({
    clusterId: 'c',
    shardNames: Array.from({ length: shards }, (_, id) => `s${id}`),
    updatedAt: '2026-01-01T00:00:00.000Z',
  });

const equal = (...ids: number[]): ReadonlyMap<ShardId, number> =>
  new Map(ids.map((id) => [id as ShardId, 1]));

function apply(map: BucketMap, plan: RebalancePlan): number[] {
  const assignment = [...map.assignment];
  for (const { bucket, from, to } of plan.moves) {
    expect(assignment[bucket]).toBe(from);
    assignment[bucket] = to;
  }
  return assignment;
}

const counts = (assignment: readonly number[]): Map<number, number> => {
  const result = new Map<number, number>();
  for (const owner of assignment) result.set(owner, (result.get(owner) ?? 0) + 1);
  return result;
};

describe('planRebalance', () => {
  it.each([1, 2, 3, 4, 7, 15, 63])('moves 1/(N+1) of the buckets when a shard joins %i', (n) => {
    const map = initial(n);
    const plan = planRebalance(map, {
      weights: equal(...Array.from({ length: n + 1 }, (_, i) => i)),
    });
    expect(plan.moves).toHaveLength(Math.floor(BUCKET_COUNT / (n + 1)));
    expect(plan.moves.every(({ to }) => to === n)).toBe(true);
  });

  it('moves nothing when all is even', () => {
    expect(planRebalance(initial(3), { weights: equal(0, 1, 2) }).moves).toEqual([]);
  });

  it('empties a shard that is left out, evenly over the others', () => {
    const map = initial(4);
    const plan = planRebalance(map, { weights: equal(0, 1, 2) });
    expect(plan.moves).toHaveLength(256);
    expect([...counts(apply(map, plan)).values()].toSorted((a, b) => a - b)).toEqual([
      341, 341, 342,
    ]);
  });

  it('spreads what runs together over sources', () => {
    const plan = planRebalance(initial(3), { weights: equal(0, 1, 2, 3) });
    const first = plan.moves.slice(0, 30).map(({ from }) => from);
    expect(counts(first)).toEqual(
      new Map([
        [0, 10],
        [1, 10],
        [2, 10],
      ]),
    );
  });

  it('spreads over targets when two shards join', () => {
    const plan = planRebalance(initial(2), { weights: equal(0, 1, 2, 3) });
    const first = plan.moves.slice(0, 20).map(({ to }) => to);
    expect(counts(first)).toEqual(
      new Map([
        [2, 10],
        [3, 10],
      ]),
    );
  });

  it('moves buckets of average size', () => {
    const map = initial(1);
    const sizes = new Map(map.assignment.map((_, bucket) => [bucket as BucketId, bucket]));
    const plan = planRebalance(map, { weights: equal(0, 1), sizes });
    const moved = plan.moves.reduce((sum, { bucket }) => sum + bucket, 0);
    const all = (BUCKET_COUNT * (BUCKET_COUNT - 1)) / 2;
    expect(Math.abs(moved / all - 0.5)).toBeLessThan(0.002);
  });

  it('moves half of the rows when shards double: neither the larger half of each nor the smaller', () => {
    const random = createRandom();
    const map = initial(64);
    const sizes = new Map(
      map.assignment.map((_, bucket) => [bucket as BucketId, random.below(1_000_000)]),
    );
    const weights = equal(...Array.from({ length: 128 }, (_, shard) => shard));
    const { moves } = planRebalance(map, { weights, sizes });
    const moved = moves.reduce((sum, { bucket }) => sum + (sizes.get(bucket) ?? 0), 0);
    const all = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    expect(moves).toHaveLength(BUCKET_COUNT / 2);
    // Larger halves would make it 0.53.
    expect(Math.abs(moved / all - 0.5), `seed ${random.seed}`).toBeLessThan(0.015);
  });

  it('has a hash that changes with the map and the moves', () => {
    const map = initial(2);
    const plan = planRebalance(map, { weights: equal(0, 1, 2) });
    const again = planRebalance(map, { weights: equal(0, 1, 2) });
    const newer = planRebalance({ ...map, version: 2 }, { weights: equal(0, 1, 2) });
    const less = planRebalance(map, { weights: equal(0, 1, 2), maxBuckets: 5 });
    expect(again).toEqual(plan);
    expect(new Set([plan.planHash, newer.planHash, less.planHash]).size).toBe(3);
    expect(less.moves).toEqual(plan.moves.slice(0, 5));
  });

  it('reaches the shares with the fewest moves, from any assignment to any weights', () => {
    const shard = fc.integer({ min: 0, max: 9 });
    const input = fc.record({
      assignment: fc.array(shard, { minLength: BUCKET_COUNT, maxLength: BUCKET_COUNT }),
      weights: fc.uniqueArray(fc.tuple(shard, fc.integer({ min: 1, max: 8 })), {
        minLength: 1,
        selector: ([id]) => id,
      }),
    });
    fc.assert(
      fc.property(input, ({ assignment, weights }) => {
        const map = { ...initial(10), assignment };
        const goal = new Map(weights.map(([id, weight]) => [id as ShardId, weight]));
        const plan = planRebalance(map, { weights: goal });
        const before = counts(assignment);
        const after = counts(apply(map, plan));
        const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
        for (const id of after.keys()) expect(goal.has(id as ShardId)).toBe(true);
        for (const [id, weight] of weights) {
          const exact = (BUCKET_COUNT * weight) / total;
          const has = after.get(id) ?? 0;
          expect(has >= Math.floor(exact) && has <= Math.ceil(exact)).toBe(true);
        }
        // No bucket moves twice, and no shard both gives and gets.
        expect(new Set(plan.moves.map(({ bucket }) => bucket)).size).toBe(plan.moves.length);
        const sources = new Set(plan.moves.map(({ from }) => from));
        expect(plan.moves.some(({ to }) => sources.has(to))).toBe(false);
        const least = [...before].reduce(
          (sum, [id, has]) => sum + Math.max(0, has - (after.get(id) ?? 0)),
          0,
        );
        expect(plan.moves).toHaveLength(least);
      }),
      { numRuns: 60 },
    );
  });
});
