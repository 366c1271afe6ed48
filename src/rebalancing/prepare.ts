import { randomUUID } from 'node:crypto';
import type { Shard, SqlRunner } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';
import { readFence, sqlNow } from '../database/ownership.ts';
import type { FenceState } from '../database/ownership.ts';
import { AppError } from '../kernel/errors.ts';
import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';
import { nextMoveStep } from './model.ts';
import type { Move, MoveStep, StuckReason } from './model.ts';
import {
  countRows,
  DELETE_MOVE,
  INSERT_MOVE,
  INSERT_RECEIVING,
  readRowLengths,
  tablesWithRows,
  TURN_TO_RECEIVING,
} from './move-statements.ts';
import { newProgress } from './progress.ts';
import { readRecord, STEP_DEADLINE_MS } from './session.ts';
import type { MoveServices } from './session.ts';

/** Size of one table's part of a bucket at the source. */
export interface TableSize {
  readonly table: string;
  readonly rows: number;
  /** By the server's mean row length: good for a forecast, no more. */
  readonly estimatedBytes: number;
}

/** Why a move cannot begin. */
export type Obstacle =
  | {
      readonly kind: 'rows-at-target';
      readonly tables: readonly string[];
      /** An old copy: purge it first. */ readonly oldCopy: boolean;
    }
  | { readonly kind: 'target-unusable'; readonly message: string }
  | { readonly kind: StuckReason };

export type Preparation =
  /** Received from now on; `resumed` when it was before. */
  | {
      readonly kind: 'prepared';
      readonly epoch: number;
      readonly resumed: boolean;
      readonly sizes: readonly TableSize[];
    }
  /** The move is past its copy: decided, done, or being cancelled. */
  | { readonly kind: 'under-way'; readonly step: MoveStep }
  | { readonly kind: 'obstacle'; readonly obstacle: Obstacle };

/**
 * Looks whether a move can begin and has the target receive the bucket: its ownership row at the source's epoch and the
 * move's record, in one transaction. Readers and writers notice nothing. Idempotent: a move that was prepared is told as
 * `resumed` with what it has.
 *
 * A target that does not answer, takes no writes or is set up wrongly is an obstacle; a source that does not answer throws
 * `shard-unavailable`.
 */
export async function prepareMove(services: MoveServices, move: Move): Promise<Preparation> {
  let prepared = await tryPrepare(services, move);
  // Rows that were read while another delivery switched contradict each other: looked at once more.
  if (prepared.kind === 'obstacle' && prepared.obstacle.kind === 'contradiction') {
    prepared = await tryPrepare(services, move);
  }
  await services.probe.reach('rebalancing.afterPrepare', move.id);
  return prepared;
}

async function tryPrepare(services: MoveServices, move: Move): Promise<Preparation> {
  const { source, sizes } = await onShard(services, move.from, async (shard) => ({
    source: await readFence(shard, move.bucket),
    sizes: await readSizes(shard, move),
  }));
  const ready = { services, move, source, sizes };
  return await tryTarget(services, move, (shard) => prepareTarget(ready, shard));
}

async function tryTarget(
  services: MoveServices,
  move: Move,
  run: (shard: Shard) => Promise<Preparation>,
): Promise<Preparation> {
  try {
    return await onShard(services, move.to, run);
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'internal') throw error;
    return obstacle({ kind: 'target-unusable', message: error.message });
  }
}

interface Ready {
  readonly services: MoveServices;
  readonly move: Move;
  readonly source: FenceState;
  readonly sizes: readonly TableSize[];
}

async function prepareTarget(ready: Ready, shard: Shard): Promise<Preparation> {
  const { move, source, sizes } = ready;
  const target = await readFence(shard, move.bucket);
  const step = nextMoveStep(move, source, target, await readRecord(shard, move));
  if (step.kind === 'stuck') return obstacle({ kind: step.reason });
  if (step.kind === 'copy' || step.kind === 'check' || step.kind === 'await-fence') {
    return { kind: 'prepared', epoch: source.epoch, resumed: true, sizes };
  }
  if (step.kind !== 'prepare') return { kind: 'under-way', step };
  const foreign = (await shard.query(tablesWithRows(move.bucket), [])).map((row) =>
    String(row['t']),
  );
  if (foreign.length > 0) {
    const oldCopy = target.state === 'gone';
    return obstacle({ kind: 'rows-at-target', tables: foreign, oldCopy });
  }
  if (await receive(ready, shard, target)) {
    ready.services.logger.log('info', 'rebalancing.move_prepared', {
      moveId: move.id,
      bucketId: move.bucket,
      from: move.from,
      to: move.to,
      epoch: source.epoch,
    });
    return { kind: 'prepared', epoch: source.epoch, resumed: false, sizes };
  }
  // Someone else was faster: this or another move.
  return await prepareTarget(ready, shard);
}

/** False when the target's row is not what it was. */
async function receive(ready: Ready, shard: Shard, target: FenceState): Promise<boolean> {
  const { services, move, source, sizes } = ready;
  const { bucket } = move;
  const now = sqlNow(services.clock.nowMs());
  const progress = newProgress(new Map(sizes.map(({ table, rows }) => [table, rows])));
  const token = randomUUID();
  const begin = async (tx: SqlRunner): Promise<boolean> => {
    if (target.state === 'absent') {
      await tx.execute(INSERT_RECEIVING, [bucket, source.epoch, now, token]);
    } else {
      const values = [source.epoch, now, token, bucket, target.epoch];
      const { affectedRows } = await tx.execute(TURN_TO_RECEIVING, values);
      if (affectedRows !== 1) return false;
    }
    // Of the bucket's stay here before.
    await tx.execute(DELETE_MOVE, [bucket]);
    const text = JSON.stringify(progress);
    await tx.execute(INSERT_MOVE, [bucket, move.id, move.from, source.epoch, text, now, now]);
    return true;
  };
  try {
    return await shard.transaction(begin);
  } catch (error) {
    if (isFailure(error, 'duplicate')) return false;
    throw error;
  }
}

/** Rows and estimated bytes of the bucket in every table, in the order of the registry. */
async function readSizes(shard: Shard, move: Move): Promise<readonly TableSize[]> {
  const tables = SHARDED_TABLES.map((table) => table.name);
  const counts = await shard.query(countRows(move.bucket), []);
  const lengths = await shard.query(readRowLengths(tables.length), tables);
  const bytes = new Map(lengths.map((row) => [String(row['t']), Number(row['bytes'] ?? 0)]));
  return counts.map((row) => {
    const table = String(row['t']);
    const rows = Number(row['n']);
    return { table, rows, estimatedBytes: rows * (bytes.get(table) ?? 0) };
  });
}

function onShard<T>(
  services: MoveServices,
  shard: Move['from'],
  run: (shard: Shard) => Promise<T>,
): Promise<T> {
  return services.database.onShard(shard, run, { deadlineMs: STEP_DEADLINE_MS });
}

function obstacle(found: Obstacle): Preparation {
  return { kind: 'obstacle', obstacle: found };
}
