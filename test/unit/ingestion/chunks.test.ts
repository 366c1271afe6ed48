import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkCollector } from '../../../src/ingestion/chunk-collector.ts';
import { decodeChunk, encodeChunk, type ChunkRow } from '../../../src/ingestion/chunk-format.ts';
import { planLanes, segmentWork, takeNext } from '../../../src/ingestion/lanes.ts';
import { nextChunkName } from '../../../src/ingestion/write-chunk.ts';
import { byPrimaryKey, rowSetOf } from '../../../src/orders/row-set.ts';
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
  it('hold every row once, of one shard and one kind of time, none larger than allowed', async () => {
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

  it('hold every chunk once and are never more than the caps allow', () => {
    fc.assert(
      fc.property(shards, limits, (plan, caps) => {
        const lanes = planLanes(segmentWork(3, { prefix: 'p', shards: plan }), caps);
        expect(lanes.length).toBeLessThanOrEqual(caps.maxChunks);
        const lanesOf = new Map<number, number>();
        const chunks = lanes.flatMap(({ queue }) => {
          expect(queue.length).toBeGreaterThan(0);
          for (const shard of new Set(queue.map((work) => work.shard))) {
            lanesOf.set(shard, (lanesOf.get(shard) ?? 0) + 1);
          }
          const taken: string[] = [];
          for (let next = takeNext(queue); next !== undefined; next = takeNext(next.rest)) {
            taken.push(next.ref.chunk);
          }
          return taken;
        });
        expect(Math.max(0, ...lanesOf.values())).toBeLessThanOrEqual(caps.maxChunksPerShard);
        const expected = plan.flatMap(({ shard, chunks: count }) =>
          Array.from({ length: count }, (_, index) => `3/${shard}/${index}`),
        );
        expect(chunks.toSorted()).toEqual(expected.toSorted());
      }),
    );
  });

  it('share what was handed back with what is new', () => {
    const work = [
      { prefix: 'p', shard: 1, chunk: '0/1/4-r1' },
      { prefix: 'q', segment: 1, shard: 1, from: 0, to: 2 },
      { prefix: 'p', segment: 0, shard: 1, from: 3, to: 6 },
    ];
    const lanes = planLanes(work, { maxChunks: 8, maxChunksPerShard: 2 });
    expect(lanes.map(({ queue }) => queue)).toEqual([
      work.slice(0, 2),
      [{ prefix: 'p', segment: 0, shard: 1, from: 3, to: 6 }],
    ]);
  });
});

describe('a chunk in storage', () => {
  const rows = fc
    .uniqueArray(
      fc.record({
        user: fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }),
        order: fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }),
        cents: fc.integer({ min: 1, max: 2_147_483_647 }),
        time: fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }),
        line: fc.integer({ min: 1, max: 999_999_999 }),
      }),
      { minLength: 1, maxLength: 30, selector: ({ order }) => order },
    )
    .chain((items) => fc.boolean().map((createdAtGiven) => ({ items, createdAtGiven })))
    .map(({ items, createdAtGiven }) =>
      items.map(({ user, order, cents, time, line }): ChunkRow => ({
        ...anOrderRow(String(user), String(order), {
          amountCents: cents as ChunkRow['amountCents'],
          createdAt: time.toISOString() as ChunkRow['createdAt'],
          createdAtGiven,
        }),
        line,
      })),
    );

  it('gives its rows and the texts of its statements back', () => {
    fc.assert(
      fc.property(rows, (given) => {
        const { rows: read, ...chunk } = decodeChunk(encodeChunk(given));
        expect(read()).toEqual(given.toSorted(byPrimaryKey));
        expect(rowSetOf(given)).toMatchObject(chunk);
      }),
    );
  });

  it('takes as many rows as a chunk may have', () => {
    const given = Array.from({ length: 10_000 }, (_, index) => ({
      ...anOrderRow(String(index + 1), index + 1),
      line: index + 1,
    }));
    expect(decodeChunk(encodeChunk(given)).rows()).toHaveLength(10_000);
  });

  it('lets nothing pass that is not as it was written', () => {
    const [header = '', keys = '', values = '', lines = ''] = encodeChunk([
      { ...anOrderRow('1', 7), line: 1 },
      { ...anOrderRow('2', 8), line: 2 },
    ]).split('\n');
    const refused = [
      [header, keys, `${values.slice(0, -1)}),(1,2,3,4,SLEEP(9))`, lines],
      [header, keys, `${values}; DROP TABLE orders`, lines],
      [header, keys, values.replace("'2026", "''2026"), lines],
      [header, keys, values.slice(0, values.indexOf(')') + 1), lines],
      [header, keys, `${values},`, lines],
      [header, `${keys}]') j; DROP TABLE orders; --`, values, lines],
      [header, keys.slice(0, keys.indexOf(']') + 1), values, lines],
      [header.replace('"count":2', '"count":3'), keys, values, lines],
      [header.replace('"buckets":[', '"buckets":["1) OR (1"'), keys, values, lines],
      ['{}', keys, values, lines],
      [],
    ];
    for (const parts of refused) expect(() => decodeChunk(parts.join('\n'))).toThrow();
    expect(() => decodeChunk([header, keys, values, '1;2'].join('\n')).rows()).toThrow();
    expect(decodeChunk([header, keys, values, lines].join('\n')).count).toBe(2);
  });
});

function ascending(a: number, b: number): number {
  return a - b;
}
