import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import type { Probe, ProbePoint } from '../../src/kernel/probe.ts';
import type { MoveCertificate } from '../../src/rebalancing/certificate.ts';
import { copyBucket } from '../../src/rebalancing/copy.ts';
import type { Move } from '../../src/rebalancing/model.ts';
import { diffPass } from '../../src/rebalancing/pass.ts';
import { prepareMove } from '../../src/rebalancing/prepare.ts';
import { switchBucket } from '../../src/rebalancing/switch.ts';
import { insertPlainRows } from '../support/moves/rows.ts';
import { createMoveWorld, deadAt, heldAt, Killed, runMove, SMALL } from '../support/moves/world.ts';
import type { MoverServices, MoveWorld } from '../support/moves/world.ts';
import { startWriters, writtenRows } from '../support/moves/writers.ts';
import { createRandom } from '../support/random.ts';

/** Movers that die, come late or come twice (I1, I2): whatever they leave, the bucket has one owner and all its rows. */
const random = createRandom();
const OPTIONS = { ...SMALL, holdMs: 700, stallLimitMs: 5_000 };
let world: MoveWorld;
let nextBucket = 0;

beforeAll(async () => {
  world = await createMoveWorld();
});

afterAll(() => world.drop());

async function freshMove(rows = 600): Promise<Move> {
  const bucket = (nextBucket++ * 3) as BucketId;
  await world.on(0, (shard) => insertPlainRows(shard, bucket, rows));
  return { id: `move-${bucket}`, bucket, from: 0 as ShardId, to: 1 as ShardId };
}

/** Runs a move on an instance that dies at the point. */
async function dieAt(move: Move, point: ProbePoint, nth = 1): Promise<void> {
  const probe = deadAt(point, nth);
  await expect(runMove(world.instance(probe), move, OPTIONS)).rejects.toThrow(Killed);
  expect(probe.dead).toBe(true);
}

/** Puts one order in through the owner; gives the shard that took it and how long that took. */
async function putOrder(
  services: MoverServices,
  move: Move,
): Promise<{ readonly shard: number; readonly tookMs: number }> {
  const writers = startWriters(services.database, move.bucket, { count: 1, random });
  const startedAt = performance.now();
  const { byShard } = await writers.stop();
  return { shard: Number(Object.keys(byShard)[0]), tookMs: performance.now() - startedAt };
}

async function expectMoved(move: Move): Promise<void> {
  expect(await world.ownership(move.bucket)).toMatchObject([
    { state: 'gone', epoch: 2, movedTo: 1 },
    { state: 'owned', epoch: 2 },
    { state: 'absent' },
  ]);
  const map = await world.services.bucketMap.refresh();
  expect(map.assignment[move.bucket]).toBe(1);
}

async function certificateOf(move: Move): Promise<MoveCertificate> {
  const name = `moves/${move.id}/${String(move.bucket).padStart(4, '0')}.json`;
  return JSON.parse((await world.blobs.read('control', name)) ?? '') as MoveCertificate;
}

const POINTS: readonly (readonly [ProbePoint, number])[] = [
  ['rebalancing.afterPrepare', 1],
  ['rebalancing.beforeChunk', 2],
  ['rebalancing.afterChunk', 2],
  ['rebalancing.beforeRepair', 1],
  ['rebalancing.afterPass', 1],
  ['rebalancing.beforeFence', 1],
  ['rebalancing.afterFence', 1],
  ['rebalancing.beforeGiveAway', 1],
  ['rebalancing.afterGiveAway', 1],
  ['rebalancing.afterTakeOver', 1],
  ['rebalancing.afterMap', 1],
  ['rebalancing.afterCertificate', 1],
];

