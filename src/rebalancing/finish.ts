import { isGivenAway, readFence, sqlNow, takeBucketOver } from '../database/ownership.ts';
import { BugError, RetryableError } from '../kernel/errors.ts';
import { fromSqlDatetime } from '../kernel/time.ts';
import { assignBucket } from '../sharding/bucket-map.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import { certificateBlob, certificateOf } from './certificate.ts';
import type { Move } from './model.ts';
import { SAVE_PUBLISHED } from './move-statements.ts';
import type { MoveRecord } from './progress.ts';
import { notHeld, readRecord, STEP_DEADLINE_MS } from './session.ts';
import type { MoveServices } from './session.ts';

export interface MoveFinish {
  readonly mapVersion: number;
  /** Blob in `control`. */
  readonly certificate: string;
}

/** Others change the map for milliseconds; more rounds mean that something is wrong with it. */
const MAP_ROUNDS = 50;
const BETWEEN_ROUNDS_MS = 50;

/**
 * Does what follows from a decided move: the target owns the bucket, the map says so, the certificate is stored.
 * Idempotent; several may do it at once. Throws `conflict` (retryable) when the move is not decided.
 */
export async function finishMove(
  services: MoveServices,
  move: Move,
  measured: { readonly stallMs: number | null } = { stallMs: null },
): Promise<MoveFinish> {
  const { clock, probe } = services;
  const record = await ownedRecord(services, move);
  const map = await publish(services, move, record.epoch + 1);
  await probe.reach('rebalancing.afterMap', move.id);
  const certificate = certificateOf(move, record, {
    ...measured,
    mapVersion: map.version,
    startedAt: fromSqlDatetime(record.startedAt),
    publishedAt: new Date(clock.nowMs()).toISOString(),
  });
  if (certificate === undefined) throw new BugError('a decided move was not verified');
  const name = certificateBlob(move);
  // The first one stays: it is the one that may know the stall.
  await services.blobs.create('control', name, JSON.stringify(certificate, null, 2));
  await probe.reach('rebalancing.afterCertificate', move.id);
  const progress = JSON.stringify({ ...record.progress, published: true });
  await services.database.onShard(
    move.to,
    (shard) =>
      shard.execute(SAVE_PUBLISHED, [progress, sqlNow(clock.nowMs()), move.bucket, move.id]),
    { deadlineMs: STEP_DEADLINE_MS },
  );
  return { mapVersion: map.version, certificate: name };
}

/** The record of the move at the target, which owns the bucket from here on. */
async function ownedRecord(services: MoveServices, move: Move): Promise<MoveRecord> {
  const within = { deadlineMs: STEP_DEADLINE_MS };
  const { bucket } = move;
  const source = await services.database.onShard(
    move.from,
    (shard) => readFence(shard, bucket),
    within,
  );
  return await services.database.onShard(
    move.to,
    async (shard) => {
      const record = await readRecord(shard, move);
      if (record?.moveId !== move.id) throw notHeld(move);
      const { epoch } = record;
      if (!isGivenAway(source, { epoch, to: move.to })) throw notHeld(move);
      await takeBucketOver(shard, { bucket, epoch, nowMs: services.clock.nowMs() });
      return record;
    },
    within,
  );
}

async function publish(services: MoveServices, move: Move, epoch: number): Promise<BucketMap> {
  const { bucketMapStore, bucketMap, clock } = services;
  for (let round = 1; round <= MAP_ROUNDS; round++) {
    const live = await bucketMapStore.load();
    const updatedAt = new Date(clock.nowMs()).toISOString();
    const next = assignBucket(live.map, { bucket: move.bucket, to: move.to, epoch, updatedAt });
    if (next === undefined) return live.map;
    const stored = await bucketMapStore.replace(live, next);
    if (stored !== undefined) {
      await bucketMap.refresh();
      return stored.map;
    }
    await clock.sleep(BETWEEN_ROUNDS_MS);
  }
  throw new RetryableError('conflict', 'The bucket map is being changed by others all the time.');
}
