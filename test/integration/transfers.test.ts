import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { OrchestrationClient } from '../../src/durable/client.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { PermanentError } from '../../src/kernel/errors.ts';
import { ordersSagaModules } from '../../src/orders/sagas.ts';
import { revenueTotal } from '../../src/revenue/total.ts';
import type { SagaId } from '../../src/sagas/saga-id.ts';
import { settleLocal } from '../../src/sagas/settle-local.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startSliceApp, userIdsOnShard, type SliceApp } from '../support/slice-app.ts';
import { createTransferWorld, type TransferWorld } from '../support/transfers.ts';

/** Three users of three shards, one more of the first shard, and one of the first user's bucket. */
const [A = '', A2 = ''] = userIdsOnShard(0, 2);
const [B = ''] = userIdsOnShard(1, 1);
const [C = ''] = userIdsOnShard(2, 1);
const TWIN = userIdsOnShard(0, 2_000, 20_000).find((id) => bucketOf(id) === bucketOf(A)) ?? '';
const USERS = [A, A2, B, C, TWIN];
const NOBODY = userIdsOnShard(1, 1, 900_000)[0] ?? '';
const NOON = '2026-03-01T12:00:00.000Z';

let app: SliceApp;
let world: TransferWorld;
let nextOrder = 1_000;
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '8000' });
  await app.services.database.prewarm();
  for (const userId of USERS) await app.register(userId);
  world = createTransferWorld(app);
});
afterEach(async () => {
  app.onProbe = () => undefined;
  await app.sagas.settled();
  expect(await world.unsettled()).toEqual([]);
});
afterAll(() => app.stop());

async function placed(userId: string): Promise<string> {
  const orderId = String((nextOrder += 1));
  const reply = await app.place(userId, { orderId, amountCents: 700, createdAt: NOON });
  expect(reply.status).toBe(201);
  return orderId;
}

function total(): Promise<{ readonly orders: number; readonly totalCents: string }> {
  const { database, config } = app.services;
  return revenueTotal({ config, clock: systemClock, database }, { partial: false });
}

function codeOf(reply: Awaited<ReturnType<SliceApp['call']>>): readonly unknown[] {
  return [reply.status, reply.json['code']];
}

describe.each([
  ['on another shard', A, B],
  ['in another bucket of the shard', A, A2],
  ['of the same bucket', A, TWIN],
])('a transfer to a user %s', (_name, from, to) => {
  test('gives the order as it was, and counts it once', async () => {
    const orderId = await placed(from);
    const before = await total();
    const moved = await world.transfer(orderId, [from, to]);
    const order = { orderId, userId: to, amountCents: 700, createdAt: NOON };
    expect([moved.status, moved.json]).toEqual([
      200,
      {
        sagaId: expect.any(String) as string,
        status: 'completed',
        orderId,
        fromUserId: from,
        toUserId: to,
        order,
      },
    ]);
    expect((await world.get(to, orderId)).json).toEqual(order);
    expect(codeOf(await world.get(from, orderId))).toEqual([404, 'order-not-found']);
    expect(await world.holders(orderId, USERS)).toEqual([to]);
    const after = await total();
    expect([after.orders, after.totalCents]).toEqual([before.orders, before.totalCents]);
    const again = await world.transfer(orderId, [from, to]);
    expect(codeOf(again)).toEqual([404, 'order-not-found']);
  });

  test('and back and there again', async () => {
    const orderId = await placed(from);
    const rows = [];
    for (const users of [
      [from, to],
      [to, from],
      [from, to],
      [to, from],
    ] as const) {
      expect((await world.transfer(orderId, users)).status).toBe(200);
      expect(await world.holders(orderId, USERS)).toEqual([users[1]]);
      rows.push((await world.rowsOf(orderId)).length);
    }
    expect(rows).toEqual(from === A && to === TWIN ? [1, 1, 1, 1] : [2, 2, 2, 2]);
  });

  test('with a key: the first answer again, and nothing else under it', async () => {
    const orderId = await placed(from);
    const key = `key-${orderId}`;
    const first = await world.transfer(orderId, [from, to], key);
    const again = await world.transfer(orderId, [from, to], key);
    expect([first.status, first.headers['idempotent-replay']]).toEqual([200, undefined]);
    expect([again.status, again.headers['idempotent-replay']]).toEqual([200, 'true']);
    expect(again.json).toEqual(first.json);
    expect((await world.transfer(orderId, [to, from])).status).toBe(200);
    expect((await world.transfer(orderId, [from, to], key)).json).toEqual(first.json);
    expect(await world.holders(orderId, USERS)).toEqual([from]);
    const other = await world.transfer(orderId, [to, from], key);
    expect(codeOf(other)).toEqual([409, 'idempotency-conflict']);
  });

  test('is refused for an order, or a user, that is not there', async () => {
    const orderId = await placed(from);
    const refusals = [
      await world.transfer('77', [from, to]),
      await world.transfer(orderId, [to, from]),
      await world.transfer(orderId, [NOBODY, to]),
      await world.transfer(orderId, [from, NOBODY]),
      await world.transfer(orderId, [from, from]),
    ];
    expect(refusals.map(codeOf)).toEqual([
      [404, 'order-not-found'],
      [404, 'order-not-found'],
      [404, 'user-not-found'],
      [404, 'user-not-found'],
      [400, 'validation-failed'],
    ]);
    expect(await world.holders(orderId, USERS)).toEqual([from]);
  });

  test('a repeat of the placement inserts nothing, and is told the order as it was placed', async () => {
    const orderId = String((nextOrder += 1));
    const bodies = [
      { orderId, amountCents: 700 },
      { orderId, amountCents: 700, createdAt: NOON },
    ];
    for (const body of bodies) {
      const key = { 'idempotency-key': `place-${from}-${to}-${nextOrder}` };
      const orderBody = { ...body, orderId: String((nextOrder += 1)) };
      const first = await app.place(from, orderBody, key);
      expect(first.status).toBe(201);
      expect((await world.transfer(orderBody.orderId, [from, to])).status).toBe(200);
      const before = await total();
      for (const headers of [{}, key]) {
        const repeat = await app.place(from, orderBody, headers);
        expect([repeat.status, repeat.json]).toEqual([200, first.json]);
      }
      const other = await app.place(from, { ...orderBody, amountCents: 701 });
      expect(codeOf(other)).toEqual([409, 'order-conflict']);
      expect((await total()).orders).toBe(before.orders);
    }
  });
});

