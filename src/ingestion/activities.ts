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
} from './contracts.ts';
import { finish } from './finish.ts';
import { chunkCounts, planLanes, takeWave } from './lanes.ts';
import { NO_COUNTS, addCounts, type Counts, type Plan } from './model.ts';
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
  return async ({ ingestionId }): Promise<PartitionAnswer> => {
    const result = await store.readResult(ingestionId);
    if (result !== undefined) return { kind: 'finished', counts: countsOf(result) };
    const plan = await settledPlan(services, ingestionId);
    if (plan.rows <= SMALL_BATCH) {
      const counts = await writeSmallBatch(services, writer, { ingestionId, plan });
      if (counts !== undefined) {
        const sum = addCounts({ ...NO_COUNTS, rejected: plan.rejected }, counts);
        return { kind: 'finished', counts: await finish(services, { ingestionId, counts: sum }) };
      }
    }
    return { kind: 'planned', ...plannedOf(services, plan) };
  };
});

const writeChunkActivity = implement(writeChunk, (services: Services) => {
  const writer = createOrderBatchWriter(services);
  return ({ ingestionId, prefix, shard, chunk }) =>
    writeOneChunk(services, writer, {
      ingestionId,
      prefix,
      ref: { shard, chunk },
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

/** The plan that counts: that of the first try that came to an end. */
async function settledPlan(services: Services, ingestionId: string): Promise<Plan> {
  const store = createIngestionStore(services.blobs);
  const known = await store.readPlan(ingestionId);
  if (known !== undefined) return known;
  const manifest = await store.readManifest(ingestionId);
  if (manifest === undefined) {
    throw new PermanentError('not-found', 'There is no ingestion with this id.');
  }
  const plan = await partition(services, manifest, `${ingestionId}/try-${randomUUID()}`);
  return store.settlePlan(ingestionId, plan);
}

function plannedOf({ config }: Services, plan: Plan) {
  return {
    prefix: plan.prefix,
    received: plan.received,
    rejected: plan.rejected,
    shards: plan.shards,
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
  batch: { readonly ingestionId: string; readonly plan: Plan },
): Promise<Counts | undefined> {
  const { ingestionId, plan } = batch;
  const { lanes } = planLanes(plan.shards, { maxChunks: 1, maxChunksPerShard: 1 });
  let open: readonly ChunkRef[] = takeWave(lanes[0]?.queue ?? [], Infinity).wave;
  let counts = NO_COUNTS;
  while (open.length > 0) {
    const results = await mapBounded(open, services.config.INGEST_MAX_CHUNKS, async (ref) => {
      try {
        const work = { ingestionId, prefix: plan.prefix, ref, deadlineMs: SMALL_BATCH_DEADLINE_MS };
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
    open = results.flatMap(({ result }) => result?.remainder ?? []);
  }
  return counts;
}

function countsOf(result: Counts): Counts {
  const { inserted, duplicates, conflicts, rejected, perShard } = result;
  return { inserted, duplicates, conflicts, rejected, perShard };
}
