import '../../support/seed.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chunkAt, dealLanes, planChunks } from '../../../src/revenue/chunks.ts';
import { BUCKET_COUNT } from '../../../src/sharding/hash.ts';
import { createRandom } from '../../support/random.ts';

test('a plan has each bucket once, at its owner, in chunks of the size asked for', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 1024 }), (seed, size) => {
      const random = createRandom(seed);
      const assignment = Array.from({ length: BUCKET_COUNT }, () => random.below(7));
      const plan = planChunks(assignment, size);
      const seen = plan.flatMap(({ shard, chunks }) =>
        chunks.flatMap((buckets) => {
          expect(buckets.length).toBeLessThanOrEqual(size);
          expect(buckets.every((bucket) => assignment[bucket] === shard)).toBe(true);
          return buckets;
        }),
      );
      expect(seen.toSorted((a, b) => a - b)).toEqual([...assignment.keys()]);
      for (const { chunks } of plan) {
        expect(chunks.slice(0, -1).every((buckets) => buckets.length === size)).toBe(true);
      }
    }),
    { numRuns: 30 },
  );
});

test('lanes have each shard once, and are at most as many as allowed', () => {
  const shards = [0, 1, 2, 3, 4].map((shard) => ({ shard, chunks: shard + 1 }));
  for (const limit of [1, 2, 5, 9]) {
    const lanes = dealLanes(shards, limit);
    expect(lanes).toHaveLength(Math.min(limit, 5));
    expect(lanes.flat().toSorted((a, b) => a.shard - b.shard)).toEqual(shards);
  }
});

test('a lane’s chunks follow one another and end', () => {
  const shards = [
    { shard: 4, chunks: 2 },
    { shard: 5, chunks: 0 },
    { shard: 6, chunks: 1 },
  ];
  expect([0, 1, 2, 3].map((position) => chunkAt(shards, position))).toEqual([
    { shard: 4, chunk: 0 },
    { shard: 4, chunk: 1 },
    { shard: 6, chunk: 0 },
    undefined,
  ]);
});
