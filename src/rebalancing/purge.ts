import type { Shard } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';
import { readFence } from '../database/ownership.ts';
import type { FenceState } from '../database/ownership.ts';
import { BugError } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';
import { assertGone, deleteMove } from './move-statements.ts';
import { deleteFirstRows } from './row-statements.ts';
import { STEP_DEADLINE_MS } from './session.ts';
import type { MoveServices } from './session.ts';

/** Rows of one DELETE: some 10 ms of locks on a range that nobody reads. */
const DELETE_ROWS = 1_000;
/** Redirects followed to find today's owner; more than a bucket's rows on all shards can make in practice. */
const MAX_HOPS = 16;

export interface DeleteOptions {
  /** No chunk is begun after this time. Milliseconds. */
  readonly sliceMs: number;
  /** Waited for before each chunk. */
  readonly throttle?: () => Promise<void>;
}

export type PurgeOutcome =
  /** No row of the bucket is left; its ownership row stays as the way to the owner. */
  | { readonly kind: 'purged'; readonly rows: number }
  /** Call again. */
  | { readonly kind: 'more'; readonly rows: number }
  /** The shard has not given the bucket away: its rows are the bucket's, or a copy under way. */
  | { readonly kind: 'not-gone' }
  /** Nobody that owns the bucket at a later epoch was found: the move is not finished. */
  | { readonly kind: 'owner-unverified' };

/**
 * Deletes a shard's old copy of a bucket that it gave away, in chunks, after looking that another shard owns it since.
 * Each chunk checks the state again in its transaction. Afterwards the bucket may come back. Idempotent.
 */
export async function purgeBucket(
  services: MoveServices,
  old: { readonly bucket: BucketId; readonly shard: ShardId },
  options: DeleteOptions,
): Promise<PurgeOutcome> {
  const { database } = services;
  const within = { deadlineMs: STEP_DEADLINE_MS };
  const row = await readRow(services, old.shard, old.bucket);
  if (row.state !== 'gone' || row.movedTo === null) return { kind: 'not-gone' };
  if (!(await hasLaterOwner(services, old.bucket, row))) return { kind: 'owner-unverified' };
  const run = (statement: string): Promise<number | 'stopped'> =>
    database.onShard(
      old.shard,
      (shard) => packetWrite(shard, assertGone(old.bucket, row.epoch), statement),
      within,
    );
  const deleted = await deleteInChunks(services, old.bucket, options, async (statement) => {
    const rows = await run(statement);
    await services.probe.reach('rebalancing.afterPurgeChunk', String(old.bucket));
    return rows;
  });
  if (deleted.kind === 'more') return { kind: 'more', rows: deleted.rows };
  // The record of how the bucket came here, if it did.
  if (deleted.kind === 'stopped' || (await run(deleteMove(old.bucket))) === 'stopped') {
    return { kind: 'not-gone' };
  }
  const fields = { bucketId: old.bucket, shardId: old.shard, rows: deleted.rows };
  services.logger.log('info', 'rebalancing.bucket_purged', fields);
  return { kind: 'purged', rows: deleted.rows };
}

/** Follows the redirects to a shard that owns the bucket at an epoch of after it was given away. */
async function hasLaterOwner(
  services: MoveServices,
  bucket: BucketId,
  left: FenceState,
): Promise<boolean> {
  let row = left;
  for (let hop = 0; hop < MAX_HOPS && row.movedTo !== null; hop++) {
    const next = await readRow(services, row.movedTo, bucket);
    if (next.epoch < row.epoch) return false;
    if (next.state === 'owned' || next.state === 'fenced') return true;
    if (next.state !== 'gone' || next.epoch === row.epoch) return false;
    row = next;
  }
  return false;
}

function readRow(services: MoveServices, shard: ShardId, bucket: BucketId): Promise<FenceState> {
  const within = { deadlineMs: STEP_DEADLINE_MS };
  return services.database.onShard(shard, (on) => readFence(on, bucket), within);
}

export interface Deletion {
  readonly kind: 'complete' | 'more' | 'stopped';
  readonly rows: number;
}

/**
 * Deletes a bucket's rows from every sharded table, chunk by chunk, until none is left, the time is up, or `run` says
 * that they may not be deleted any more. `run` gives the rows that a statement deleted.
 */
export async function deleteInChunks(
  services: MoveServices,
  bucket: BucketId,
  options: DeleteOptions,
  run: (statement: string) => Promise<number | 'stopped'>,
): Promise<Deletion> {
  const { clock } = services;
  const endsAtMs = clock.monotonicMs() + options.sliceMs;
  let rows = 0;
  for (const table of SHARDED_TABLES) {
    for (;;) {
      if (clock.monotonicMs() >= endsAtMs) return { kind: 'more', rows };
      await options.throttle?.();
      const deleted = await run(deleteFirstRows(table, bucket, DELETE_ROWS));
      if (deleted === 'stopped') return { kind: 'stopped', rows };
      rows += deleted;
      if (deleted < DELETE_ROWS) break;
    }
  }
  return { kind: 'complete', rows };
}

/** Affected rows of one write behind an assertion, in one packet; `stopped` when the assertion does not hold. */
export async function packetWrite(
  shard: Shard,
  assertion: string,
  statement: string,
): Promise<number | 'stopped'> {
  try {
    const result = (await shard.packet([assertion, statement])).at(1);
    if (result === undefined || !('affectedRows' in result)) {
      throw new BugError('a write in a packet gave no result');
    }
    return result.affectedRows;
  } catch (error) {
    if (isFailure(error, 'assertion')) return 'stopped';
    throw error;
  }
}
