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
import { correctionsOf, halfSeen } from './crossings.ts';
import type { Sighting } from './crossings.ts';
import { correctionGroups, MAX_GROUPS, mergeGroups, reportResult } from './model.ts';
import type { GroupSum, ReportPart } from './model.ts';
import { lane, report } from './orchestrators.ts';
import { createReportStore } from './report-store.ts';
import type { ReportOutcome, ReportStore } from './report-store.ts';
import { MAX_SIGHTINGS } from './statements.ts';
import { sumBucketGroups, sumOneBucketGroups, tooManyGroups, tooManySightings } from './store.ts';
import type { ReportQuestion } from './store.ts';

export type ReportServices = Pick<
  Services,
  'blobs' | 'bucketMap' | 'clock' | 'config' | 'database' | 'probe'
>;

/** Moved buckets of one chunk that are asked for at the same time. */
const STRAYS_AT_ONCE = 4;

export const planReportActivity = implement(
  planReport,
  ({ blobs, bucketMap, clock, config }: ReportServices) =>
    async ({ reportId }) => {
      const { assignment } = await bucketMap.refresh();
      const store = createReportStore(blobs);
      const plan = await store.settlePlan(reportId, {
        startMs: clock.nowMs(),
        shards: planChunks(assignment, config.REVENUE_CHUNK_BUCKETS),
      });
      const shards = plan.shards.map(({ shard, chunks }) => ({ shard, chunks: chunks.length }));
      return { shards, maxShardsAtOnce: config.REVENUE_MAX_SHARDS_AT_ONCE };
    },
);

export const sumChunkActivity = implement(
  sumChunk,
  (services: ReportServices) =>
    async ({ reportId, shard, chunk }) => {
      const store = createReportStore(services.blobs);
      const name = { shard, chunk };
      // After a crash between the blob and its record: the scan need not be repeated.
      const done = await store.readPart(reportId, name);
      if (done !== undefined) return { groups: done.groups.length };
      const request = required(await store.readRequest(reportId));
      const plan = required(await store.readPlan(reportId));
      const buckets = required(plan.shards.find((entry) => entry.shard === shard)?.chunks[chunk]);
      const question = { ...request, startMs: plan.startMs };
      const part = await sumBuckets(services, { shard, buckets, question });
      await store.settlePart(reportId, name, part);
      await services.probe.reach('revenue.afterChunk');
      return { groups: part.groups.length };
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
  const plan = (await store.readPlan(reportId))?.shards ?? [];
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
  readonly question: ReportQuestion;
}

/**
 * The sums of a chunk's buckets, each counted once: those that the planned shard owns in one statement, and those
 * that have moved since each at its owner.
 */
async function sumBuckets(services: ReportServices, chunk: Chunk): Promise<ReportPart> {
  const { database, clock, config } = services;
  const deadline = startDeadline(clock, config.REVENUE_DEADLINE_MS);
  const planned = database.shardIds().find((shard) => shard === chunk.shard);
  const answer =
    planned === undefined
      ? { counted: new Set<number>(), part: { groups: [], sightings: [] } }
      : await database.onShard(
          planned,
          (shard) => sumBucketGroups(shard, chunk.buckets, chunk.question),
          { deadlineMs: deadline.remainingMs() },
        );
  const strays = chunk.buckets.filter((bucket) => !answer.counted.has(bucket));
  const moved = await mapBounded(strays, STRAYS_AT_ONCE, (bucket) =>
    sumAtOwner(services, bucket as BucketId, chunk.question, deadline),
  );
  const parts = [answer.part, ...moved];
  return {
    groups: boundedMerge(parts.map(({ groups }) => groups)),
    sightings: boundedHalf(parts.flatMap(({ sightings }) => sightings)),
  };
}

function sumAtOwner(
  { database }: ReportServices,
  bucket: BucketId,
  question: ReportQuestion,
  deadline: Deadline,
): Promise<ReportPart> {
  return database.onOwner(bucket, (shard) => sumOneBucketGroups(shard, bucket, question), {
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
  let open: Sighting[] = [];
  for (const { shard, chunks } of plan) {
    for (const chunk of chunks.keys()) {
      const part = required(await store.readPart(reportId, { shard, chunk }));
      merged = boundedMerge([merged, part.groups]);
      open = boundedHalf([...open, ...part.sightings]);
    }
  }
  const groups = boundedMerge([merged, correctionGroups(correctionsOf(open), request)]);
  return reportResult(
    groups.filter(([, orders]) => orders > 0),
    request.groupBy,
  );
}

function boundedMerge(lists: readonly (readonly GroupSum[])[]): GroupSum[] {
  const merged = mergeGroups(lists);
  if (merged.length > MAX_GROUPS) throw tooManyGroups();
  return merged;
}

/** Most transfers have both ends in what was read; only the others are kept. */
function boundedHalf(sightings: readonly Sighting[]): Sighting[] {
  const open = halfSeen(sightings);
  if (open.length > MAX_SIGHTINGS) throw tooManySightings();
  return open;
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
