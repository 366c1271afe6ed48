import { describe, expect, test } from 'vitest';
import {
  coveredBuckets,
  dealLanes,
  planChunks,
  type Coverage,
} from '../../../src/verification/chunks.ts';

describe('the plan', () => {
  test('has every bucket of every shard once, also when the last chunk is shorter', () => {
    for (const size of [32, 100, 1024]) {
      const chunks = planChunks([0, 5], size);
      for (const shard of [0, 5]) {
        const buckets = chunks
          .filter((chunk) => chunk.shard === shard)
          .flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
        expect(buckets).toEqual(Array.from({ length: 1024 }, (_, bucket) => bucket));
      }
    }
  });

  test('keeps a shard in one lane whole, and no more lanes than allowed', () => {
    const chunks = planChunks([0, 1, 2, 3, 4], 512);
    const lanes = dealLanes(chunks, 2);
    expect(lanes.map((lane) => [...new Set(lane.map(({ shard }) => shard))])).toEqual([
      [0, 2, 4],
      [1, 3],
    ]);
    expect(lanes.flat()).toHaveLength(chunks.length);
    expect(dealLanes([], 8)).toEqual([]);
  });
});

describe('the buckets that were seen', () => {
  const chunk = { round: 0, shard: 0, from: 0, to: 9 };
  const piece = (
    owned: Coverage['owned'],
    sums: Coverage['sums'] = [],
    of: Coverage['chunk'] = chunk,
  ): Coverage => ({ chunk: of, owned, sums });

  test('are those that every piece of a chunk saw at one epoch, with the sums of all', () => {
    const covered = coveredBuckets([
      piece(
        [
          [1, 1],
          [2, 1],
          [3, 1],
        ],
        [[1, 2, '30']],
      ),
      piece(
        [
          [1, 1],
          [3, 2],
        ],
        [[1, 1, '12']],
      ),
    ]);
    expect([...covered]).toEqual([[1, { epoch: 1, orders: 3, cents: 42n }]]);
  });

  test('count once, at the later epoch, when two shards had them whole one after the other', () => {
    const covered = coveredBuckets([
      piece([[1, 2]], [[1, 5, '50']], { ...chunk, shard: 1 }),
      piece([[1, 1]], [[1, 4, '40']]),
    ]);
    expect(covered.get(1)).toEqual({ epoch: 2, orders: 5, cents: 50n });
  });
});
