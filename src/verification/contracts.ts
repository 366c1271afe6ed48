import { z } from 'zod';
import { defineActivity, defineOrchestration } from '../durable/contract.ts';
import { chunkSchema, failureSchema } from './model.ts';

const count = z.int().min(0);
const verificationId = z.string();

/**
 * A shard that is away holds a run up for half a minute and the deadlines of the tries; then the run fails and says so.
 * Longer would keep an operator waiting for an answer that is known: this shard cannot be checked.
 */
const RETRY = { firstIntervalMs: 1_000, backoff: 2, maxIntervalMs: 8_000, maxAttempts: 6 };

/**
 * Cuts the buckets of each shard into chunks, and compares who owns which bucket. Idempotent: the first plan stays.
 */
export const planVerification = defineActivity({
  name: 'verification-plan',
  input: z.strictObject({ verificationId }),
  output: z.strictObject({
    chunks: z.array(chunkSchema),
    suspects: count,
    maxShardsAtOnce: z.int().min(1),
    graceMs: count,
  }),
  retry: RETRY,
});

/** Where a chunk goes on: the pass over a table, the last key it read, and the number of this piece. */
export const cursorSchema = z.strictObject({
  piece: count,
  pass: count,
  after: z.array(z.union([z.string(), z.number()])),
});
export type Cursor = z.infer<typeof cursorSchema>;

/**
 * Looks through a piece of a chunk and writes what it found into a blob of its own. Idempotent: the first findings stay.
 * Answers where to go on, or null at the end of the chunk.
 */
export const checkPiece = defineActivity({
  name: 'verification-checkPiece',
  input: z.strictObject({ verificationId, chunk: chunkSchema, cursor: cursorSchema.nullable() }),
  output: z.strictObject({ next: cursorSchema.nullable(), rows: count, suspects: count }),
  retry: RETRY,
});

/** What is still wrong after this many further looks counts. */
export const LOOKS = 2;

/**
 * Looks again at what looked wrong, as far as its time allows. Idempotent. `left`: still wrong, to be looked at once more,
 * or counted as violations after the last look; `more`: others wait.
 */
export const lookAgain = defineActivity({
  name: 'verification-lookAgain',
  input: z.strictObject({ verificationId, look: z.int().min(1).max(LOOKS) }),
  output: z.strictObject({ left: count, more: z.boolean() }),
  retry: RETRY,
});

/** Chunks for the buckets that no piece saw from beginning to end, because they moved meanwhile. */
export const findStrays = defineActivity({
  name: 'verification-findStrays',
  input: z.strictObject({ verificationId, round: z.int().min(1) }),
  output: z.strictObject({ chunks: z.array(chunkSchema) }),
  retry: RETRY,
});

/** Adds everything up into the result, or stores why there is none; then removes the parts. Idempotent. */
export const finishVerification = defineActivity({
  name: 'verification-finish',
  input: z.strictObject({ verificationId, failure: failureSchema.optional() }),
  output: z.strictObject({ ok: z.boolean() }),
  retry: { firstIntervalMs: 1_000, backoff: 2, maxIntervalMs: 60_000, maxAttempts: 25 },
});

/** One chunk after another, so that a shard has one heavy statement of a run at a time. */
export const laneOrchestration = defineOrchestration({
  name: 'verification-lane',
  input: z.strictObject({
    verificationId,
    chunks: z.array(chunkSchema),
    chunksDone: count,
    /** Within the next chunk. */
    cursor: cursorSchema.nullable(),
    rows: count,
    suspects: count,
  }),
  output: z.strictObject({ chunksDone: count, rows: count, suspects: count }),
  status: z.strictObject({ chunksDone: count, rows: count }),
});

/** A whole run; its instance id is the run's id. */
export const verificationOrchestration = defineOrchestration({
  name: 'verification',
  input: z.strictObject({ verificationId }),
  output: z.strictObject({ ok: z.boolean() }),
  status: z.strictObject({ chunks: count, lanes: count }),
});

/** Instance id of a lane. `round` 0 is the plan; later ones follow buckets that moved. */
export function laneInstanceId(verificationId: string, round: number, lane: number): string {
  return `${verificationId}:${round}:${lane}`;
}

export const verificationContracts = [
  planVerification,
  checkPiece,
  lookAgain,
  findStrays,
  finishVerification,
  laneOrchestration,
  verificationOrchestration,
] as const;
