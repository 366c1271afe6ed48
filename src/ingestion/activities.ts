import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import { implement } from '../durable/implement.ts';
import type { DurableModule } from '../durable/register.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { isRetryable, PermanentError } from '../kernel/errors.ts';
import { createOrderBatchWriter, type OrderBatchWriter } from '../orders/batch-writer.ts';
import type { Services } from '../services.ts';
import {
  finishBatch,
  ingestionContracts,
  partitionBatch,
  writeChunk,
  type ChunkRef,
  type LaneWork,
} from './contracts.ts';
import { finish } from './finish.ts';
import { chunkCounts, segmentWork, takeNext } from './lanes.ts';
import { NO_COUNTS, addCounts, type Counts, type Position, type Segment } from './model.ts';
import { ingest, lane } from './orchestrators.ts';
import { partition } from './partition.ts';
import { createIngestionStore } from './store.ts';
import { writeOneChunk } from './write-chunk.ts';

/** Up to so many orders are written by the activity that partitions them. */
const SMALL_BATCH = 1_000;
/** Time for that; what is not done by then goes to the lanes, which are patient. */
const SMALL_BATCH_DEADLINE_MS = 10_000;

type PartitionAnswer = z.infer<typeof partitionBatch.output>;

const partitionActivity = implement(partitionBatch, (services: Services) => {
  const store = createIngestionStore(services.blobs);
  const writer = createOrderBatchWriter(services);
  return async ({ ingestionId, segment: index, from }): Promise<PartitionAnswer> => {
    const result = await store.readResult(ingestionId);
    if (result !== undefined) return { kind: 'finished', counts: countsOf(result) };
    const segment = await settledSegment(services, { ingestionId, index, from });
    if (index === 0 && segment.next === null && segment.rows <= SMALL_BATCH) {
      const written = await writeSmallBatch(services, writer, { ingestionId, segment });
      if (written !== undefined) {
        const { received, rejected } = segment;
        const counts = addCounts({ ...NO_COUNTS, rejected }, written);
        return {
          kind: 'finished',
          counts: await finish(services, { ingestionId, received, counts }),
        };
      }
    }
    return { kind: 'planned', ...plannedOf(services, segment) };
  };
});

const writeChunkActivity = implement(writeChunk, (services: Services) => {
  const writer = createOrderBatchWriter(services);
  return ({ ingestionId, ...ref }) =>
    writeOneChunk(services, writer, {
      ingestionId,
      ref,
      deadlineMs: services.config.INGEST_CHUNK_DEADLINE_MS,
    });
});

const finishActivity = implement(
  finishBatch,
  (services: Services) => (input) => finish(services, input),
);

/** Everything of the ingestion that runs durably. */
export const ingestionDurable: DurableModule<Services> = {
  contracts: ingestionContracts,
  activities: [partitionActivity, writeChunkActivity, finishActivity],
  orchestrations: [ingest, lane],
};

/** The cut that counts: that of the first try that came to an end. */
async function settledSegment(
  services: Services,
  work: { readonly ingestionId: string; readonly index: number; readonly from: Position },
): Promise<Segment> {
  const { ingestionId, index, from } = work;
  const store = createIngestionStore(services.blobs);
  const known = await store.readSegment(ingestionId, index);
  if (known !== undefined) return known;
  const manifest = await store.readManifest(ingestionId);
  if (manifest === undefined) {
    throw new PermanentError('not-found', 'There is no ingestion with this id.');
  }
  const prefix = `${ingestionId}/try-${randomUUID()}`;
  const segment = await partition(services, manifest, { index, from, prefix });
  return store.settleSegment(ingestionId, index, segment);
}

function plannedOf({ config }: Services, segment: Segment) {
  return {
    prefix: segment.prefix,
    received: segment.received,
    rejected: segment.rejected,
    shards: segment.shards,
    next: segment.next,
    limits: {
      maxChunks: config.INGEST_MAX_CHUNKS,
      maxChunksPerShard: config.INGEST_MAX_CHUNKS_PER_SHARD,
      chunkDelayMs: config.INGEST_CHUNK_DELAY_MS,
      giveUpMs: config.INGEST_DEFER_MAX_MS,
    },
  };
}

/** Figures of all chunks; undefined when a shard or storage is away: what was written is found again by its record. */
async function writeSmallBatch(
  services: Services,
  writer: OrderBatchWriter,
  batch: { readonly ingestionId: string; readonly segment: Segment },
): Promise<Counts | undefined> {
  const { ingestionId, segment } = batch;
  let open: readonly ChunkRef[] = chunksOf(segment);
  let counts = NO_COUNTS;
  while (open.length > 0) {
    const results = await mapBounded(open, services.config.INGEST_MAX_CHUNKS, async (ref) => {
      try {
        const work = { ingestionId, ref, deadlineMs: SMALL_BATCH_DEADLINE_MS };
        return { ref, result: await writeOneChunk(services, writer, work) };
      } catch (error) {
        if (!isRetryable(error)) throw error;
        return { ref, result: undefined };
      }
    });
    if (results.some(({ result }) => result === undefined)) return undefined;
    for (const { ref, result } of results) {
      if (result !== undefined) counts = addCounts(counts, chunkCounts(ref.shard, result));
    }
    open = results.flatMap(({ ref, result }) =>
      result?.remainder === undefined ? [] : [{ prefix: ref.prefix, ...result.remainder }],
    );
  }
  return counts;
}

/** All chunks of the first segment. */
function chunksOf(segment: Segment): ChunkRef[] {
  let queue: readonly LaneWork[] = segmentWork(0, segment);
  const chunks: ChunkRef[] = [];
  for (let next = takeNext(queue); next !== undefined; next = takeNext(queue)) {
    chunks.push(next.ref);
    queue = next.rest;
  }
  return chunks;
}

function countsOf(result: Counts): Counts {
  const { inserted, duplicates, conflicts, rejected, perShard } = result;
  return { inserted, duplicates, conflicts, rejected, perShard };
}