test('an order goes around all shards and home again', async () => {
  const orderId = await placed(A);
  for (const users of [
    [A, B],
    [B, C],
    [C, A2],
    [A2, TWIN],
    [TWIN, C],
    [C, A],
  ] as const) {
    expect((await world.transfer(orderId, users)).status).toBe(200);
    expect(await world.holders(orderId, USERS)).toEqual([users[1]]);
  }
});

test.each([
  ['on another shard', A, B],
  ['in another bucket of the shard', A, A2],
])('an order whose id is in use %s stays where it is', async (_name, from, to) => {
  const orderId = await placed(from);
  await app.place(to, { orderId, amountCents: 1 });
  expect(codeOf(await world.transfer(orderId, [from, to]))).toEqual([409, 'order-conflict']);
  expect(await world.holders(orderId, USERS)).toEqual([from, to]);
});

test('while a transfer is under way no other one takes the order, and it is seen at its source', async () => {
  const orderId = await placed(A);
  const others: (readonly unknown[])[] = [];
  const seen: (readonly string[])[] = [];
  app.onProbe = async (point, subject = '') => {
    if (point !== 'sagas.beforeStep' || !subject.endsWith('/remove-source/run')) return;
    app.onProbe = () => undefined;
    for (const to of [C, A2, TWIN]) others.push(codeOf(await world.transfer(orderId, [A, to])));
    seen.push(await world.holders(orderId, USERS));
    const repeat = await app.place(A, { orderId, amountCents: 700, createdAt: NOON });
    others.push([repeat.status, repeat.json['userId']]);
    const early = await app.place(B, { orderId, amountCents: 700, createdAt: NOON });
    others.push(codeOf(early));
  };
  expect((await world.transfer(orderId, [A, B])).status).toBe(200);
  expect(seen).toEqual([[A]]);
  expect(others).toEqual([
    [409, 'order-conflict'],
    [409, 'order-conflict'],
    [409, 'order-conflict'],
    [200, A],
    [409, 'order-conflict'],
  ]);
  expect(await world.holders(orderId, USERS)).toEqual([B]);
});

describe('a transfer that is compensated', () => {
  test('leaves no row at a new target, and the old one at a former target', async () => {
    const orderId = await placed(A);
    const refusePivot = (): void => {
      app.onProbe = (point, subject = '') => {
        if (point !== 'sagas.beforeStep' || !subject.endsWith('/remove-source/run')) return;
        return Promise.reject(new PermanentError('conflict', 'Refused by the test.'));
      };
    };
    refusePivot();
    expect((await world.transfer(orderId, [A, B])).status).toBe(409);
    expect(await world.rowsOf(orderId)).toEqual([`${A}/null: 0`]);
    app.onProbe = () => undefined;
    expect((await world.transfer(orderId, [A, B])).status).toBe(200);
    refusePivot();
    expect((await world.transfer(orderId, [B, A])).status).toBe(409);
    expect(await world.rowsOf(orderId)).toEqual([`${A}/null: 3`, `${B}/null: 0`].toSorted());
  });
});

describe('between users of one bucket by saga', () => {
  test('after its one transaction was called off', async () => {
    const orderId = await placed(A);
    const [module] = ordersSagaModules;
    if (module === undefined) throw new Error('there is no module');
    const message = { orderId, fromUserId: A, toUserId: TWIN };
    const sagaId = `off-${orderId}` as SagaId;
    const client: OrchestrationClient = app.sagas.client;
    expect(await settleLocal(app.services, module, { sagaId, input: message })).toBe('by-saga');
    await module.submit(app.services, client, { sagaId, message });
    await app.sagas.settled();
    expect(await world.holders(orderId, USERS)).toEqual([TWIN]);
    expect(await world.rowsOf(orderId)).toEqual([`${TWIN}/${A}: 0`]);
    await module.submit(app.services, client, { sagaId, message });
    expect(await world.rowsOf(orderId)).toEqual([`${TWIN}/${A}: 0`]);
  });
});
