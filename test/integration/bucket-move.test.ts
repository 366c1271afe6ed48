import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AppError } from '../../src/kernel/errors.ts';
import { copyBucket } from '../../src/rebalancing/copy.ts';
import { diffPass } from '../../src/rebalancing/pass.ts';
import { prepareMove } from '../../src/rebalancing/prepare.ts';
import { contentOf, insertRandomRows } from '../support/moves/rows.ts';
import { createMoves, readCertificate } from '../support/moves/scenes.ts';
import { createMoveWorld, runMove, SMALL } from '../support/moves/world.ts';
import type { MoveWorld } from '../support/moves/world.ts';
import { startWriters, type Writers, writtenRows } from '../support/moves/writers.ts';
import { until } from '../support/http.ts';
import { createRandom } from '../support/random.ts';

/** Moving one bucket between real servers (I1, I2, I5): what arrives is what was there, whatever happens meanwhile. */
const random = createRandom();
const WRITERS = 32;
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});

afterAll(() => world.drop());

describe('moving a bucket', () => {
  it('carries every row over, tells the map, and leaves a certificate', async () => {
    const move = await freshMove(2_500);
    const before = await world.on(0, (shard) => contentOf(shard, move.bucket));
    const steps = await runMove(world.services, move);
    expect(steps.map(({ step }) => step)).toEqual(['prepare', 'copy', 'switch', 'done']);
    expect(await world.on(1, (shard) => contentOf(shard, move.bucket))).toEqual(before);
    const [source, target] = await world.ownership(move.bucket);
    expect(source).toMatchObject({ state: 'gone', epoch: 2, movedTo: 1 });
    expect(target).toMatchObject({ state: 'owned', epoch: 2, movedTo: null, token: null });
    const map = await world.services.bucketMap.refresh();
    expect(map.assignment[move.bucket]).toBe(1);
    expect(map.epochs[move.bucket]).toBe(2);
    const certificate = await readCertificate(world, move);
    expect(certificate).toMatchObject({
      sourceEpoch: 1,
      targetEpoch: 2,
      rowsRepairedUnderFence: 0,
    });
    const rows = new Map(certificate.tables.map(({ table, rows: count }) => [table, count]));
    expect(rows.get('orders')).toBe(2_500);
    expect(rows.get('idempotency_keys')).toBe(2_500);
    expect(rows.get('saga_steps')).toBe(250);
    expect(certificate.stallMs).toBeGreaterThan(0);
  });

  it('moves an empty bucket', async () => {
    const move = await freshMove(0);
    const steps = await runMove(world.services, move);
    expect(steps.at(-1)).toEqual({ step: 'done' });
    expect((await world.ownership(move.bucket))[1]).toMatchObject({ state: 'owned', epoch: 2 });
  });

  it('carries values of every kind exactly, also as repairs', async () => {
    const move = await freshMove(0);
    await world.on(0, (shard) => insertRandomRows(shard, move.bucket, 40, random));
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, { ...SMALL, chunkRows: 3 });
    // What only the passes can find: new rows, changed ones, and rows that are gone.
    await world.on(0, async (shard) => {
      await insertRandomRows(shard, move.bucket, 15, random);
      for (const change of [
        'UPDATE sagas SET outcome = NULL WHERE bucket = ? ORDER BY saga_id LIMIT 5',
        "UPDATE users SET email = CONCAT(email, ' ') WHERE bucket = ? AND CHAR_LENGTH(email) < 300 LIMIT 5",
        'DELETE FROM saga_audit WHERE bucket = ? ORDER BY saga_id LIMIT 5',
        'DELETE FROM idempotency_keys WHERE bucket = ? ORDER BY scope, key_hash LIMIT 5',
      ]) {
        await shard.execute(change, [move.bucket]);
      }
    });
    const { figures } = await diffPass(world.services, move);
    expect(figures.rowsDiffering, `seed ${random.seed}`).toBeGreaterThan(8 * 10);
    const steps = await runMove(world.services, move);
    expect(steps.at(-1), `seed ${random.seed}`).toEqual({ step: 'done' });
    const before = await world.on(0, (shard) => contentOf(shard, move.bucket));
    const after = await world.on(1, (shard) => contentOf(shard, move.bucket));
    expect(after, `seed ${random.seed}`).toEqual(before);
    expect(before.length).toBeGreaterThan(8 * 30);
  });

  it('loses and doubles nothing while 32 writers insert, change and delete', async () => {
    const move = await freshMove(3_000);
    const writers = startWriters(world.instance().database, move.bucket, {
      count: WRITERS,
      random,
    });
    // Otherwise nothing would be proven: both shards are written to.
    await writtenTo(writers, 0);
    const steps = await runMove(world.services, move, { ...SMALL, stallLimitMs: 1_000 });
    await writtenTo(writers, 1);
    const figures = await writers.stop();
    expect(steps.at(-1)).toEqual({ step: 'done' });
    const found = await world.on(1, (shard) => writtenRows(shard, move.bucket));
    expect(found, `seed ${random.seed}`).toEqual(writers.expected);
    const states = await world.ownership(move.bucket);
    expect(states.filter(({ state }) => state === 'owned')).toHaveLength(1);
    expect(figures.byShard[0]).toBeGreaterThan(50);
    expect(figures.byShard[1]).toBeGreaterThan(50);
    const { stallMs, passes, rowsRepairedUnderFence } = await readCertificate(world, move);
    const switched = steps.flatMap((step) =>
      step.step === 'switch' && step.outcome.kind === 'switched' ? [step.outcome.parts] : [],
    );
    console.log(
      `move, ${world.databases.engine}: ${WRITERS} writers, ${figures.writes} writes acknowledged, 0 lost, 0 doubled, ` +
        `${passes} passes, ${rowsRepairedUnderFence} rows repaired under the fence, stall ${stallMs} ms ` +
        `(fence, verification, decision: ${switched.join()}), ` +
        `longest write ${figures.longestMs} ms (seed ${random.seed})`,
    );
  });

  it('is done once when two movers do it at once', async () => {
    const move = await freshMove(1_500);
    const before = await world.on(0, (shard) => contentOf(shard, move.bucket));
    const outcomes = await Promise.allSettled(
      [world.instance(), world.instance()].map((services) => runMove(services, move)),
    );
    // The one that was overtaken says so, and finds the move done when it looks again.
    const failures = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(failures.filter((error) => (error as AppError).code !== 'conflict')).toEqual([]);
    expect((await runMove(world.services, move)).at(-1)).toEqual({ step: 'done' });
    expect(await world.on(1, (shard) => contentOf(shard, move.bucket))).toEqual(before);
    expect(await world.ownership(move.bucket)).toMatchObject([
      { state: 'gone', epoch: 2 },
      { state: 'owned', epoch: 2 },
      { state: 'absent' },
    ]);
  });
});

async function writtenTo(writers: Writers, shard: number): Promise<void> {
  const limits = { timeoutMs: 30_000, everyMs: 20 };
  await until(
    () => Promise.resolve(writers.written(shard)),
    (count) => count > 50,
    limits,
  );
}
