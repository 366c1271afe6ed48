import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ShardedDatabase } from '../../src/database/contracts.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { revenueTotal } from '../../src/revenue/total.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { createRandom, type Random } from '../support/random.ts';
import { startSliceApp, userIdsOnShard, type SliceApp } from '../support/slice-app.ts';
import { createTransferWorld, type TransferWorld } from '../support/transfers.ts';

const [A = '', A2 = '', A3 = ''] = userIdsOnShard(0, 3);
const [B = '', B2 = ''] = userIdsOnShard(1, 2);
const [C = ''] = userIdsOnShard(2, 1);
const TWIN = userIdsOnShard(0, 2_000, 20_000).find((id) => bucketOf(id) === bucketOf(A)) ?? '';
const USERS = [A, A2, A3, B, B2, C, TWIN];
const AT_ONCE = 32;

let app: SliceApp;
let world: TransferWorld;
let nextOrder = 1_000;
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '20000' });
  await app.services.database.prewarm();
  for (const userId of USERS) await app.register(userId);
  world = createTransferWorld(app);
});
afterEach(async () => {
  await app.sagas.settled();
  expect(await world.unsettled()).toEqual([]);
});
afterAll(() => app.stop());

async function placed(userId: string): Promise<string> {
  const orderId = String((nextOrder += 1));
  expect((await app.place(userId, { orderId, amountCents: 700 })).status).toBe(201);
  return orderId;
}

async function thereAndBack(orderId: string, from: string, to: string): Promise<void> {
  for (const users of [
    [from, to],
    [to, from],
  ] as const) {
    expect((await world.transfer(orderId, users)).status).toBe(200);
  }
}

