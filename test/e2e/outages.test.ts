import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { asAdmin } from '../support/cluster.ts';
import { type HttpReply, until } from '../support/http.ts';

/** One user on each of the three shards, by the initial map. */
const USERS = [0, 1, 2].map((shard) => {
  let id = 1;
  while (bucketOf(String(id)) % 3 !== shard) id += 1;
  return String(id);
});
const AWAY = 1;
/** A caller must be told within this; the request deadline is 10 s. */
const TOLD_WITHIN_MS = 12_000;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({
    settings: { SHARD_POOL_SIZE: '2', SHARD_POOL_QUEUE: '2', SHARD_STATEMENT_TIMEOUT_MS: '3000' },
  });
  for (const userId of USERS) {
    await app.http.post('/api/users', { userId, email: `u${userId}@example.com` });
  }
});
afterAll(() => app.stop());
afterEach(async () => {
  await app.databases.recover();
  for (const userId of USERS) {
    await until(
      () => app.http.get(`/api/users/${userId}`),
      (reply) => reply.status === 200,
      {
        timeoutMs: 30_000,
      },
    );
  }
});

function order(shard: number): Promise<HttpReply> {
  return app.http.post(`/api/users/${USERS[shard]}/orders`, { amountCents: 100 });
}

function expectUnavailable(reply: HttpReply): void {
  expect([reply.status, reply.json['code']]).toEqual([503, 'shard-unavailable']);
  expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(reply.text).not.toMatch(/127\.0\.0\.1|ECONN|shardline\./);
}

async function timed<T>(run: () => Promise<T>): Promise<{ value: T; ms: number }> {
  const started = performance.now();
  const value = await run();
  return { value, ms: performance.now() - started };
}

describe('a shard that is down', () => {
  test('is told to its own callers in bounded time; the others notice nothing', async () => {
    await app.stopShard(AWAY);
    const own = await timed(() => order(AWAY));
    expectUnavailable(own.value);
    expect(own.ms).toBeLessThan(TOLD_WITHIN_MS);
    expectUnavailable(await app.http.get(`/api/users/${USERS[AWAY]}`));
    expect((await order(0)).status).toBe(201);
    expect((await order(2)).status).toBe(201);
  });

  test('makes the revenue unavailable, or partial when asked for', async () => {
    await app.stopShard(AWAY);
    expectUnavailable(await app.http.get('/api/revenue'));
    const partial = await app.http.get('/api/revenue?partial=true');
    expect(partial.status).toBe(200);
    expect(partial.json).toMatchObject({ complete: false, missingShards: [AWAY] });
    expect((partial.json['perShard'] as { shard: number }[]).map((part) => part.shard)).toEqual([
      0, 2,
    ]);
  });

  test('makes the app not ready, with the reason, but alive', async () => {
    await app.stopShard(AWAY);
    const ready = await app.http.get('/api/health/ready');
    expect(ready.status).toBe(503);
    expect(ready.text).not.toContain('127.0.0.1');
    expect((await app.http.get('/api/health/live')).status).toBe(200);
    const shards = await app.http.get('/api/ops/shards');
    expect(shards.status).toBe(200);
    expect(shards.text).toContain('"reachable":false');
  });

  test('is used again as soon as it is back', async () => {
    await app.stopShard(AWAY);
    expectUnavailable(await order(AWAY));
    await app.startShard(AWAY);
    const reply = await until(
      () => order(AWAY),
      (answer) => answer.status === 201,
      {
        timeoutMs: 15_000,
      },
    );
    expect(reply.status).toBe(201);
  });
});

describe('a shard that hangs', () => {
  test('is told in bounded time, and callers past the queue at once', async () => {
    expect((await order(AWAY)).status).toBe(201);
    await app.databases.stack.freezeShard(AWAY);
    const replies = await timed(() => Promise.all(Array.from({ length: 12 }, () => order(AWAY))));
    expect(replies.ms).toBeLessThan(TOLD_WITHIN_MS);
    const statuses = replies.value.map((reply) => reply.status);
    expect(statuses.every((status) => status === 503 || status === 429)).toBe(true);
    expect(statuses).toContain(503);
    const refused = replies.value.find((reply) => reply.status === 429);
    expect(refused?.json['code']).toBe('too-many-requests');
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await order(0)).status).toBe(201);
  });
});

describe('a shard that is read-only', () => {
  test('is told as unavailable, and nothing is changed', async () => {
    const before = (await app.http.get(`/api/users/${USERS[AWAY]}/orders`)).text;
    await asAdmin(app.databases.stack, AWAY, ['SET GLOBAL read_only = ON']);
    try {
      const reply = await timed(() => order(AWAY));
      expectUnavailable(reply.value);
      expect(reply.ms).toBeLessThan(TOLD_WITHIN_MS);
    } finally {
      await asAdmin(app.databases.stack, AWAY, ['SET GLOBAL read_only = OFF']);
    }
    await until(
      () => app.http.get(`/api/users/${USERS[AWAY]}/orders`),
      (r) => r.status === 200,
      {
        timeoutMs: 15_000,
      },
    );
    expect((await app.http.get(`/api/users/${USERS[AWAY]}/orders`)).text).toBe(before);
  });
});

describe('a storage account that is away', () => {
  test('stops batches with a clear error, not single orders', async () => {
    expect((await order(0)).status).toBe(201);
    await app.databases.stack.stopStorage();
    expect((await order(0)).status).toBe(201);
    const headers = { 'content-type': 'application/x-ndjson' };
    const body = `${JSON.stringify({ userId: USERS[0], amountCents: 5 })}\n`;
    const batch = await app.http.request('POST', '/api/orders/batch', { headers, body });
    expect([batch.status, batch.json['code']]).toEqual([503, 'storage-unavailable']);
    expect((await app.http.get('/api/health/ready')).status).toBe(503);
    await app.databases.stack.startStorage();
    const again = await until(
      () => app.http.request('POST', '/api/orders/batch', { headers, body }),
      (reply) => reply.status === 202,
      { timeoutMs: 30_000 },
    );
    expect(again.status).toBe(202);
  });
});
