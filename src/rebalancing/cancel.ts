import { randomUUID } from 'node:crypto';
import type { Shard } from '../database/contracts.ts';
import { isGivenAway, readFence, sqlNow, unfenceBucket } from '../database/ownership.ts';
import type { Move } from './model.ts';
import {
  assertReceiving,
  CLAIM_TO_CANCEL,
  DELETE_MOVE,
  MARK_CANCELLING,
  SEND_BACK,
  UNMARK_CANCELLING,
} from './move-statements.ts';
import { deleteInChunks, packetWrite } from './purge.ts';
import type { DeleteOptions } from './purge.ts';
import { notHeld, readRecord, STEP_DEADLINE_MS } from './session.ts';
import type { MoveServices } from './session.ts';

export type CancelOutcome =
  /** The target has no row of the bucket any more and points at the source; the source is as it was. */
  | { readonly kind: 'cancelled'; readonly rows: number }
  /** Call again. */
  | { readonly kind: 'more'; readonly rows: number }
  /** The source has given the bucket away: the move must be finished, and the way back is another move. */
  | { readonly kind: 'too-late' }
  /** The target receives nothing for this move. */
  | { readonly kind: 'nothing-to-cancel' };

/**
 * Takes a move back that is not decided yet. First the target's record is marked, so that no delivery can claim the move
 * any more and whoever has a fence up cannot renew its claim; then the fence is lifted, which excludes a decision that
 * is under way, on one row; only then rows are deleted. Idempotent; goes on after a crash.
 */
export async function cancelMove(
  services: MoveServices,
  move: Move,
  options: DeleteOptions,
): Promise<CancelOutcome> {
  const { database, probe } = services;
  const within = { deadlineMs: STEP_DEADLINE_MS };
  // A token for each try: one that comes late must not let this cancellation delete what was received since.
  const marked = await database.onShard(
    move.to,
    (shard) => mark(shard, services, move, randomUUID()),
    within,
  );
  if (marked === undefined) return { kind: 'nothing-to-cancel' };
  await probe.reach('rebalancing.afterCancelMark', move.id);
  const undecided = await database.onShard(
    move.from,
    (shard) => liftOrRefuse(shard, services, move, marked.epoch),
    within,
  );
  if (!undecided) {
    const values = [sqlNow(services.clock.nowMs()), move.bucket, move.id];
    await database.onShard(move.to, (shard) => shard.execute(UNMARK_CANCELLING, values), within);
    return { kind: 'too-late' };
  }
  await probe.reach('rebalancing.afterCancelLift', move.id);
  return await removeCopy(services, move, marked.token, options);
}

async function mark(
  shard: Shard,
  services: MoveServices,
  move: Move,
  token: string,
): Promise<{ readonly epoch: number; readonly token: string } | undefined> {
  const now = sqlNow(services.clock.nowMs());
  return await shard.transaction(async (tx) => {
    const values = [token, now, move.bucket, move.id];
    const { affectedRows } = await tx.execute(CLAIM_TO_CANCEL, values);
    if (affectedRows !== 1) return undefined;
    await tx.execute(MARK_CANCELLING, [now, move.bucket]);
    const record = await readRecord(tx, move);
    return record && { epoch: record.epoch, token };
  });
}

/** False when the move is decided. */
async function liftOrRefuse(
  shard: Shard,
  services: MoveServices,
  move: Move,
  epoch: number,
): Promise<boolean> {
  const { bucket } = move;
  const { state, epoch: at, token } = await readFence(shard, bucket);
  if (state === 'fenced' && at === epoch && token !== null) {
    await unfenceBucket(shard, { bucket, epoch, token, nowMs: services.clock.nowMs() });
  }
  return !isGivenAway(await readFence(shard, bucket), { epoch, to: move.to });
}

async function removeCopy(
  services: MoveServices,
  move: Move,
  token: string,
  options: DeleteOptions,
): Promise<CancelOutcome> {
  const { database } = services;
  const within = { deadlineMs: STEP_DEADLINE_MS };
  const deleted = await deleteInChunks(services, move.bucket, options, async (statement) => {
    const rows = await database.onShard(
      move.to,
      (shard) => packetWrite(shard, assertReceiving(move.bucket, shard.literal(token)), statement),
      within,
    );
    await services.probe.reach('rebalancing.afterCancelChunk', move.id);
    return rows;
  });
  if (deleted.kind === 'stopped') throw notHeld(move);
  if (deleted.kind === 'more') return { kind: 'more', rows: deleted.rows };
  const values = [move.from, sqlNow(services.clock.nowMs()), move.bucket, token];
  await database.onShard(
    move.to,
    (shard) =>
      shard.transaction(async (tx) => {
        const { affectedRows } = await tx.execute(SEND_BACK, values);
        if (affectedRows === 1) await tx.execute(DELETE_MOVE, [move.bucket]);
      }),
    within,
  );
  const fields = { moveId: move.id, bucketId: move.bucket, rows: deleted.rows };
  services.logger.log('info', 'rebalancing.move_cancelled', fields);
  return { kind: 'cancelled', rows: deleted.rows };
}
