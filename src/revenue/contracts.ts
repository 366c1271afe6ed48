import { z } from 'zod';
import { defineActivity, defineOrchestration } from '../durable/contract.ts';

const count = z.int().min(0);

/** A shard or the storage account that is away holds a report up for at most some twenty minutes; then it fails, told. */
const PATIENT = { firstIntervalMs: 1_000, backoff: 2, maxIntervalMs: 60_000, maxAttempts: 25 };

/** Chunks `0` … `chunks - 1` of one shard. */
export const shardChunksSchema = z.strictObject({ shard: count, chunks: count });
export type ShardChunks = z.infer<typeof shardChunksSchema>;

/** Why a report failed, as its reader is told. */
export const reportFailureSchema = z.strictObject({ code: z.string(), message: z.string() });
export type ReportFailure = z.infer<typeof reportFailureSchema>;

/** Deals the 1024 buckets out into chunks, by the owner of the moment. Idempotent: the first plan stays. */
export const planReport = defineActivity({
  name: 'revenue-plan',
  input: z.strictObject({ reportId: z.string() }),
  output: z.strictObject({ shards: z.array(shardChunksSchema), maxShardsAtOnce: z.int().min(1) }),
  retry: PATIENT,
});

/**
 * Sums one chunk into a blob of its own. Idempotent: the first sums stay. Every bucket of the chunk is counted once,
 * at its owner, whoever that is by then.
 */
export const sumChunk = defineActivity({
  name: 'revenue-sumChunk',
  input: z.strictObject({ reportId: z.string(), shard: count, chunk: count }),
  output: z.strictObject({ groups: count }),
  retry: PATIENT,
});

/** Merges the chunks' sums into the result, or stores why there is none; then removes the parts. Idempotent. */
export const finishReport = defineActivity({
  name: 'revenue-finish',
  input: z.strictObject({ reportId: z.string(), failure: reportFailureSchema.optional() }),
  output: z.strictObject({ groups: count }),
  retry: PATIENT,
});

/** One chunk after another, so that a shard never has two heavy statements of a report at once. */
export const laneOrchestration = defineOrchestration({
  name: 'revenue-lane',
  input: z.strictObject({
    reportId: z.string(),
    shards: z.array(shardChunksSchema),
    /** How many chunks of `shards`, in their order, are done. */
    chunksDone: count,
  }),
  output: z.strictObject({ chunksDone: count }),
  status: z.strictObject({ chunksDone: count }),
});

/** A whole report; its instance id is the report's id. */
export const reportOrchestration = defineOrchestration({
  name: 'revenue-report',
  input: z.strictObject({ reportId: z.string() }),
  output: z.strictObject({ groups: count }),
  status: z.strictObject({ chunks: count, lanes: count }),
});

/** Instance id of a lane. */
export function laneInstanceId(reportId: string, lane: number): string {
  return `${reportId}:${lane}`;
}

export const revenueContracts = [
  planReport,
  sumChunk,
  finishReport,
  laneOrchestration,
  reportOrchestration,
] as const;
