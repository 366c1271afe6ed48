import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';
import { createRandom, type Random } from '../support/random.ts';

/**
 * Nothing lost, nothing doubled: orders by batch and by queue while the host is killed at random moments and one
 * shard is away for a while. Short by default; TEST_LONG=1 is the full run. SEED repeats a run.
 */
const LONG = process.env['TEST_LONG'] === '1';
const SCALE = LONG
  ? { batchOrders: 100_000, batches: 4, queueOrders: 10_000, kills: 12, shardAwayMs: 15_000 }
  : { batchOrders: 8_000, batches: 2, queueOrders: 600, kills: 4, shardAwayMs: 5_000 };
const USERS = 300;
const ORDERS_PER_LIST = 20;
const MESSAGES_AHEAD = 250;
const FINISH_TIMEOUT_MS = LONG ? 900_000 : 240_000;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.stop());

interface Order {
  readonly userId: string;
  readonly orderId: string;
  readonly amountCents: number;
  readonly createdAt: string;
}

function makeOrders(first: number, count: number, random: Random): Order[] {
  return Array.from({ length: count }, (_, index) => ({
    userId: String(1 + random.below(USERS)),
    orderId: String(first + index),
    amountCents: 1 + random.below(10_000),
    createdAt: '2026-05-05T05:05:05.000Z',
  }));
}

/** Repeats a request until the service answered it: what a caller does whose connection broke. */
async function insist<T>(send: () => Promise<T>, accepted: (reply: T) => boolean): Promise<T> {
  return until(
    async () => {
      try {
        return await send();
      } catch {
        return undefined;
      }
    },
    (reply) => reply !== undefined && accepted(reply),
    { timeoutMs: FINISH_TIMEOUT_MS, everyMs: 200 },
  ) as Promise<T>;
}

async function registerUsers(): Promise<void> {
  const ids = Array.from({ length: USERS }, (_, index) => String(index + 1));
  for (let start = 0; start < ids.length; start += 16) {
    await Promise.all(
      ids.slice(start, start + 16).map(async (userId) => {
        const reply = await app.http.post('/api/users', {
          userId,
          email: `u${userId}@example.com`,
        });
        expect(reply.status).toBe(201);
      }),
    );
  }
}

async function sendBatch(name: string, orders: readonly Order[]): Promise<string> {
  const body = orders.map((order) => `${JSON.stringify(order)}\n`).join('');
  const headers = { 'content-type': 'application/x-ndjson', 'idempotency-key': name };
  const reply = await insist(
    () => app.http.request('POST', '/api/orders/batch', { headers, body }),
    (answer) => answer.status === 202,
  );
  return String(reply.json['ingestionId']);
}

/**
 * Half as single orders, half in lists. Fed as it is taken: the storage emulator reads all of a queue on each call, so
 * that thousands of waiting messages would measure the emulator.
 */
async function feedQueue(orders: readonly Order[]): Promise<void> {
  const half = Math.floor(orders.length / 2);
  const messages: unknown[] = orders.slice(0, half);
  for (let from = half; from < orders.length; from += ORDERS_PER_LIST) {
    messages.push({ orders: orders.slice(from, from + ORDERS_PER_LIST) });
  }
  for (let from = 0; from < messages.length; from += MESSAGES_AHEAD) {
    await app.enqueueAll('orders', messages.slice(from, from + MESSAGES_AHEAD));
    await app.queueDrained('orders', FINISH_TIMEOUT_MS, MESSAGES_AHEAD);
  }
}

async function killRepeatedly(random: Random): Promise<void> {
  for (let kill = 1; kill <= SCALE.kills; kill += 1) {
    const waitMs = 300 + random.below(2_500);
    await sleep(waitMs);
    await app.kill();
    console.log(`kill ${kill} of ${SCALE.kills}, ${waitMs} ms after the start`);
    await app.restart();
  }
}

async function takeShardAway(random: Random): Promise<void> {
  const shard = random.below(app.shards.length);
  await sleep(1_000);
  console.log(`shard ${shard} is away for ${SCALE.shardAwayMs} ms`);
  await app.stopShard(shard);
  await sleep(SCALE.shardAwayMs);
  await app.startShard(shard);
}

async function ingestionDone(ingestionId: string): Promise<Record<string, unknown>> {
  const reply = await insist(
    () => app.http.get(`/api/ingestions/${ingestionId}`),
    (answer) => answer.status === 200,
  );
  if (reply.json['status'] === 'completed') return reply.json;
  return (
    await until(
      () =>
        insist(
          () => app.http.get(`/api/ingestions/${ingestionId}`),
          (r) => r.status === 200,
        ),
      (answer) => answer.json['status'] !== 'running',
      { timeoutMs: FINISH_TIMEOUT_MS, everyMs: 500 },
    )
  ).json;
}

async function storedOrders(): Promise<
  Map<string, { bucket: number; userId: string; cents: number }>
> {
  const stored = new Map<string, { bucket: number; userId: string; cents: number }>();
  for (let shard = 0; shard < app.shards.length; shard += 1) {
    const rows = await app.sql(shard, 'SELECT bucket, order_id, user_id, amount_cents FROM orders');
    for (const row of rows) {
      const id = String(row['order_id']);
      expect(stored.has(id), `order ${id} is there twice`).toBe(false);
      stored.set(id, {
        bucket: Number(row['bucket']),
        userId: String(row['user_id']),
        cents: Number(row['amount_cents']),
      });
    }
  }
  return stored;
}

test(`${SCALE.batchOrders} orders by batch and ${SCALE.queueOrders} by queue survive ${SCALE.kills} kills and a shard that is away`, async () => {
  const random = createRandom();
  console.log(`seed ${random.seed}`);
  await registerUsers();
  const perBatch = SCALE.batchOrders / SCALE.batches;
  const batches = Array.from({ length: SCALE.batches }, (_, index) =>
    makeOrders(1 + index * perBatch, perBatch, random),
  );
  const queued = makeOrders(10_000_001, SCALE.queueOrders, random);
  const all = [...batches.flat(), ...queued];

  const sending = Promise.all([
    Promise.all(batches.map((orders, index) => sendBatch(`storm-${index}`, orders))),
    feedQueue(queued),
  ]);
  await Promise.all([sending, killRepeatedly(random), takeShardAway(random)]);
  const [ingestionIds] = await sending;

  const reports = [];
  for (const id of ingestionIds) reports.push(await ingestionDone(id));
  await app.queueDrained('orders', FINISH_TIMEOUT_MS);

  for (const report of reports) {
    expect(report).toMatchObject({
      status: 'completed',
      received: perBatch,
      inserted: perBatch,
      duplicates: 0,
      conflicts: 0,
      rejected: 0,
    });
  }
  const stored = await storedOrders();
  expect(stored.size).toBe(all.length);
  for (const order of all) {
    expect(stored.get(order.orderId)).toEqual({
      bucket: bucketOf(order.userId),
      userId: order.userId,
      cents: order.amountCents,
    });
  }
  const revenue = await app.http.get('/api/revenue');
  const total = all.reduce((sum, order) => sum + BigInt(order.amountCents), 0n);
  expect(revenue.json).toMatchObject({
    totalCents: String(total),
    orders: all.length,
    complete: true,
  });
  expect(await app.poisonCount('orders')).toBe(0);
  console.log(`${all.length} orders are there exactly once, ${total} cents; nothing in poison`);
});
