import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { implement } from '../../../src/durable/implement.ts';
import {
  finishBatch,
  partitionBatch,
  writeChunk,
  type ChunkResult,
} from '../../../src/ingestion/contracts.ts';
import { NO_COUNTS, addCounts, type Counts } from '../../../src/ingestion/model.ts';
import { ingest, lane } from '../../../src/ingestion/orchestrators.ts';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import { driveOrchestrator, type BoundActivity } from '../../support/drive-orchestrator.ts';

/**
 * The ingestion's orchestrations against the SDK's replay executor: replayed from the first line at every turn,
 * completions in any order, activities run twice. Chunks answer like the real ones: the same at every delivery.
 */
interface Cluster {
  /** Of each segment of the input. */
  readonly segments: readonly (readonly { readonly shard: number; readonly chunks: number }[])[];
  readonly maxChunks: number;
  readonly maxChunksPerShard: number;
  /** Tries of each chunk that fail for a while. */
  readonly failures: number;
  /** Every so manieth chunk leaves a remainder for the next shard. */
  readonly movedEvery: number;
  readonly giveUpMs: number;
}

const ROWS = 10;

function world(cluster: Cluster, options: { away?: number; broken?: string } = {}) {
  const written = new Map<string, number>();
  const tries = new Map<string, number>();
  const finished: { received: number; counts: Counts; failure: unknown }[] = [];
  let chunkNumber = 0;
  const results = new Map<string, ChunkResult>();

  const resultOf = (shard: number, chunk: string): ChunkResult => {
    const moves = ++chunkNumber % cluster.movedEvery === 0 && !chunk.includes('-r');
    const moved = moves ? 3 : 0;
    const isRemainder = chunk.includes('-r');
    return {
      inserted: isRemainder ? 3 : ROWS - moved,
      duplicates: 0,
      conflicts: 0,
      rejected: 0,
      ...(moves && {
        remainder: { shard: (shard + 1) % shardCount(cluster), chunk: `${chunk}-r1` },
      }),
    };
  };
  const write: BoundActivity = implement(writeChunk, () => async ({ shard, chunk }) => {
    await Promise.resolve();
    if (chunk === options.broken) throw new PermanentError('not-found', 'gone');
    const tried = (tries.get(chunk) ?? 0) + 1;
    tries.set(chunk, tried);
    if (shard === options.away || tried <= cluster.failures) {
      throw RetryableError.shardUnavailable(shard);
    }
    const result = results.get(chunk) ?? resultOf(shard, chunk);
    results.set(chunk, result);
    written.set(chunk, (written.get(chunk) ?? 0) + 1);
    return result;
  }).bind(undefined);

  const activities = {
    [partitionBatch.name]: implement(
      partitionBatch,
      () =>
        ({ segment, from }) =>
          Promise.resolve({
            kind: 'planned' as const,
            prefix: `p${segment}`,
            received: 10,
            rejected: 2,
            shards: [...(cluster.segments[segment] ?? [])],
            next:
              segment + 1 < cluster.segments.length
                ? { ...from, byte: from.byte + 1, ordinal: from.ordinal + 10 }
                : null,
            limits: {
              maxChunks: cluster.maxChunks,
              maxChunksPerShard: cluster.maxChunksPerShard,
              chunkDelayMs: 0,
              giveUpMs: cluster.giveUpMs,
            },
          }),
    ).bind(undefined),
    [writeChunk.name]: write,
    [finishBatch.name]: implement(finishBatch, () => ({ received, counts, failure }) => {
      finished.push({ received, counts, failure });
      return Promise.resolve(counts);
    }).bind(undefined),
  };
  return { activities, written, results, tries, finished };
}

function shardCount({ segments }: Cluster): number {
  return new Set(segments.flatMap((shards) => shards.map(({ shard }) => shard))).size;
}

