import { implement } from '../durable/implement.ts';
import type { DurableModule } from '../durable/register.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { startDeadline } from '../kernel/deadline.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import type { BucketId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { planChunks } from './chunks.ts';
import type { ChunkPlan } from './chunks.ts';
import { finishReport, planReport, revenueContracts, sumChunk } from './contracts.ts';
import type { ReportFailure } from './contracts.ts';
import { MAX_GROUPS, mergeGroups, reportResult } from './model.ts';
import type { GroupSum, ReportRequest } from './model.ts';
import { lane, report } from './orchestrators.ts';
import { createReportStore } from './report-store.ts';
import type { ReportOutcome, ReportStore } from './report-store.ts';
import { sumBucketGroups, sumOneBucketGroups, tooManyGroups } from './store.ts';

export type ReportServices = Pick<
  Services,
  'blobs' | 'bucketMap' | 'clock' | 'config' | 'database' | 'probe'
>;

/** Moved buckets of one chunk that are asked for at the same time. */
const STRAYS_AT_ONCE = 4;

export const planReportActivity = implement(
  planReport,
  ({ blobs, bucketMap, config }: ReportServices) =>
    async ({ reportId }) => {
      const { assignment } = await bucketMap.refresh();
      const store = createReportStore(blobs);
      const plan = await store.settlePlan(
        reportId,
        planChunks(assignment, config.REVENUE_CHUNK_BUCKETS),
      );
      const shards = plan.map(({ shard, chunks }) => ({ shard, chunks: chunks.length }));
      return { shards, maxShardsAtOnce: config.REVENUE_MAX_SHARDS_AT_ONCE };
    },
);

export const sumChunkActivity = implement(
  sumChunk,
  (services: ReportServices) =>
    async ({ reportId, shard, chunk }) => {
      const store = createReportStore(services.blobs);
      const part = { shard, chunk };
      // After a crash between the blob and its record: the scan need not be repeated.
      const done = await store.readPart(reportId, part);
      if (done !== undefined) return { groups: done.length };
      const request = required(await store.readRequest(reportId));
      const plan = required(await store.readPlan(reportId));
      const buckets = required(plan.find((entry) => entry.shard === shard)?.chunks[chunk]);
      const groups = await sumBuckets(services, { shard, buckets, request });
      await store.settlePart(reportId, part, groups);
      await services.probe.reach('revenue.afterChunk');
      return { groups: groups.length };
    },
);

export const finishReportActivity = implement(
  finishReport,
  ({ blobs }: ReportServices) =>
    async ({ reportId, failure }) => {
      const store = createReportStore(blobs);
      const outcome =
        (await store.readOutcome(reportId)) ??
        (await store.settleOutcome(reportId, await concludeReport(store, reportId, failure)));
      await store.removeParts(reportId);
      return { groups: outcome.kind === 'completed' ? outcome.result.groups.length : 0 };
    },
);

async function concludeReport(
  store: ReportStore,
  reportId: string,
  failure: ReportFailure | undefined,
): Promise<ReportOutcome> {
  const plan = (await store.readPlan(reportId)) ?? [];
  const chunks = plan.reduce((sum, shard) => sum + shard.chunks.length, 0);
  const progress = { chunksDone: await store.countParts(reportId), chunks };
  if (failure !== undefined) return { kind: 'failed', progress, failure };
  try {
    return { kind: 'completed', progress, result: await mergeParts(store, reportId, plan) };
  } catch (error) {
    if (!(error instanceof PermanentError)) throw error;
    return { kind: 'failed', progress, failure: { code: error.code, message: error.message } };
  }
}

interface Chunk {
  /** The owner by the plan. */
  readonly shard: number;
  readonly buckets: readonly number[];
  readonly request: ReportRequest;
}

/**
 * The sums of a chunk's buckets, each counted once: those that the planned shard owns in one statement, and those
 * that have moved since each at its owner.
 */
async function sumBuckets(services: ReportServices, chunk: Chunk): Promise<GroupSum[]> {
  const { database, clock, config } = services;
  const deadline = startDeadline(clock, config.REVENUE_DEADLINE_MS);
  const planned = database.shardIds().find((shard) => shard === chunk.shard);
  const answer =
    planned === undefined
      ? { counted: new Set<number>(), groups: [] }
      : await database.onShard(
          planned,
          (shard) => sumBucketGroups(shard, chunk.buckets, chunk.request),
          { deadlineMs: deadline.remainingMs() },
        );
  const strays = chunk.buckets.filter((bucket) => !answer.counted.has(bucket));
  const moved = await mapBounded(strays, STRAYS_AT_ONCE, (bucket) =>
    sumAtOwner(services, bucket as BucketId, chunk.request, deadline),
  );
  return boundedMerge([answer.groups, ...moved]);
}

function sumAtOwner(
  { database }: ReportServices,
  bucket: BucketId,
  request: ReportRequest,
  deadline: Deadline,
): Promise<readonly GroupSum[]> {
  return database.onOwner(bucket, (shard) => sumOneBucketGroups(shard, bucket, request), {
    deadlineMs: deadline.remainingMs(),
  });
}

/** One part in memory at a time, besides the sums so far. */
async function mergeParts(
  store: ReportStore,
  reportId: string,
  plan: ChunkPlan,
): Promise<ReturnType<typeof reportResult>> {
  const request = required(await store.readRequest(reportId));
  let merged: GroupSum[] = [];
  for (const { shard, chunks } of plan) {
    for (const chunk of chunks.keys()) {
      const part = required(await store.readPart(reportId, { shard, chunk }));
      merged = boundedMerge([merged, part]);
    }
  }
  return reportResult(merged, request.groupBy);
}

function boundedMerge(lists: readonly (readonly GroupSum[])[]): GroupSum[] {
  const merged = mergeGroups(lists);
  if (merged.length > MAX_GROUPS) throw tooManyGroups();
  return merged;
}

/** What an earlier step has stored; without it there is nothing to go on with. */
function required<T>(value: T | undefined): T {
  if (value === undefined) throw new BugError('a document of the report is missing');
  return value;
}

/** What the slice brings to `registerDurable`. */
export const revenueDurable: DurableModule<ReportServices> = {
  contracts: revenueContracts,
  activities: [planReportActivity, sumChunkActivity, finishReportActivity],
  orchestrations: [lane, report],
};
