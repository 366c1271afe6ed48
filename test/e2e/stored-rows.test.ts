import { afterAll, beforeAll, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.stop());

const GOLDEN = [
  ['1001', 195],
  ['2002', 930],
  ['3003', 56],
  ['4004', 235],
  ['1', 202],
  ['9223372036854775807', 374],
] as const;

test('each stored row’s bucket is the hash of its key, on the shard i mod 3', async () => {
  for (const [userId] of GOLDEN) {
    await app.http.post('/api/users', { userId, email: `u${userId}@example.com` });
    const key = { 'idempotency-key': `k${userId}` };
    expect(
      (await app.http.post(`/api/users/${userId}/orders`, { amountCents: 5 }, key)).status,
    ).toBe(201);
    await app.enqueue('orders', { userId, amountCents: 6 });
  }
  const body = GOLDEN.map(([userId]) => `${JSON.stringify({ userId, amountCents: 7 })}\n`).join('');
  const headers = { 'content-type': 'application/x-ndjson' };
  await app.http.request('POST', '/api/orders/batch', { headers, body });
  const expected = GOLDEN.length * 3;
  await until(
    () => app.http.get('/api/revenue'),
    (reply) => reply.json['orders'] === expected,
    {
      timeoutMs: 60_000,
    },
  );

  const seen = new Map<string, number>();
  let orders = 0;
  for (const shard of [0, 1, 2]) {
    const users = await app.sql(shard, 'SELECT bucket, user_id FROM users');
    const rows = await app.sql(shard, 'SELECT bucket, user_id FROM orders');
    const keys = await app.sql(shard, 'SELECT bucket FROM idempotency_keys');
    orders += rows.length;
    for (const row of [...users, ...rows]) {
      expect(row['bucket']).toBe(bucketOf(String(row['user_id'])));
    }
    for (const row of [...users, ...rows, ...keys]) expect(Number(row['bucket']) % 3).toBe(shard);
    for (const row of users) seen.set(String(row['user_id']), Number(row['bucket']));
  }
  expect(orders).toBe(expected);
  expect(seen).toEqual(new Map(GOLDEN));
});
