import type { OrchestrationClient } from '../durable/client.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import { mapBounded } from '../kernel/bounded.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import { certificateBlob } from './certificate.ts';
import { forecastStallMs } from './model.ts';
import { recordOf } from './progress.ts';
import type { MoveRecord } from './progress.ts';
import { isOver } from './run-model.ts';
import type { MoveEntry, MoveView, Plan, Rebalance, RunState } from './run-model.ts';
import { createRunStore } from './run-store.ts';
import { isKnown, keepGoing } from './runs.ts';
import { READ_ALL_MOVES } from './size-statements.ts';

const TARGETS_AT_ONCE = 8;
const DEADLINE_MS = 5_000;

/**
 * How far a run is: what its state knows, and the rows of its moves on the targets. A target that does not answer leaves
 * its moves with what the state knows. Undefined when there is no such run. One that stands still because nothing runs
 * under its id is started again.
 */
export async function describeRun(
  services: Services,
  client: OrchestrationClient,
  rebalanceId: string,
): Promise<Rebalance | undefined> {
  const store = createRunStore(services);
  const stored = await store.readRunPlan(rebalanceId);
  const state = (await store.readState(rebalanceId))?.value;
  if (stored === undefined || state === undefined) return undefined;
  if (!(await isKnown(store, rebalanceId, state))) return undefined;
  await keepGoing(client, rebalanceId, state);
  const records = await readRecords(services, rebalanceId, state);
  return viewRun({
    rebalanceId,
    plan: stored.plan,
    state,
    records,
    nowMs: services.clock.nowMs(),
  });
}

type Records = ReadonlyMap<BucketId, MoveRecord>;

async function readRecords(
  { database, logger }: Pick<Services, 'database' | 'logger'>,
  rebalanceId: string,
  state: RunState,
): Promise<Records> {
  const configured = new Set(database.shardIds());
  const begun = state.moves.filter((move) => move.state !== 'waiting');
  const targets = [...new Set(begun.map((move) => move.to))].filter((id) => configured.has(id));
  const parts = await mapBounded(targets, TARGETS_AT_ONCE, async (shardId: ShardId) => {
    try {
      const within = { deadlineMs: DEADLINE_MS };
      return await database.onShard(shardId, (shard) => shard.query(READ_ALL_MOVES, []), within);
    } catch (error) {
      logger.log('warn', 'rebalancing.records_unread', { shardId, ...errorFields(error) });
      return [];
    }
  });
  const records = new Map<BucketId, MoveRecord>();
  for (const row of parts.flat()) {
    const record = recordOf(row);
    if (record?.moveId === rebalanceId) records.set(Number(row['bucket']) as BucketId, record);
  }
  return records;
}

/** Pure. */
export function viewRun(run: {
  readonly rebalanceId: string;
  readonly plan: Plan;
  readonly state: RunState;
  readonly records: Records;
  readonly nowMs: number;
}): Rebalance {
  const { rebalanceId, plan, state, records, nowMs } = run;
  const estimates = new Map(plan.moves.map((move) => [move.bucket, move.estimatedRows]));
  const moves = state.moves.map((move) =>
    viewMove(rebalanceId, move, estimates.get(move.bucket) ?? 0, records.get(move.bucket)),
  );
  const toPurge = state.moves.filter((move) => move.purge !== 'none');
  return {
    rebalanceId,
    status: state.status,
    planHash: plan.planHash,
    progress: progressOf(state, moves, nowMs),
    throttled: isOver(state.status) ? null : state.throttled,
    moves,
    purge: {
      dueAt: state.purgeAtMs === null ? null : timeOf(state.purgeAtMs),
      buckets: toPurge.length,
      purged: toPurge.filter((move) => move.purge === 'done').length,
      rows: toPurge.reduce((sum, move) => sum + move.rowsPurged, 0),
      failed: toPurge.filter((move) => move.purge === 'failed').length,
    },
    startedAt: timeOf(state.startedAtMs),
    finishedAt: state.finishedAtMs === null ? null : timeOf(state.finishedAtMs),
  };
}

function viewMove(
  rebalanceId: string,
  move: MoveEntry,
  estimatedRows: number,
  record: MoveRecord | undefined,
): MoveView {
  const tables = Object.values(record?.progress.tables ?? {});
  const counted = tables.reduce((sum, table) => sum + table.counted, 0);
  const copied = tables.reduce((sum, table) => sum + table.copied, 0);
  const isDone = move.state === 'done';
  const rows = record === undefined ? estimatedRows : Math.max(counted, copied);
  const lastPass = record?.progress.lastPass ?? null;
  const isPublished = isDone || record?.progress.published === true;
  return {
    bucket: move.bucket,
    from: move.from,
    to: move.to,
    phase: phaseOf(move, record),
    rowsCopied: isDone && record === undefined ? rows : copied,
    rows,
    forecastStallMs: lastPass && forecastStallMs(lastPass),
    stallMs: move.stallMs,
    attempts: move.attempts,
    ...(move.lastError !== null && { lastError: move.lastError }),
    certificate: isPublished ? certificateBlob({ id: rebalanceId, bucket: move.bucket }) : null,
    purged: move.purge === 'done',
  };
}

/** The row knows better than the state, which is as old as the round. */
function phaseOf(move: MoveEntry, record: MoveRecord | undefined): MoveView['phase'] {
  switch (move.state) {
    case 'done':
    case 'cancelled':
    case 'failed':
      return move.state;
    case 'giving-up':
    case 'cancelling':
      return record?.phase === 'owned' ? 'switched' : 'cancelling';
    case 'waiting':
    case 'moving':
      if (record === undefined) return 'waiting';
      if (record.phase !== 'owned') return record.phase;
      return record.progress.published ? 'done' : 'switched';
    default:
      return assertNever(move.state);
  }
}

function progressOf(
  state: RunState,
  moves: readonly MoveView[],
  nowMs: number,
): Rebalance['progress'] {
  const left = moves.filter((move) => move.phase !== 'cancelled' && move.phase !== 'failed');
  const rowsCopied = left.reduce((sum, move) => sum + move.rowsCopied, 0);
  const rowsTotal = left.reduce((sum, move) => sum + Math.max(move.rows, move.rowsCopied), 0);
  const bucketsDone = moves.filter((move) => move.phase === 'done').length;
  const seconds = Math.max(0.001, ((state.finishedAtMs ?? nowMs) - state.startedAtMs) / 1_000);
  // Buckets without rows take their time as well: a move counts as ten rows more.
  const work = (rows: number, buckets: number): number => rows + buckets * 10;
  const done = work(rowsCopied, bucketsDone);
  const all = work(rowsTotal, left.length);
  const isMoving = state.status === 'running' && done > 0;
  return {
    bucketsDone,
    buckets: moves.length,
    rowsCopied,
    rowsTotal,
    rate: Math.round((rowsCopied / seconds) * 10) / 10,
    etaSeconds: isMoving ? Math.round(((all - done) / done) * seconds) : null,
  };
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