/** Failures that the database layer tried again, by kind and error number. */
function retries(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { event, fields } of app.databaseLog.events) {
    if (event !== 'database.attempt_failed') continue;
    const details = fields['errorDetails'] as { readonly errno?: unknown } | undefined;
    const key = `${String(fields['errorCode'])} ${String(details?.errno)}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

type Reply = Awaited<ReturnType<TransferWorld['transfer']>>;

function tally(replies: readonly Reply[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, json } of replies) {
    const key = `${status} ${String(json['code'] ?? json['status'])}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

describe.each([
  ['on two shards', A, B],
  ['in two buckets of one shard', A, A2],
  ['in two buckets of one shard, the other way round', A2, A],
  ['of one bucket', A, TWIN],
])(`${AT_ONCE} transfers at once between users %s`, (name, from, to) => {
  test.each(['identical', 'opposite'])('%s', async (kind) => {
    app.databaseLog.events.length = 0;
    let done = 0;
    for (let round = 0; round < 4; round += 1) {
      const orderId = await placed(from);
      // From the second round on there is a row at both ends.
      if (round > 0) await thereAndBack(orderId, from, to);
      const replies = await Promise.all(
        Array.from({ length: AT_ONCE }, (_, index) =>
          world.transfer(orderId, kind === 'opposite' && index % 2 === 1 ? [to, from] : [from, to]),
        ),
      );
      const counts = tally(replies);
      done += counts['200 completed'] ?? 0;
      const allowed = ['200 completed', '404 order-not-found', '409 order-conflict'];
      expect(Object.keys(counts).filter((key) => !allowed.includes(key))).toEqual([]);
      expect(counts['200 completed']).toBeGreaterThan(0);
      const most = kind === 'identical' ? 1 : AT_ONCE;
      expect(counts['200 completed']).toBeLessThanOrEqual(most);
      await app.sagas.settled();
      const isThere = (counts['200 completed'] ?? 0) % 2 === 1;
      expect(await world.holders(orderId, USERS)).toEqual([isThere ? to : from]);
    }
    console.log(
      `${app.databases.engine}, ${kind}, ${name}: ${done} of ${4 * AT_ONCE} done, retried ${JSON.stringify(retries())}`,
    );
  });
});

test('identical requests at once with one key are one transfer', async () => {
  for (const [from, to] of [
    [A, B],
    [A, A2],
    [A, TWIN],
  ] as const) {
    const orderId = await placed(from);
    const replies = await Promise.all(
      Array.from({ length: 16 }, () => world.transfer(orderId, [from, to], `one-${orderId}`)),
    );
    expect(tally(replies)).toEqual({ '200 completed': 16 });
    expect(new Set(replies.map((reply) => reply.json['sagaId'])).size).toBe(1);
    expect(await world.holders(orderId, USERS)).toEqual([to]);
  }
});

test('how long a transferred order is in nobody’s list', async () => {
  const { database } = app.services;
  const windows: number[] = [];
  let pivotMs = 0;
  // The pivot's transaction has written all and is about to commit; the confirmation that follows is a call to the target.
  app.onProbe = (point, subject = '') => {
    if (point === 'sagas.beforeCommit' && subject.endsWith('/remove-source/run')) {
      pivotMs = performance.now();
    }
  };
  const timed: ShardedDatabase = {
    ...bound(database),
    onOwner: async (bucket, attempt, options) => {
      const value = await database.onOwner(bucket, attempt, options);
      if (pivotMs > 0 && bucket === bucketOf(B)) {
        windows.push(performance.now() - pivotMs);
        pivotMs = 0;
      }
      return value;
    },
  };
  Object.assign(app.services, { database: timed });
  try {
    for (let count = 0; count < 100; count += 1) {
      const orderId = await placed(A);
      expect((await world.transfer(orderId, [A, B])).status).toBe(200);
    }
  } finally {
    Object.assign(app.services, { database });
    app.onProbe = () => undefined;
  }
  const sorted = windows.toSorted((a, b) => a - b);
  const [median = Infinity, longest = Infinity] = [sorted[50], sorted.at(-1)];
  console.log(
    `${app.databases.engine}: in nobody's list for ${median.toFixed(1)} ms (p50), ${longest.toFixed(1)} ms (max) of ${sorted.length}`,
  );
  expect(sorted).toHaveLength(100);
  expect(median).toBeLessThan(100);
});

function bound(database: ShardedDatabase): ShardedDatabase {
  return {
    onOwner: (...args) => database.onOwner(...args),
    onShard: (...args) => database.onShard(...args),
    onSession: (...args) => database.onSession(...args),
    route: (bucket) => database.route(bucket),
    shardIds: () => database.shardIds(),
    inspect: (shard) => database.inspect(shard),
    prewarm: () => database.prewarm(),
    close: () => database.close(),
  };
}

interface KnownOrder {
  readonly body: Readonly<Record<string, unknown>> & { readonly amountCents: number };
  readonly orderId: string;
  readonly first: string;
  holder: string;
}

/** Orders as they must be, changed along with the app. */
function createModel(random: Random) {
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T;
  const orders: KnownOrder[] = [];
  return {
    orders,
    place: async (): Promise<void> => {
      const first = pick(USERS);
      const orderId = String((nextOrder += 1));
      const time = random.below(2) === 0 ? {} : { createdAt: '2026-05-06T07:08:09.010Z' };
      const body = { orderId, amountCents: 1 + random.below(10_000), ...time };
      expect((await app.place(first, body)).status).toBe(201);
      orders.push({ body, orderId, first, holder: first });
    },
    repeat: async (): Promise<void> => {
      const { first, body } = pick(orders);
      const repeat = await app.place(first, body);
      expect([repeat.status, repeat.json['userId']]).toEqual([200, first]);
    },
    transfer: async (): Promise<void> => {
      const order = pick(orders);
      const from = random.below(5) === 0 ? pick(USERS) : order.holder;
      const to = pick(USERS);
      const moved = await world.transfer(order.orderId, [from, to]);
      const others = from === order.holder ? 200 : 404;
      expect([moved.status, from, to]).toEqual([from === to ? 400 : others, from, to]);
      if (moved.status === 200) order.holder = to;
    },
  };
}

test('any sequence of placements, transfers and repeats keeps every order once', async () => {
  const random = createRandom();
  console.log(`SEED=${random.seed}`);
  const before = await totals();
  const model = createModel(random);
  await model.place();
  for (let step = 0; step < 250; step += 1) {
    const choice = random.below(6);
    if (choice === 0) await model.place();
    else if (choice < 3) await model.repeat();
    else await model.transfer();
  }
  for (const { orderId, holder } of model.orders) {
    expect(await world.holders(orderId, USERS)).toEqual([holder]);
  }
  const after = await totals();
  const cents = model.orders.reduce((sum, { body }) => sum + BigInt(body.amountCents), 0n);
  expect([after.orders - before.orders, after.cents - before.cents]).toEqual([
    model.orders.length,
    cents,
  ]);
});

async function totals(): Promise<{ readonly orders: number; readonly cents: bigint }> {
  const { database, config } = app.services;
  const total = await revenueTotal({ config, clock: systemClock, database }, { partial: false });
  return { orders: total.orders, cents: BigInt(total.totalCents) };
}