describe('a mover that dies', () => {
  it.each(POINTS)('at %s (time %d) is followed by one that ends the move', async (point, nth) => {
    const move = await freshMove();
    const writers = startWriters(world.instance().database, move.bucket, { count: 6, random });
    await dieAt(move, point, nth);
    await systemClock.sleep(100);
    const steps = await runMove(world.instance(), move, OPTIONS);
    await systemClock.sleep(50);
    await writers.stop();
    expect(steps.at(-1)).toEqual({ step: 'done' });
    await expectMoved(move);
    const found = await world.on(1, (shard) => writtenRows(shard, move.bucket));
    expect(found).toEqual(writers.expected);
    expect(
      (await certificateOf(move)).tables.find(({ table }) => table === 'orders')?.rows,
    ).toBeGreaterThanOrEqual(600);
  });

  it('while the bucket is fenced: writers go on at the source after the end of the fence', async () => {
    const move = await freshMove();
    await dieAt(move, 'rebalancing.beforeGiveAway');
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'fenced' });
    const writer = world.instance();
    const { shard, tookMs } = await putOrder(writer, move);
    expect(shard).toBe(0);
    expect(tookMs).toBeLessThan(OPTIONS.holdMs + 1_500);
    expect((await world.ownership(move.bucket))[0]).toMatchObject({
      state: 'owned',
      epoch: 1,
      token: null,
    });
    expect(writer.logger.events.map(({ event }) => event)).toContain('database.bucket_mended');
    console.log(
      `dead mover behind a fence of ${OPTIONS.holdMs} ms, ${world.databases.engine}: a write took ${tookMs.toFixed(0)} ms`,
    );
  });

  it('after its decision: a writer makes the target the owner, and the move is ended by the next', async () => {
    const move = await freshMove();
    await dieAt(move, 'rebalancing.afterGiveAway');
    expect((await world.ownership(move.bucket)).map(({ state }) => state)).toEqual([
      'gone',
      'receiving',
      'absent',
    ]);
    const { shard, tookMs } = await putOrder(world.instance(), move);
    expect(shard).toBe(1);
    expect(tookMs).toBeLessThan(2_000);
    expect((await world.ownership(move.bucket))[1]).toMatchObject({ state: 'owned', epoch: 2 });
    expect((await runMove(world.instance(), move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    await expectMoved(move);
    expect((await certificateOf(move)).stallMs).toBeNull();
  });
});

describe('a mover that comes late', () => {
  it('can write nothing over what later deliveries and users have written', async () => {
    const move = await freshMove(300);
    const held = heldAt('rebalancing.beforeChunk');
    const late = runMove(world.instance(held.probe), move, OPTIONS);
    late.catch(() => undefined);
    await held.reached;
    // What it has read and not written yet: one row that is deleted and one that is changed before the move ends.
    const { bucket } = move;
    await world.on(0, (shard) =>
      shard.execute('DELETE FROM orders WHERE bucket = ? AND order_id = 1', [bucket]),
    );
    expect((await runMove(world.instance(), move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    await world.on(1, (shard) =>
      shard.execute('UPDATE orders SET amount_cents = 5 WHERE bucket = ? AND order_id = 2', [
        bucket,
      ]),
    );
    held.letGo();
    await expect(late).rejects.toMatchObject({ code: 'conflict' });
    const rows = await world.on(1, (shard) =>
      shard.query(
        'SELECT order_id, amount_cents FROM orders WHERE bucket = ? AND order_id < 4 ORDER BY order_id',
        [bucket],
      ),
    );
    expect(rows.map((row) => [row['order_id'], row['amount_cents']])).toEqual([
      ['2', 5],
      ['3', 9],
    ]);
  });

  it('can bring no row back that was deleted since it read it, also while the bucket is still being received', async () => {
    const move = await freshMove(300);
    const { bucket } = move;
    const early = heldAt('rebalancing.beforeChunk');
    const late = runMove(world.instance(early.probe), move, OPTIONS);
    late.catch(() => undefined);
    await early.reached;
    await world.on(0, (shard) =>
      shard.execute('DELETE FROM orders WHERE bucket = ? AND order_id = 1', [bucket]),
    );
    const verified = heldAt('rebalancing.beforeGiveAway');
    const options = { ...OPTIONS, holdMs: 5_000 };
    const moving = runMove(world.instance(verified.probe), move, options);
    await verified.reached;
    early.letGo();
    await expect(late).rejects.toMatchObject({ code: 'conflict' });
    verified.letGo();
    expect((await moving).at(-1)).toEqual({ step: 'done' });
    const rows = await world.on(1, (shard) =>
      shard.query('SELECT MIN(order_id) AS id, COUNT(*) AS n FROM orders WHERE bucket = ?', [
        bucket,
      ]),
    );
    expect(rows).toEqual([{ id: '2', n: '299' }]);
  });

  it('verifies under a token that none of its own earlier writes has', async () => {
    const move = await freshMove(10);
    const tokens: (string | null)[] = [];
    const watched: Probe = {
      reach: async (point) => {
        if (point !== 'rebalancing.afterPass' && point !== 'rebalancing.beforeGiveAway') return;
        tokens.push((await world.ownership(move.bucket))[1]?.token ?? null);
      },
    };
    await runMove(world.instance(watched), move, OPTIONS);
    expect(tokens).toHaveLength(2);
    expect(new Set(tokens).size).toBe(2);
    expect(tokens).not.toContain(null);
  });

  it('does not switch when rows change under the fence, which no write of the service can do', async () => {
    const move = await freshMove(300);
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, OPTIONS);
    const past = (orderId: number): Promise<unknown> =>
      world.on(0, (shard) =>
        shard.execute('UPDATE orders SET amount_cents = 1 WHERE bucket = ? AND order_id = ?', [
          move.bucket,
          orderId,
        ]),
      );
    const rogue: Probe = {
      reach: async (point) => {
        if (point === 'rebalancing.afterFence') await past(10);
        if (point === 'rebalancing.beforeRepair') await past(20);
      },
    };
    const outcome = await switchBucket(world.instance(rogue), move, { ...OPTIONS, holdMs: 5_000 });
    expect(outcome).toMatchObject({
      kind: 'lifted',
      reason: 'unsettled',
      figures: { rowsDiffering: 1, chunksUnsettled: 1 },
    });
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'owned', epoch: 1 });
  });

  it('loses its fence when another delivery claimed the move', async () => {
    const move = await freshMove(300);
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, OPTIONS);
    const held = heldAt('rebalancing.afterFence');
    const first = switchBucket(world.instance(held.probe), move, { ...OPTIONS, holdMs: 5_000 });
    await held.reached;
    await diffPass(world.instance(), move);
    held.letGo();
    expect(await first).toMatchObject({ kind: 'lifted', reason: 'lost' });
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'owned', epoch: 1 });
  });

  it('lifts its fence when the time is over', async () => {
    const move = await freshMove(300);
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, OPTIONS);
    const slow: Probe = {
      reach: (point) => (point === 'rebalancing.afterFence' ? systemClock.sleep(300) : undefined),
    };
    const outcome = await switchBucket(world.instance(slow), move, { ...OPTIONS, holdMs: 200 });
    expect(outcome).toMatchObject({ kind: 'lifted', reason: 'overrun' });
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'owned', epoch: 1 });
    expect((await runMove(world.services, move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
  });

  it('cannot decide when a writer lifted its fence', async () => {
    const move = await freshMove(300);
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, OPTIONS);
    const held = heldAt('rebalancing.beforeGiveAway');
    const late = switchBucket(world.instance(held.probe), move, { ...OPTIONS, holdMs: 2_500 });
    await held.reached;
    const { shard } = await putOrder(world.instance(), move);
    expect(shard).toBe(0);
    held.letGo();
    expect(await late).toMatchObject({ kind: 'lifted' });
    expect((await world.ownership(move.bucket)).map(({ state }) => state)).toEqual([
      'owned',
      'receiving',
      'absent',
    ]);
  });
});
