import { z } from 'zod';
import { defineActivity, defineOrchestration } from '../durable/contract.ts';
import { countsSchema, failureSchema, positionSchema, segmentSchema } from './model.ts';

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
 * Cuts a segment of the batch into chunks. A batch that fits into few chunks is written and summed up on the spot
 * (`finished`): one action instead of six.
 */
export const partitionBatch = defineActivity({
  name: 'ingestion-partition',
  input: z.strictObject({ ingestionId: z.string(), segment: count, from: positionSchema }),
  output: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('finished'), counts: countsSchema }),
    z.strictObject({
      kind: z.literal('planned'),
      ...segmentSchema.omit({ rows: true }).shape,
      limits: limitsSchema,
    }),
  ]),
  retry: PATIENT,
});

/** A chunk, the folder it lies in, and the shard it is to be written on. */
export const chunkRefSchema = z.strictObject({
  prefix: z.string(),
  shard: count,
  chunk: z.string(),
});
export type ChunkRef = z.infer<typeof chunkRefSchema>;

/** Writes one chunk: one transaction on one shard, counted exactly once however often it is delivered. */
export const writeChunk = defineActivity({
  name: 'ingestion-writeChunk',
  input: z.strictObject({ ingestionId: z.string(), ...chunkRefSchema.shape }),
  output: z.strictObject({
    inserted: count,
    duplicates: count,
    conflicts: count,
    rejected: count,
    /** The rows whose buckets have moved away, as a chunk of their own in the same folder. */
    remainder: chunkRefSchema.omit({ prefix: true }).optional(),
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
    received: count,
    counts: countsSchema,
    failure: failureSchema.optional(),
  }),
  output: countsSchema,
  retry: PATIENT,
});

/** Chunks `<segment>/<shard>/<from>` … `<to-1>`, or one named chunk. */
const laneWorkSchema = z.union([
  z.strictObject({ prefix: z.string(), segment: count, shard: count, from: count, to: count }),
  chunkRefSchema,
]);
export type LaneWork = z.infer<typeof laneWorkSchema>;

export const laneStateSchema = z.strictObject({
  queue: z.array(laneWorkSchema).readonly(),
  counts: countsSchema,
  chunksDone: count,
  /** Tries in a row that failed, and since when (milliseconds since 1970). */
  failures: count,
  failingSinceMs: z.number().nullable(),
});
export type LaneState = z.infer<typeof laneStateSchema>;

/** Chunks of one shard (of a few, when there are more shards than chunks may run at once), one after another. */
export const laneOrchestration = defineOrchestration({
  name: 'ingestion-lane',
  input: z.strictObject({
    ingestionId: z.string(),
    chunkDelayMs: count,
    giveUpMs: z.int().min(1),
    /** Whether to wait for a shard that is away; otherwise its chunks are handed back. */
    waits: z.boolean(),
    state: laneStateSchema,
  }),
  output: z.strictObject({
    counts: countsSchema,
    failure: failureSchema.optional(),
    /** Not done, because its shards did not answer. */
    rest: z.array(laneWorkSchema).optional(),
  }),
  status: z.strictObject({ counts: countsSchema, chunksDone: count }),
});

/** How far an ingestion is between two steps. */
export const progressSchema = z.strictObject({
  /** Of steps: each cuts a segment while the lanes write those before. */
  step: count,
  /** Where the segment to be cut next begins; null when all are cut. */
  next: positionSchema.nullable(),
  received: count,
  /** Chunks that wait for lanes. */
  work: z.array(laneWorkSchema).readonly(),
  counts: countsSchema,
  limits: limitsSchema.optional(),
  failure: failureSchema.optional(),
});
export type Progress = z.infer<typeof progressSchema>;

/** A whole ingestion; its instance id is the ingestion's id. */
export const ingestOrchestration = defineOrchestration({
  name: 'ingestion-ingest',
  input: z.strictObject({
    ingestionId: z.string(),
    /** Of a long one that goes on with a new history. */
    progress: progressSchema.optional(),
  }),
  output: countsSchema,
  /** Figures without those of the lanes of the step under way. */
  status: z.strictObject({ received: count, counts: countsSchema, step: count, lanes: count }),
});

/** Instance id of a lane. */
export function laneInstanceId(ingestionId: string, step: number, lane: number): string {
  return `${ingestionId}:${step}:${lane}`;
}

export const ingestionContracts = [
  partitionBatch,
  writeChunk,
  finishBatch,
  laneOrchestration,
  ingestOrchestration,
] as const;
