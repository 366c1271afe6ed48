import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ShardId } from '../../src/kernel/ids.ts';
import type { OrderRow } from '../../src/orders/batch-statements.ts';
import { createOrderBatchWriter } from '../../src/orders/batch-writer.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { ordersSettlers } from '../../src/orders/sagas.ts';
import { transferSteps } from '../../src/orders/transfer-steps.ts';
import type { OrphanReport, SagaLife } from '../../src/sagas/modules.ts';
import { anOrderRow } from '../support/batch-orders.ts';
import { until } from '../support/http.ts';
import { startSliceApp, userIdsOnShard, type SliceApp } from '../support/slice-app.ts';
import { createTransferWorld, type TransferWorld } from '../support/transfers.ts';

const [A = ''] = userIdsOnShard(0, 1);
const [B = ''] = userIdsOnShard(1, 1);
const CREATED_AT = '2026-02-01T00:00:00.000Z';
const CONTENT = { amountCents: 100, createdAt: CREATED_AT };
const NOTHING: OrphanReport = { found: 0, confirmed: 0, released: 0, left: 0 };

let app: SliceApp;
let world: TransferWorld;
let orderId = '1000';
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '8000' });
  await app.services.database.prewarm();
  for (const userId of [A, B]) await app.register(userId);
  world = createTransferWorld(app);
});
beforeEach(async () => {
  orderId = String(Number(orderId) + 1);
  expect((await app.place(A, { orderId, ...CONTENT })).status).toBe(201);
});
afterEach(async () => {
  expect(await world.unsettled()).toEqual([]);
});
afterAll(() => app.stop());

/** Delivers a step of a saga that nobody runs, from `from` to `to`. */
async function deliver(
  step: 'lock-source' | 'insert-pending' | 'remove-source',
  verb: 'run' | 'undo',
  [fromUserId, toUserId]: readonly [string, string] = [A, B],
): Promise<string> {
  const activity = transferSteps.find(({ contract }) => contract.name === `orders-${step}`);
  if (activity === undefined) throw new Error(`there is no step ${step}`);
  const input = { orderId, fromUserId, toUserId, ...(step === 'insert-pending' ? CONTENT : {}) };
  const delivery = { sagaId: `gone-${orderId}`, step, verb, input };
  const answer = await activity.bind(app.services)(delivery, {
    logger: app.services.logger,
  } as never);
  return JSON.stringify(answer);
}

/** The reports of all shards in sum. */
async function settle(life: SagaLife = 'unknown', olderThanMs = Date.now() + 1_000) {
  const [settler] = ordersSettlers;
  if (settler === undefined) throw new Error('there is no settler');
  const sum = { ...NOTHING };
  for (const shard of [0, 1, 2]) {
    const report = await settler.settle(app.services, {
      shard: shard as ShardId,
      olderThanMs,
      limit: 100,
      lifeOf: () => Promise.resolve(life),
    });
    for (const key of ['found', 'confirmed', 'released', 'left'] as const) sum[key] += report[key];
  }
  return sum;
}

/** The pivot's activity confirms early; here it cannot. */
async function pivotAlone(): Promise<void> {
  await app.fence(bucketOf(B));
  expect(await deliver('remove-source', 'run')).toContain('"done"');
  await app.unfence(bucketOf(B));
}

/** Starts the shards again and waits until the app talks to them: a circuit that opened stays so for a while. */
async function recovered(): Promise<void> {
  await app.databases.recover();
  const ask = (shard: number): Promise<boolean> =>
    app.services.database
      .onShard(shard as ShardId, (on) => on.query('SELECT 1', []), { deadlineMs: 5_000 })
      .then(
        () => true,
        () => false,
      );
  for (const shard of [0, 1, 2]) await until(() => ask(shard), Boolean, { timeoutMs: 30_000 });
}

