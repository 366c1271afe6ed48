import { z } from 'zod';
import { BugError } from '../kernel/errors.ts';
import type { BlobStore } from '../storage/contracts.ts';

/**
 * The blobs of an ingestion, all below `<ingestionId>/` of the container `ingestions`:
 *
 * - `input-<unique>.ndjson`  the orders as they came; one per try to hand them in, of which one is named by
 * - `manifest.json`          what was accepted, written once; from here on the ingestion exists
 * - `plan.json`              how the orders were cut into chunks, written once; the first plan wins
 * - `<attempt>/…`            chunks and rejects of one try to partition
 * - `chunks/<chunk>.json`    rejects found while writing a chunk
 * - `result.json`            the sum, written once the last chunk is done
 */
export const CONTAINER = 'ingestions';

export const INGESTION_ID = /^[A-Za-z0-9_-]{1,100}$/;

const count = z.int().min(0);

const manifestSchema = z.strictObject({
  ingestionId: z.string().regex(INGESTION_ID),
  /** Blob with the NDJSON, in {@link CONTAINER}. */
  input: z.string(),
  bytes: count,
  /** Of the NDJSON, hex: tells a repeat from another batch under the same id. */
  sha256: z.string(),
  /** When it was accepted; orders that name no time get this one. */
  createdAt: z.string(),
});
export type Manifest = z.infer<typeof manifestSchema>;

export const rejectSchema = z.strictObject({
  /** Line of the NDJSON or position in the JSON array, from 1. */
  line: z.int().min(1),
  code: z.string(),
  message: z.string(),
});
export type Reject = z.infer<typeof rejectSchema>;

/** A number of chunks that begin at one shard, `<prefix>/<shard>/<0 … chunks-1>.json`. */
export const shardPlanSchema = z.strictObject({ shard: count, chunks: count });

export const planSchema = z.strictObject({
  /** Folder of the chunks: that of the try whose plan was written first. */
  prefix: z.string(),
  received: count,
  /** Refused while partitioning. */
  rejected: count,
  rows: count,
  shards: z.array(shardPlanSchema).max(256),
});
export type Plan = z.infer<typeof planSchema>;

export const countsSchema = z.strictObject({
  inserted: count,
  duplicates: count,
  conflicts: count,
  rejected: count,
  perShard: z.array(z.strictObject({ shard: count, inserted: count })).max(256),
});
/** Figures of an ingestion or of a part of it. `perShard` is ascending by shard, without zeros. */
export type Counts = z.infer<typeof countsSchema>;

const resultSchema = z.strictObject({
  ingestionId: z.string(),
  status: z.enum(['completed', 'failed']),
  received: count,
  ...countsSchema.shape,
  rejects: z.array(rejectSchema),
  conflicting: z.array(rejectSchema),
  failure: z.strictObject({ code: z.string(), message: z.string() }).optional(),
  startedAt: z.string(),
  finishedAt: z.string(),
});
export type IngestionResult = z.infer<typeof resultSchema>;

/** Names and typed contents of an ingestion's blobs. */
export interface IngestionStore {
  inputName(ingestionId: string, unique: string): string;
  readManifest(ingestionId: string): Promise<Manifest | undefined>;
  /** False when the ingestion exists already. */
  createManifest(manifest: Manifest): Promise<boolean>;
  readPlan(ingestionId: string): Promise<Plan | undefined>;
  /** Stores the plan unless there is one, and gives the one that is there. */
  settlePlan(ingestionId: string, plan: Plan): Promise<Plan>;
  readResult(ingestionId: string): Promise<IngestionResult | undefined>;
  /** Stores the result unless there is one, and gives the one that is there. */
  settleResult(result: IngestionResult): Promise<IngestionResult>;
}

/** Plans and results are bounded by the number of shards and of rejects shown. */
const MAX_DOCUMENT_BYTES = 1024 * 1024;

export function createIngestionStore(blobs: BlobStore): IngestionStore {
  const read = async <T>(name: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    const text = await blobs.read(CONTAINER, name, MAX_DOCUMENT_BYTES);
    return text === undefined ? undefined : schema.parse(JSON.parse(text));
  };
  const settle = async <T>(name: string, schema: z.ZodType<T>, value: T): Promise<T> => {
    if (await blobs.create(CONTAINER, name, JSON.stringify(value))) return value;
    const first = await read(name, schema);
    if (first === undefined) throw new BugError(`blob ${name} was there and is not`);
    return first;
  };
  return {
    inputName: (id, unique) => `${id}/input-${unique}.ndjson`,
    readManifest: (id) => read(`${id}/manifest.json`, manifestSchema),
    createManifest: (manifest) =>
      blobs.create(CONTAINER, `${manifest.ingestionId}/manifest.json`, JSON.stringify(manifest)),
    readPlan: (id) => read(`${id}/plan.json`, planSchema),
    settlePlan: (id, plan) => settle(`${id}/plan.json`, planSchema, plan),
    readResult: (id) => read(`${id}/result.json`, resultSchema),
    settleResult: (result) => settle(`${result.ingestionId}/result.json`, resultSchema, result),
  };
}
