import { expect } from 'vitest';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import type { ProbePoint } from '../../../src/kernel/probe.ts';
import type { AdvanceOptions } from '../../../src/rebalancing/advance.ts';
import type { MoveCertificate } from '../../../src/rebalancing/certificate.ts';
import type { Move } from '../../../src/rebalancing/model.ts';
import type { Random } from '../random.ts';
import { insertPlainRows } from './rows.ts';
import { deadAt, Killed, runMove } from './world.ts';
import type { MoverServices, MoveWorld } from './world.ts';
import { startWriters } from './writers.ts';

/** Makes moves of buckets of shard 0 that no test has used, to shard 1, with rows in them. */
export function createMoves(world: () => MoveWorld): (rows?: number) => Promise<Move> {
  let next = 0;
  return async (rows = 600) => {
    const bucket = (next++ * 3) as BucketId;
    if (rows > 0) await world().on(0, (shard) => insertPlainRows(shard, bucket, rows));
    return { id: `move-${bucket}`, bucket, from: 0 as ShardId, to: 1 as ShardId };
  };
}

/** Runs a move on an instance that dies at the point. */
export async function dieAt(
  world: MoveWorld,
  move: Move,
  options: AdvanceOptions,
  point: ProbePoint,
  nth = 1,
): Promise<void> {
  const probe = deadAt(point, nth);
  await expect(runMove(world.instance(probe), move, options)).rejects.toThrow(Killed);
  expect(probe.dead).toBe(true);
}

export async function readCertificate(world: MoveWorld, move: Move): Promise<MoveCertificate> {
  const name = `moves/${move.id}/${String(move.bucket).padStart(4, '0')}.json`;
  return JSON.parse((await world.blobs.read('control', name)) ?? '') as MoveCertificate;
}

/** Writes one row through the owner; gives the shard that took it and how long that took. */
export async function writeOne(
  services: MoverServices,
  move: Move,
  random: Random,
): Promise<{ readonly shard: number; readonly tookMs: number }> {
  const writers = startWriters(services.database, move.bucket, { count: 1, random });
  const startedAt = performance.now();
  const { byShard } = await writers.stop();
  return { shard: Number(Object.keys(byShard)[0]), tookMs: performance.now() - startedAt };
}