const clusters: fc.Arbitrary<Cluster> = fc.record({
  segments: fc.array(
    fc
      .array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 4 })
      .map((chunks) => chunks.map((count, shard) => ({ shard, chunks: count }))),
    { minLength: 1, maxLength: 4 },
  ),
  maxChunks: fc.integer({ min: 1, max: 8 }),
  maxChunksPerShard: fc.integer({ min: 1, max: 3 }),
  failures: fc.integer({ min: 0, max: 2 }),
  movedEvery: fc.integer({ min: 2, max: 9 }),
  giveUpMs: fc.constant(86_400_000),
});

const seeds = fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), {
  minLength: 5,
  maxLength: 40,
});
const randomOf = (seed: readonly number[]) => {
  let next = 0;
  return () => seed[next++ % seed.length] ?? 0;
};

const orchestrations = [ingest, lane];

describe('an ingestion', () => {
  it(
    'writes every chunk and every remainder and counts each once, in whatever order things end',
    { timeout: 60_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(clusters, seeds, async (cluster, seed) => {
          const { activities, written, results, finished } = world(cluster);
          const result = await driveOrchestrator(
            'ingestion-ingest',
            { ingestionId: 'i' },
            { orchestrations, activities, random: randomOf(seed), redeliver: 0.3 },
          );
          const planned = cluster.segments.flatMap((shards, segment) =>
            shards.flatMap(({ shard, chunks }) =>
              Array.from({ length: chunks }, (_, index) => `${segment}/${shard}/${index}`),
            ),
          );
          expect([...written.keys()].filter((chunk) => !chunk.includes('-r')).toSorted()).toEqual(
            planned.toSorted(),
          );
          const remainders = [...results.values()].flatMap(({ remainder }) => remainder ?? []);
          expect(remainders.every(({ chunk }) => written.has(chunk))).toBe(true);
          const output = (result.output as { value: Counts }).value;
          expect(output).toMatchObject({
            inserted: planned.length * ROWS,
            rejected: 2 * cluster.segments.length,
          });
          expect(finished[0]?.received).toBe(10 * cluster.segments.length);
          const perShard = output.perShard.reduce((sum, entry) => sum + entry.inserted, 0);
          expect(perShard).toBe(output.inserted);
        }),
        { numRuns: 10 },
      );
    },
  );

  it('lets a shard that is away hold up its own chunks only, then tells what was not done', async () => {
    const cluster = {
      segments: [[0, 1, 2].map((shard) => ({ shard, chunks: 4 }))],
      maxChunks: 8,
      maxChunksPerShard: 2,
      failures: 0,
      movedEvery: 1_000,
      giveUpMs: 60_000,
    };
    const { activities, finished } = world(cluster, { away: 1 });
    await driveOrchestrator(
      'ingestion-ingest',
      { ingestionId: 'i' },
      { orchestrations, activities },
    );
    expect(finished).toMatchObject([
      { counts: { inserted: 8 * ROWS }, failure: { code: 'shard-unavailable' } },
    ]);
  });

  it('cuts on and writes the others while a shard is away, and comes back to it when all is cut', async () => {
    const cluster = {
      segments: Array.from({ length: 3 }, () => [0, 1, 2].map((shard) => ({ shard, chunks: 2 }))),
      maxChunks: 8,
      maxChunksPerShard: 2,
      failures: 0,
      movedEvery: 1_000,
      giveUpMs: 60_000,
    };
    const { activities, finished, tries } = world(cluster, { away: 1 });
    await driveOrchestrator(
      'ingestion-ingest',
      { ingestionId: 'i' },
      { orchestrations, activities },
    );
    expect(finished).toMatchObject([
      {
        received: 30,
        counts: { inserted: 12 * ROWS, rejected: 6 },
        failure: { code: 'shard-unavailable' },
      },
    ]);
    // Each of its chunks was tried at least once more when nothing else was left to do.
    expect([...tries].filter(([chunk]) => chunk.includes('/1/')).every(([, n]) => n > 1)).toBe(
      true,
    );
  });

  it('begins a new history after a number of segments', async () => {
    const cluster = {
      segments: Array.from({ length: 40 }, () => [{ shard: 0, chunks: 1 }]),
      maxChunks: 2,
      maxChunksPerShard: 2,
      failures: 0,
      movedEvery: 1_000,
      giveUpMs: 60_000,
    };
    const { activities, finished } = world(cluster);
    const result = await driveOrchestrator(
      'ingestion-ingest',
      { ingestionId: 'i' },
      { orchestrations, activities },
    );
    expect(finished).toMatchObject([{ received: 400, counts: { inserted: 40 * ROWS } }]);
    // 41 steps in histories of 16, and a lane for each segment.
    expect(result.executions).toBe(3 + 40);
  });

  it('lets the others pass also where shards share a lane', async () => {
    const cluster = {
      segments: [[0, 1, 2].map((shard) => ({ shard, chunks: 4 }))],
      maxChunks: 1,
      maxChunksPerShard: 2,
      failures: 0,
      movedEvery: 1_000,
      giveUpMs: 60_000,
    };
    const { activities, finished } = world(cluster, { away: 0 });
    await driveOrchestrator(
      'ingestion-ingest',
      { ingestionId: 'i' },
      { orchestrations, activities },
    );
    expect(finished[0]?.counts.perShard).toEqual([
      { shard: 1, inserted: 4 * ROWS },
      { shard: 2, inserted: 4 * ROWS },
    ]);
  });

  it('ends with what was written when a chunk can never be', async () => {
    const cluster = {
      segments: [[{ shard: 0, chunks: 3 }]],
      maxChunks: 1,
      maxChunksPerShard: 1,
      failures: 0,
      movedEvery: 1_000,
      giveUpMs: 60_000,
    };
    const { activities, finished } = world(cluster, { broken: '0/0/1' });
    const result = await driveOrchestrator(
      'ingestion-ingest',
      { ingestionId: 'i' },
      { orchestrations, activities },
    );
    expect(result.state).toBe('completed');
    expect(finished).toMatchObject([
      { counts: { inserted: ROWS }, failure: { code: 'not-found', message: 'gone' } },
    ]);
  });

  it('begins a new history after a number of chunks, so that no history grows with the batch', async () => {
    const cluster = {
      segments: [[{ shard: 0, chunks: 110 }]],
      maxChunks: 1,
      maxChunksPerShard: 1,
      failures: 0,
      movedEvery: 1_000,
      giveUpMs: 60_000,
    };
    const { activities } = world(cluster);
    const result = await driveOrchestrator(
      'ingestion-ingest',
      { ingestionId: 'i' },
      { orchestrations, activities },
    );
    // One of the parent, three of the lane.
    expect(result.executions).toBe(4);
    // 110 chunks of 2 000 orders make 220 000: 12 KB per 1 000 (DESIGN 8).
    expect(result.historyBytes / 220).toBeLessThan(12 * 1024);
    expect(result.statuses.get('root:1:0') ?? result.statuses.get('i:1:0')).toMatchObject({
      chunksDone: 110,
    });
  });
});

describe('figures', () => {
  const counts = fc.record({
    inserted: fc.nat(100),
    duplicates: fc.nat(100),
    conflicts: fc.nat(100),
    rejected: fc.nat(100),
    perShard: fc
      .uniqueArray(fc.record({ shard: fc.nat(5), inserted: fc.integer({ min: 1, max: 9 }) }), {
        selector: (entry) => entry.shard,
      })
      .map((entries) => entries.toSorted((a, b) => a.shard - b.shard)),
  });

  it('add up to the same in any order', () => {
    fc.assert(
      fc.property(counts, counts, counts, (a, b, c) => {
        expect(addCounts(a, b)).toEqual(addCounts(b, a));
        expect(addCounts(addCounts(a, b), c)).toEqual(addCounts(a, addCounts(b, c)));
        expect(addCounts(a, NO_COUNTS)).toEqual(a);
      }),
    );
  });
});
