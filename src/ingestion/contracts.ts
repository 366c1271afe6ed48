import { z } from 'zod';
import { defineActivity, defineOrchestration } from '../durable/contract.ts';
import { countsSchema, failureSchema, shardPlanSchema } from './model.ts';

const count = z.int().min(0);

/** Storage or a shard may be away for hours: tries go on, a minute apart, for about seven hours. */
const PATIENT = { firstIntervalMs: 1_000, backoff: 2, maxIntervalMs: 60_000, maxAttempts: 400 };

/** Limits of the lanes, read from the configuration once, when the ingestion is planned. */
const limitsSchema = z.strictObject({
  maxChunks: z.int().min(1),
  maxChunksPerShard: z.int().min(1),
  chunkDelayMs: count,
  /** A lane that got nothing done for so long gives up. */
  giveUpMs: z.int().min(1),
});

/**
 * Cuts the batch into chunks. A batch that fits into few chunks is written and summed up on the spot (`finished`):
 * one action instead of six.
 */
export const partitionBatch = defineActivity({
  name: 'ingestion-partition',
  input: z.strictObject({ ingestionId: z.string() }),
  output: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('finished'), counts: countsSchema }),
    z.strictObject({
      kind: z.literal('planned'),
      prefix: z.string(),
      received: count,
      rejected: count,
      shards: z.array(shardPlanSchema),
      limits: limitsSchema,
    }),
  ]),
  retry: PATIENT,
});

/** A chunk and the shard it is to be written on. */
export const chunkRefSchema = z.strictObject({ shard: count, chunk: z.string() });
export type ChunkRef = z.infer<typeof chunkRefSchema>;

/** Writes one chunk: one transaction on one shard, counted exactly once however often it is delivered. */
export const writeChunk = defineActivity({
  name: 'ingestion-writeChunk',
  input: z.strictObject({
    ingestionId: z.string(),
    prefix: z.string(),
    ...chunkRefSchema.shape,
  }),
  output: z.strictObject({
    inserted: count,
    duplicates: count,
    conflicts: count,
    rejected: count,
    /** The rows whose buckets have moved away, as a chunk of their own. */
    remainder: chunkRefSchema.optional(),
  }),
  // The lane tries again by itself, at the end of its queue, so that other chunks go first.
  retry: { firstIntervalMs: 1_000, backoff: 1, maxIntervalMs: 1_000, maxAttempts: 1 },
});
export type ChunkResult = z.infer<typeof writeChunk.output>;

/** Sums up: writes the result, then removes what only the work itself needed. */
export const finishBatch = defineActivity({
  name: 'ingestion-finish',
  input: z.strictObject({
    ingestionId: z.string(),
    counts: countsSchema,
    failure: failureSchema.optional(),
  }),
  output: countsSchema,
  retry: PATIENT,
});

/** Chunks `<shard>/<from>` … `<shard>/<to-1>` of a plan, or one named chunk. */
const laneWorkSchema = z.union([
  z.strictObject({ shard: count, from: count, to: count }),
  chunkRefSchema,
]);
export type LaneWork = z.infer<typeof laneWorkSchema>;

export const laneStateSchema = z.strictObject({
  queue: z.array(laneWorkSchema),
  counts: countsSchema,
  chunksDone: count,
  /** Waves in a row in which nothing succeeded, and since when (milliseconds since 1970). */
  failedWaves: count,
  failingSinceMs: z.number().nullable(),
});
export type LaneState = z.infer<typeof laneStateSchema>;

/** The chunks of one shard (of a few, when there are more shards than chunks may run at once), one wave after another. */
export const laneOrchestration = defineOrchestration({
  name: 'ingestion-lane',
  input: z.strictObject({
    ingestionId: z.string(),
    prefix: z.string(),
    width: z.int().min(1),
    chunkDelayMs: count,
    giveUpMs: z.int().min(1),
    state: laneStateSchema,
  }),
  output: z.strictObject({ counts: countsSchema, failure: failureSchema.optional() }),
  status: z.strictObject({ counts: countsSchema, chunksDone: count }),
});

/** A whole ingestion; its instance id is the ingestion's id. */
export const ingestOrchestration = defineOrchestration({
  name: 'ingestion-ingest',
  input: z.strictObject({ ingestionId: z.string() }),
  output: countsSchema,
  status: z.strictObject({ received: count, rejected: count, lanes: count }),
});

/** Instance id of a lane. */
export function laneInstanceId(ingestionId: string, lane: number): string {
  return `${ingestionId}:${lane}`;
}

export const ingestionContracts = [
  partitionBatch,
  writeChunk,
  finishBatch,
  laneOrchestration,
  ingestOrchestration,
] as const;
