import { z } from 'zod';

/** Ids of ingestions: they name blobs and orchestrations. */
export const INGESTION_ID = /^[A-Za-z0-9_-]{1,100}$/;

const count = z.int().min(0);

export const manifestSchema = z.strictObject({
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

/** Where a segment of the input begins: a byte, and the number of the line and of the order there. */
export const positionSchema = z.strictObject({
  byte: count,
  line: z.int().min(1),
  /** Within a line that was too long and has been told. */
  skips: z.boolean(),
  ordinal: count,
});
export type Position = z.infer<typeof positionSchema>;

export const START: Position = { byte: 0, line: 1, skips: false, ordinal: 0 };

/** A number of chunks that begin at one shard, `<prefix>/<segment>/<shard>/<0 … chunks-1>.chunk`. */
export const shardChunksSchema = z.strictObject({ shard: count, chunks: count });

/** How a segment of the input was cut into chunks. */
export const segmentSchema = z.strictObject({
  /** Folder of the chunks: that of the try that came to its end first. */
  prefix: z.string(),
  received: count,
  /** Refused while partitioning. */
  rejected: count,
  rows: count,
  shards: z.array(shardChunksSchema).max(256),
  /** Where the next segment begins; null when this is the last. */
  next: positionSchema.nullable(),
});
export type Segment = z.infer<typeof segmentSchema>;

export const countsSchema = z.strictObject({
  inserted: count,
  duplicates: count,
  conflicts: count,
  rejected: count,
  perShard: z.array(z.strictObject({ shard: count, inserted: count })).max(256),
});
/** Figures of an ingestion or of a part of it. `perShard` is ascending by shard, without zeros. */
export type Counts = z.infer<typeof countsSchema>;

/** Why something ended early, in words for the caller. */
export const failureSchema = z.strictObject({ code: z.string(), message: z.string() });
export type Failure = z.infer<typeof failureSchema>;

export const resultSchema = z.strictObject({
  ingestionId: z.string(),
  status: z.enum(['completed', 'failed']),
  received: count,
  ...countsSchema.shape,
  rejects: z.array(rejectSchema),
  conflicting: z.array(rejectSchema),
  failure: failureSchema.optional(),
  startedAt: z.string(),
  finishedAt: z.string(),
});
export type IngestionResult = z.infer<typeof resultSchema>;

export const NO_COUNTS: Counts = {
  inserted: 0,
  duplicates: 0,
  conflicts: 0,
  rejected: 0,
  perShard: [],
};

/** Sum of figures; commutative and associative, so that the order in which parts end does not show. */
export function addCounts(a: Counts, b: Counts): Counts {
  const perShard = new Map(a.perShard.map((entry) => [entry.shard, entry.inserted]));
  for (const { shard, inserted } of b.perShard) {
    perShard.set(shard, (perShard.get(shard) ?? 0) + inserted);
  }
  return {
    inserted: a.inserted + b.inserted,
    duplicates: a.duplicates + b.duplicates,
    conflicts: a.conflicts + b.conflicts,
    rejected: a.rejected + b.rejected,
    perShard: [...perShard]
      .filter(([, inserted]) => inserted > 0)
      .map(([shard, inserted]) => ({ shard, inserted }))
      .sort((left, right) => left.shard - right.shard),
  };
}
