import { z } from 'zod';
import { BugError } from '../kernel/errors.ts';
import type { Timestamp } from '../kernel/time.ts';
import type { BlobStore } from '../storage/contracts.ts';
import { crossingSchema } from '../orders/contracts.ts';
import type { ChunkPlan } from './chunks.ts';
import { reportFailureSchema } from './contracts.ts';
import { GROUPINGS, reportResultSchema } from './model.ts';
import type { ReportPart } from './model.ts';

/**
 * The blobs of a report, all below `<reportId>/` of the container `reports`. Each is written once, the first one stays:
 *
 * - `request.json`                what was asked; from here on the report exists
 * - `plan.json`                   when the report was begun, and the buckets of each chunk
 * - `parts/<shard>-<chunk>.json`  the sums of one chunk, and the transfers seen with them; removed at the end
 * - `result.json`                 the result, or why there is none
 */
const CONTAINER = 'reports';

const storedTime = z.custom<Timestamp>((value) => typeof value === 'string').nullable();

const requestSchema = z.strictObject({
  from: storedTime,
  to: storedTime,
  groupBy: z.enum(GROUPINGS),
});

/** `startMs`: milliseconds since 1970, before the first chunk is read. */
export interface StoredPlan {
  readonly startMs: number;
  readonly shards: ChunkPlan;
}

const planSchema: z.ZodType<StoredPlan> = z.strictObject({
  startMs: z.int(),
  shards: z.array(z.strictObject({ shard: z.int(), chunks: z.array(z.array(z.int())) })),
});

const partSchema: z.ZodType<ReportPart> = z.strictObject({
  groups: z.array(z.tuple([z.int(), z.int(), z.string()]).readonly()),
  sightings: z.array(
    z.strictObject({
      end: z.enum(['departure', 'arrival']),
      sagaId: z.string(),
      crossing: crossingSchema,
    }),
  ),
});

const progressSchema = z.strictObject({ chunksDone: z.int(), chunks: z.int() });

const outcomeSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('completed'),
    progress: progressSchema,
    result: reportResultSchema,
  }),
  z.strictObject({
    kind: z.literal('failed'),
    progress: progressSchema,
    failure: reportFailureSchema,
  }),
]);
export type ReportOutcome = z.infer<typeof outcomeSchema>;

/** `MAX_GROUPS` groups of at most 100 characters, and `MAX_SIGHTINGS` transfers of at most 300. */
const MAX_DOCUMENT_BYTES = 48 * 1024 * 1024;
/** One part per bucket at most. */
const MAX_PARTS = 1024;

export type StoredRequest = z.infer<typeof requestSchema>;

/** Names and typed contents of a report's blobs. `settle…` stores a value unless there is one, and gives the one that is there. */
export interface ReportStore {
  readRequest(reportId: string): Promise<StoredRequest | undefined>;
  settleRequest(
    reportId: string,
    request: StoredRequest,
  ): Promise<{ request: StoredRequest; isNew: boolean }>;
  readPlan(reportId: string): Promise<StoredPlan | undefined>;
  settlePlan(reportId: string, plan: StoredPlan): Promise<StoredPlan>;
  readPart(reportId: string, name: PartName): Promise<ReportPart | undefined>;
  settlePart(reportId: string, name: PartName, part: ReportPart): Promise<ReportPart>;
  countParts(reportId: string): Promise<number>;
  removeParts(reportId: string): Promise<void>;
  readOutcome(reportId: string): Promise<ReportOutcome | undefined>;
  settleOutcome(reportId: string, outcome: ReportOutcome): Promise<ReportOutcome>;
}

export interface PartName {
  readonly shard: number;
  readonly chunk: number;
}

export function createReportStore(blobs: BlobStore): ReportStore {
  const read = async <T>(name: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    const text = await blobs.read(CONTAINER, name, MAX_DOCUMENT_BYTES);
    return text === undefined ? undefined : schema.parse(JSON.parse(text));
  };
  const settle = async <T>(
    name: string,
    schema: z.ZodType<T>,
    value: T,
  ): Promise<{ readonly value: T; readonly isNew: boolean }> => {
    if (await blobs.create(CONTAINER, name, JSON.stringify(value))) return { value, isNew: true };
    const first = await read(name, schema);
    if (first === undefined) throw new BugError(`blob ${name} was there and is not`);
    return { value: first, isNew: false };
  };
  const partName = (id: string, { shard, chunk }: PartName): string =>
    `${id}/parts/${shard}-${chunk}.json`;
  return {
    readRequest: (id) => read(`${id}/request.json`, requestSchema),
    settleRequest: async (id, wanted) => {
      const { value, isNew } = await settle(`${id}/request.json`, requestSchema, wanted);
      return { request: value, isNew };
    },
    readPlan: (id) => read(`${id}/plan.json`, planSchema),
    settlePlan: async (id, plan) => (await settle(`${id}/plan.json`, planSchema, plan)).value,
    readPart: (id, name) => read(partName(id, name), partSchema),
    settlePart: async (id, name, part) =>
      (await settle(partName(id, name), partSchema, part)).value,
    countParts: async (id) => (await blobs.list(CONTAINER, `${id}/parts/`, MAX_PARTS)).length,
    removeParts: async (id) => {
      for (const name of await blobs.list(CONTAINER, `${id}/parts/`, MAX_PARTS)) {
        await blobs.delete(CONTAINER, name);
      }
    },
    readOutcome: (id) => read(`${id}/result.json`, outcomeSchema),
    settleOutcome: async (id, outcome) =>
      (await settle(`${id}/result.json`, outcomeSchema, outcome)).value,
  };
}
