import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import type { OrderId, UserId } from '../../src/kernel/ids.ts';
import type { AmountCents } from '../../src/kernel/money.ts';
import type { ProbePoint } from '../../src/kernel/probe.ts';
import type { Timestamp } from '../../src/kernel/time.ts';
import type { OrderRow } from '../../src/orders/batch-statements.ts';
import { createOrderBatchWriter } from '../../src/orders/batch-writer.ts';
import type { Move } from '../../src/rebalancing/model.ts';
import { createMoves, dieAt, readCertificate, writeOne } from '../support/moves/scenes.ts';
import { createMoveWorld, runMove, SMALL } from '../support/moves/world.ts';
import type { MoveWorld } from '../support/moves/world.ts';
import { startWriters, writtenRows } from '../support/moves/writers.ts';
import { createRandom } from '../support/random.ts';
import { testConfig } from '../support/test-database.ts';

/** Movers that die (I1, I2): whatever they leave, the bucket has one owner and all its rows. */
const random = createRandom();
const OPTIONS = { ...SMALL, holdMs: 700, stallLimitMs: 5_000 };
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});

afterAll(() => world.drop());

async function expectMoved(move: Move): Promise<void> {
  expect(await world.ownership(move.bucket)).toMatchObject([
    { state: 'gone', epoch: 2, movedTo: 1 },
    { state: 'owned', epoch: 2 },
    { state: 'absent' },
  ]);
  const map = await world.services.bucketMap.refresh();
  expect(map.assignment[move.bucket]).toBe(1);
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
    await dieAt(world, move, OPTIONS, point, nth);
    await systemClock.sleep(100);
    const steps = await runMove(world.instance(), move, OPTIONS);
    await systemClock.sleep(50);
    await writers.stop();
    expect(steps.at(-1)).toEqual({ step: 'done' });
    await expectMoved(move);
    const found = await world.on(1, (shard) => writtenRows(shard, move.bucket));
    expect(found).toEqual(writers.expected);
    expect(
      (await readCertificate(world, move)).tables.find(({ table }) => table === 'orders')?.rows,
    ).toBeGreaterThanOrEqual(600);
  });

  it('while the bucket is fenced: writers go on at the source after the end of the fence', async () => {
    const move = await freshMove();
    await dieAt(world, move, OPTIONS, 'rebalancing.beforeGiveAway');
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'fenced' });
    const writer = world.instance();
    const { shard, tookMs } = await writeOne(writer, move, random);
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
    await dieAt(world, move, OPTIONS, 'rebalancing.afterGiveAway');
    expect((await world.ownership(move.bucket)).map(({ state }) => state)).toEqual([
      'gone',
      'receiving',
      'absent',
    ]);
    const { shard, tookMs } = await writeOne(world.instance(), move, random);
    expect(shard).toBe(1);
    expect(tookMs).toBeLessThan(2_000);
    expect((await world.ownership(move.bucket))[1]).toMatchObject({ state: 'owned', epoch: 2 });
    expect((await runMove(world.instance(), move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    await expectMoved(move);
    expect((await readCertificate(world, move)).stallMs).toBeNull();
  });
});

describe('a batch of orders that meets what a dead mover left', () => {
  const rowsOf = (move: Move, from: number): OrderRow[] =>
    Array.from({ length: 3 }, (_, index) => ({
      bucket: move.bucket,
      orderId: String(from + index) as OrderId,
      userId: '5' as UserId,
      amountCents: 100 as AmountCents,
      createdAt: '2026-01-31T09:30:00.000Z' as Timestamp,
      createdAtGiven: true,
    }));

  it.each([
    ['rebalancing.beforeGiveAway', 0],
    ['rebalancing.afterGiveAway', 1],
  ] as const)('after a death at %s is written on shard %d', async (point, owner) => {
    const move = await freshMove();
    await world.on(0, (shard) =>
      shard.execute(
        "INSERT INTO users (bucket, user_id, email, email_key, created_at) VALUES (?, 5, 'a@example.com', ?, '2026-01-31 09:30:00.000')",
        [move.bucket, Buffer.alloc(32, 1)],
      ),
    );
    await dieAt(world, move, OPTIONS, point);
    const instance = world.instance();
    const writer = createOrderBatchWriter({
      ...instance,
      config: testConfig(world.databases),
      random: () => random.next(),
    });
    const outcome = await writer.writeOrders(rowsOf(move, 5_000_000), { deadlineMs: 8_000 });
    expect(outcome).toMatchObject({ inserted: 3, unsettled: [] });
    expect((await world.ownership(move.bucket))[owner]).toMatchObject({ state: 'owned' });
    const found = await world.on(owner, (shard) =>
      shard.query('SELECT order_id FROM orders WHERE bucket = ? AND order_id >= 5000000', [
        move.bucket,
      ]),
    );
    expect(found).toHaveLength(3);
  });
});