describe('rows whose saga is gone', () => {
  test('a locked order is unlocked, and the late steps are refused', async () => {
    await deliver('lock-source', 'run');
    expect(await settle()).toEqual({ ...NOTHING, found: 1, released: 1 });
    expect(await world.rowsOf(orderId)).toEqual([`${A}/null: 0`]);
    expect(await deliver('lock-source', 'run')).toContain('undone');
    expect(await deliver('remove-source', 'run')).toContain('sealed');
    expect((await world.transfer(orderId, [A, B])).status).toBe(200);
  });

  test('a locked and a pending one are taken back', async () => {
    await deliver('lock-source', 'run');
    await deliver('insert-pending', 'run');
    expect(await settle()).toEqual({ ...NOTHING, found: 2, released: 2 });
    expect(await world.rowsOf(orderId)).toEqual([`${A}/null: 0`]);
    expect(await deliver('insert-pending', 'run')).toContain('undone');
    expect(await world.rowsOf(orderId)).toEqual([`${A}/null: 0`]);
  });

  test('a pending one that was at its target before becomes again what it was', async () => {
    expect((await world.transfer(orderId, [A, B])).status).toBe(200);
    const before = await world.rowsOf(orderId);
    await deliver('lock-source', 'run', [B, A]);
    await deliver('insert-pending', 'run', [B, A]);
    expect(await world.rowsOf(orderId)).toEqual([`${A}/${A}: 2`, `${B}/null: 1`].toSorted());
    const repeat = await app.place(A, { orderId, ...CONTENT });
    expect([repeat.status, repeat.json['userId']]).toEqual([200, A]);
    expect(await settle()).toEqual({ ...NOTHING, found: 2, released: 2 });
    expect(await world.rowsOf(orderId)).toEqual(before);
    expect((await world.transfer(orderId, [B, A])).status).toBe(200);
  });

  test('a pending one whose pivot is done is confirmed', async () => {
    await deliver('lock-source', 'run');
    await deliver('insert-pending', 'run');
    await pivotAlone();
    expect(await world.holders(orderId, [A, B])).toEqual([]);
    const tooSoon = await world.transfer(orderId, [B, A]);
    expect([tooSoon.status, tooSoon.json['code']]).toEqual([409, 'order-conflict']);
    expect(await settle()).toEqual({ ...NOTHING, found: 1, confirmed: 1 });
    expect(await world.holders(orderId, [A, B])).toEqual([B]);
    expect(await settle()).toEqual(NOTHING);
  });

  test('are left while the saga lives, and while they are young', async () => {
    await deliver('lock-source', 'run');
    expect(await settle('alive')).toEqual({ ...NOTHING, found: 1, left: 1 });
    expect(await settle('unknown', Date.now() - 60_000)).toEqual(NOTHING);
    expect(await world.rowsOf(orderId)).toEqual([`${A}/null: 1`]);
    await deliver('lock-source', 'undo');
    expect(await world.rowsOf(orderId)).toEqual([`${A}/null: 0`]);
  });

  test('are left while the source does not say what became of it', async () => {
    await deliver('lock-source', 'run');
    await deliver('insert-pending', 'run');
    await app.databases.stack.stopShard(0);
    try {
      const [settler] = ordersSettlers;
      const report = await settler?.settle(app.services, {
        shard: 1 as ShardId,
        olderThanMs: Date.now() + 1_000,
        limit: 10,
        lifeOf: () => Promise.resolve('ended'),
      });
      expect(report).toEqual({ ...NOTHING, found: 1, left: 1 });
    } finally {
      await recovered();
    }
    expect(await settle()).toEqual({ ...NOTHING, found: 2, released: 2 });
  });
});

describe('the early confirmation', () => {
  test('is part of the pivot, and its step finds it done', async () => {
    await deliver('lock-source', 'run');
    await deliver('insert-pending', 'run');
    await deliver('remove-source', 'run');
    expect(await world.holders(orderId, [A, B])).toEqual([B]);
    const step = transferSteps.find(({ contract }) => contract.name === 'orders-confirm-target');
    const input = { orderId, fromUserId: A, toUserId: B, crossing: null };
    const delivery = { sagaId: `gone-${orderId}`, step: 'confirm-target', verb: 'run', input };
    const answer = await step?.bind(app.services)(delivery, {
      logger: app.services.logger,
    } as never);
    expect(JSON.stringify(answer)).toContain('"replayed":true');
  });

  test('holds up no pivot when the target is away', async () => {
    await deliver('lock-source', 'run');
    await deliver('insert-pending', 'run');
    await app.databases.stack.stopShard(1);
    try {
      const startedAt = performance.now();
      expect(await deliver('remove-source', 'run')).toContain('"done"');
      expect(performance.now() - startedAt).toBeLessThan(4_000);
    } finally {
      await recovered();
    }
    expect(await settle()).toEqual({ ...NOTHING, found: 1, confirmed: 1 });
  });
});

describe('batches', () => {
  /** Writes one order as a batch does: inserted, duplicates and conflicts. */
  async function write(row: Partial<OrderRow>, userId: string): Promise<readonly number[]> {
    const writer = createOrderBatchWriter(app.services);
    const rows = [anOrderRow(userId, orderId, row)];
    const result = await writer.writeOrders(rows, { deadlineMs: 8_000 });
    return [result.inserted, result.duplicates, result.conflicts.length];
  }

  test.each([true, false])(
    'know an order that moved, its time given: %s',
    async (createdAtGiven) => {
      expect(await write({ createdAtGiven }, A)).toEqual([0, 1, 0]);
      expect((await world.transfer(orderId, [A, B])).status).toBe(200);
      expect(await write({ createdAtGiven }, A)).toEqual([0, 1, 0]);
      expect(await write({ createdAtGiven, amountCents: 101 as never }, A)).toEqual([0, 0, 1]);
      expect(await world.holders(orderId, [A, B])).toEqual([B]);
    },
  );

  test('know an order that is locked, and take one that is pending for another', async () => {
    await deliver('lock-source', 'run');
    await deliver('insert-pending', 'run');
    expect(await write({}, A)).toEqual([0, 1, 0]);
    expect(await write({}, B)).toEqual([0, 0, 1]);
    await settle();
  });
});
