import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import { readSnowflake } from '../../src/sharding/snowflake.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type HttpReply, until } from '../support/http.ts';
import { moveBucket } from '../support/move-bucket.ts';
import { createRandom } from '../support/random.ts';

/**
 * Two hosts with state of their own over the same shards and storage account, as two instances on Azure: ids never
 * collide, worker numbers are never shared, a map change reaches both, no message has effect twice.
 */
const LONG = process.env['TEST_LONG'] === '1';
const ORDERS_PER_INSTANCE = LONG ? 2_000 : 400;
const MESSAGES = LONG ? 1_500 : 400;
const BATCH = LONG ? 20_000 : 1_500;
const USERS = 60;
const WIDTH = 8;
const LEASE_SECONDS = 15;
const LOAD_TIMEOUT_MS = LONG ? 400_000 : 120_000;

let one: TestApp;
let two: TestApp;
beforeAll(async () => {
  const settings = { BUCKET_MAP_CACHE_MS: '1000' };
  one = await startTestApp({ settings });
  two = await startTestApp({ settings, beside: one });
  for (let id = 1; id <= USERS; id += 1) {
    const app = id % 2 === 0 ? one : two;
    const reply = await app.http.post('/api/users', { userId: id, email: `u${id}@example.com` });
    expect(reply.status).toBe(201);
  }
});
afterAll(async () => {
  await two.stop();
  await one.stop();
});

/** Places orders `WIDTH` at a time; returns the ids that were acknowledged. */
async function placeOrders(app: TestApp, count: number, seed: number): Promise<string[]> {
  const random = createRandom(seed);
  const ids: string[] = [];
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const userId = 1 + random.below(USERS);
      const reply = await app.http.post(`/api/users/${userId}/orders`, { amountCents: 1 });
      expect(reply.status).toBe(201);
      ids.push(String(reply.json['orderId']));
    }
  };
  await Promise.all(Array.from({ length: WIDTH }, lane));
  return ids;
}

function sendBatch(app: TestApp, first: number): Promise<HttpReply> {
  const lines = Array.from({ length: BATCH }, (_, index) =>
    JSON.stringify({
      userId: String(1 + (index % USERS)),
      orderId: String(first + index),
      amountCents: 1,
    }),
  );
  const headers = { 'content-type': 'application/x-ndjson' };
  return app.http.request('POST', '/api/orders/batch', { headers, body: lines.join('\n') });
}

async function storedIds(): Promise<string[]> {
  const ids: string[] = [];
  for (const shard of [0, 1, 2]) {
    // Rows of a moved bucket stay at its old shard until they are purged: count what a shard owns.
    const rows = await one.sql(
      shard,
      "SELECT order_id FROM orders JOIN bucket_ownership w USING (bucket) WHERE w.state = 'owned'",
    );
    ids.push(...rows.map((row) => String(row['order_id'])));
  }
  return ids;
}

function workersOf(ids: readonly string[]): Set<number> {
  return new Set(ids.map((id) => readSnowflake(BigInt(id)).worker));
}

function shared(a: ReadonlySet<number>, b: ReadonlySet<number>): number[] {
  return [...a].filter((worker) => b.has(worker));
}

test(
  'mixed load over both: every acknowledged write once, ids and worker numbers of their own',
  async () => {
    const { seed } = createRandom();
    console.log(`seed ${seed}`);
    const messages = Array.from({ length: MESSAGES }, (_, index) => ({
      userId: String(1 + (index % USERS)),
      amountCents: 1,
    }));
    const [fromOne, fromTwo, batchOne, batchTwo] = await Promise.all([
      placeOrders(one, ORDERS_PER_INSTANCE, seed),
      placeOrders(two, ORDERS_PER_INSTANCE, seed + 1),
      sendBatch(one, 1_000_000),
      sendBatch(two, 2_000_000),
      one.enqueueAll('orders', messages),
    ]);
    expect([batchOne.status, batchTwo.status]).toEqual([202, 202]);

    const workersOne = workersOf(fromOne);
    const workersTwo = workersOf(fromTwo);
    expect(shared(workersOne, workersTwo)).toEqual([]);
    const made = [...fromOne, ...fromTwo];
    expect(new Set(made).size).toBe(made.length);

    const expected = made.length + MESSAGES + 2 * BATCH;
    await until(
      () => two.http.get('/api/revenue'),
      (reply) => Number(reply.json['orders']) >= expected,
      { timeoutMs: LOAD_TIMEOUT_MS },
    );
    await one.queueDrained('orders', LOAD_TIMEOUT_MS);
    const stored = await storedIds();
    expect(stored.length).toBe(expected);
    expect(new Set(stored).size).toBe(expected);
    const known = new Set(stored);
    expect(made.filter((id) => !known.has(id))).toEqual([]);
    expect(await one.poisonCount('orders')).toBe(0);
  },
  2 * LOAD_TIMEOUT_MS,
);

test('a map change is seen by both, and no write is lost while the bucket moves', async () => {
  const userId = '7';
  const bucket = bucketOf(userId);
  const from = bucket % 3;
  const to = (from + 1) % 3;
  const place = (app: TestApp): Promise<HttpReply> =>
    app.http.post(`/api/users/${userId}/orders`, { amountCents: 3 });

  const acknowledged: string[] = [];
  let moving = true;
  const writer = async (app: TestApp): Promise<void> => {
    while (moving) {
      const reply = await place(app);
      expect(reply.status).toBe(201);
      acknowledged.push(String(reply.json['orderId']));
    }
  };
  const writers = [writer(one), writer(two), writer(one), writer(two)];
  await sleep(300);
  await moveBucket(one, { bucket, from, to });
  await sleep(500);
  moving = false;
  await Promise.all(writers);

  for (const app of [one, two]) {
    const map = await until(
      () => app.http.get('/api/ops/bucket-map'),
      (reply) => reply.json['version'] === 2,
      { timeoutMs: 10_000 },
    );
    expect((map.json['assignment'] as number[])[bucket]).toBe(to);
  }
  const rows = await one.sql(to, 'SELECT order_id FROM orders WHERE bucket = ?', [bucket]);
  const stored = new Set(rows.map((row) => String(row['order_id'])));
  expect(acknowledged.length).toBeGreaterThan(4);
  expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
});

test('a killed instance’s worker number is free again after its lease, and never shared', async () => {
  await two.kill();
  const during = await placeOrders(one, 50, 1);
  await two.restart();
  const [after, others] = await Promise.all([placeOrders(two, 50, 2), placeOrders(one, 50, 3)]);
  expect(shared(workersOf(after), workersOf([...during, ...others]))).toEqual([]);
  await sleep(LEASE_SECONDS * 1_000);
  const [late, lateOthers] = await Promise.all([placeOrders(two, 50, 4), placeOrders(one, 50, 5)]);
  expect(shared(workersOf(late), workersOf(lateOthers))).toEqual([]);
  const all = [...during, ...after, ...others, ...late, ...lateOthers];
  expect(new Set(all).size).toBe(all.length);
});
