import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkCollector, type ChunkRow } from '../../../src/ingestion/chunks.ts';
import type { LaneWork } from '../../../src/ingestion/contracts.ts';
import { planLanes, takeWave } from '../../../src/ingestion/lanes.ts';
import { nextChunkName } from '../../../src/ingestion/write-chunk.ts';
import { byPrimaryKey } from '../../../src/orders/batch-chunk.ts';
import { anOrderRow } from '../../support/batch-orders.ts';

const arrivals = fc.array(
  fc.record({
    shard: fc.nat(4),
    user: fc.integer({ min: 1, max: 50 }),
    order: fc.integer({ min: 1, max: 1_000_000 }),
    given: fc.boolean(),
  }),
  { maxLength: 120 },
);

describe('chunks', () => {
  it('hold every row once, of one shard and one kind of time, sorted, none larger than allowed', async () => {
    await fc.assert(
      fc.asyncProperty(arrivals, fc.integer({ min: 1, max: 9 }), async (items, chunkRows) => {
        const stored: { shard: number; index: number; rows: readonly ChunkRow[] }[] = [];
        const collector = new ChunkCollector(
          {
            store: (shard, index, rows) => {
              stored.push({ shard, index, rows });
              return Promise.resolve();
            },
          },
          chunkRows,
        );
        for (const [line, { shard, user, order, given }] of items.entries()) {
          const row = anOrderRow(String(user), order, { createdAtGiven: given });
          await collector.add(shard, { ...row, line });
        }
        const plan = await collector.finish();
        expect(
          stored.flatMap(({ rows }) => rows.map((row) => row.line)).toSorted(ascending),
        ).toEqual(items.map((_, line) => line));
        for (const { shard, rows } of stored) {
          expect(rows.length).toBeLessThanOrEqual(chunkRows);
          expect(new Set(rows.map((row) => row.createdAtGiven)).size).toBe(1);
          expect([...rows].sort(byPrimaryKey)).toEqual(rows);
          expect(rows.every((row) => items[row.line]?.shard === shard)).toBe(true);
        }
        for (const { shard, chunks } of plan) {
          const indices = stored.filter((chunk) => chunk.shard === shard).map(({ index }) => index);
          expect(indices.toSorted(ascending)).toEqual(Array.from({ length: chunks }, (_, i) => i));
        }
      }),
    );
  });

  it('left over from others are told apart by their names', () => {
    expect(nextChunkName('0/17')).toBe('0/17-r1');
    expect(nextChunkName('0/17-r1')).toBe('0/17-r2');
    expect(nextChunkName('0/17-r9')).toBe('0/17-r10');
  });
});

describe('lanes', () => {
  const shards = fc
    .array(fc.integer({ min: 1, max: 20 }), { maxLength: 12 })
    .map((counts) => counts.map((chunks, shard) => ({ shard, chunks })));
  const limits = fc.record({
    maxChunks: fc.integer({ min: 1, max: 10 }),
    maxChunksPerShard: fc.integer({ min: 1, max: 4 }),
  });

  it('hold every chunk once and never run more than the caps allow', () => {
    fc.assert(
      fc.property(shards, limits, (plan, caps) => {
        const { width, lanes } = planLanes(plan, caps);
        expect(lanes.length * width).toBeLessThanOrEqual(caps.maxChunks);
        expect(width).toBeLessThanOrEqual(caps.maxChunksPerShard);
        const chunks = lanes.flatMap(({ queue }) => {
          const taken: string[] = [];
          let left: readonly LaneWork[] = queue;
          while (left.length > 0) {
            const { wave, rest } = takeWave(left, width);
            expect(wave.length).toBeGreaterThan(0);
            expect(wave.length).toBeLessThanOrEqual(width);
            taken.push(...wave.map((ref) => ref.chunk));
            left = rest;
          }
          return taken;
        });
        const expected = plan.flatMap(({ shard, chunks: count }) =>
          Array.from({ length: count }, (_, index) => `${shard}/${index}`),
        );
        expect(chunks.toSorted()).toEqual(expected.toSorted());
      }),
    );
  });
});

function ascending(a: number, b: number): number {
  return a - b;
}
