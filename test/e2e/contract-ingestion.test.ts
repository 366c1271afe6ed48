import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { QUICK_REDELIVERY, startTestApp, type TestApp } from '../support/app.ts';
import { until, type HttpReply } from '../support/http.ts';

const USERS = ['1001', '2002', '3003', '4004', '5005', '6006'];

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ settings: QUICK_REDELIVERY });
  for (const userId of USERS) {
    await app.http.post('/api/users', { userId, email: `u${userId}@example.com` });
  }
});
afterAll(() => app.stop());

function ndjson(orders: readonly unknown[]): string {
  return orders.map((order) => `${JSON.stringify(order)}\n`).join('');
}

function orders(first: number, count: number): Record<string, unknown>[] {
  return Array.from({ length: count }, (_, index) => ({
    userId: USERS[index % USERS.length],
    orderId: String(first + index),
    amountCents: 1 + (index % 500),
    createdAt: '2026-02-01T00:00:00.000Z',
  }));
}

function send(body: string, headers: Record<string, string> = {}): Promise<HttpReply> {
  const type = { 'content-type': 'application/x-ndjson' };
  return app.http.request('POST', '/api/orders/batch', { headers: { ...type, ...headers }, body });
}

function finished(ingestionId: unknown): Promise<HttpReply> {
  return until(
    () => app.http.get(`/api/ingestions/${String(ingestionId)}`),
    (reply) => reply.json['status'] === 'completed' || reply.json['status'] === 'failed',
    { timeoutMs: 60_000 },
  );
}

async function orderCount(): Promise<number> {
  return (await app.http.get('/api/revenue')).json['orders'] as number;
}

describe('POST /api/orders/batch', () => {
  test('takes NDJSON, tells where to ask, and reports what came of it', async () => {
    const before = await orderCount();
    const reply = await send(ndjson(orders(10_000, 3_000)));
    expect(reply.status).toBe(202);
    expect(reply.json['statusUrl']).toContain(
      `/api/ingestions/${String(reply.json['ingestionId'])}`,
    );
    const { json } = await finished(reply.json['ingestionId']);
    expect(json).toMatchObject({
      ingestionId: reply.json['ingestionId'],
      status: 'completed',
      received: 3_000,
      inserted: 3_000,
      duplicates: 0,
      conflicts: 0,
      rejected: 0,
      rejects: [],
    });
    const perShard = json['perShard'] as { shard: number; inserted: number }[];
    expect(perShard.reduce((sum, part) => sum + part.inserted, 0)).toBe(3_000);
    expect(json['finishedAt']).not.toBeNull();
    expect(await orderCount()).toBe(before + 3_000);
  });

  test('takes a JSON array', async () => {
    const body = JSON.stringify(orders(20_000, 50), null, 2);
    const headers = { 'content-type': 'application/json' };
    const reply = await app.http.request('POST', '/api/orders/batch', { headers, body });
    expect(reply.status).toBe(202);
    const { json } = await finished(reply.json['ingestionId']);
    expect(json).toMatchObject({ status: 'completed', received: 50, inserted: 50 });
  });

  test('the same orders again are duplicates, others under their ids conflicts', async () => {
    const batch = orders(30_000, 40);
    await finished((await send(ndjson(batch))).json['ingestionId']);
    const changed = batch.map((order, index) =>
      index < 10 ? { ...order, amountCents: 999_999 } : order,
    );
    const before = await orderCount();
    const { json } = await finished((await send(ndjson(changed))).json['ingestionId']);
    expect(json).toMatchObject({ inserted: 0, duplicates: 30, conflicts: 10, rejected: 0 });
    expect(await orderCount()).toBe(before);
  });

  test('reports bad lines with their numbers, and writes the good ones', async () => {
    const good = orders(40_000, 2);
    const body = [
      JSON.stringify(good[0]),
      '{"userId":"1001","amountCents":0}',
      'not json',
      '{"userId":"1001","amountCents":5,"colour":"red"}',
      '{"userId":"777777","amountCents":5,"orderId":"40990"}',
      '',
      JSON.stringify(good[1]),
    ].join('\n');
    const { json } = await finished((await send(body)).json['ingestionId']);
    expect(json).toMatchObject({ status: 'completed', inserted: 2, rejected: 4 });
    const rejects = json['rejects'] as { line: number; code: string }[];
    const byLine = rejects.toSorted((a, b) => a.line - b.line);
    expect(byLine.map((reject) => [reject.line, reject.code])).toEqual([
      [2, 'validation-failed'],
      [3, 'validation-failed'],
      [4, 'validation-failed'],
      [5, 'user-not-found'],
    ]);
  });

  test('the same idempotency key and body is the same ingestion; another body is refused', async () => {
    const key = { 'idempotency-key': 'batch-1' };
    const body = ndjson([{ userId: '1001', amountCents: 7 }]);
    const first = await send(body, key);
    const second = await send(body, key);
    const other = await send(ndjson([{ userId: '1001', amountCents: 8 }]), key);
    expect([first.status, second.status, other.status]).toEqual([202, 202, 409]);
    expect(second.json['ingestionId']).toBe(first.json['ingestionId']);
    expect(other.json['code']).toBe('idempotency-conflict');
    const { json } = await finished(first.json['ingestionId']);
    expect(json).toMatchObject({ received: 1, inserted: 1 });
  });

  test('refuses other media types, broken arrays and empty bodies', async () => {
    const post = (type: string, body: string): Promise<HttpReply> =>
      app.http.request('POST', '/api/orders/batch', { headers: { 'content-type': type }, body });
    const before = await orderCount();
    const csv = await post('text/csv', 'a,b');
    expect([csv.status, csv.json['code']]).toEqual([415, 'unsupported-media-type']);
    const broken = await post('application/json', '[{"userId":"1001","amountCents":5},');
    expect([broken.status, broken.json['code']]).toEqual([400, 'validation-failed']);
    const notArray = await post('application/json', '{"userId":"1001","amountCents":5}');
    expect([notArray.status, notArray.json['code']]).toEqual([400, 'validation-failed']);
    const empty = await post('application/x-ndjson', '');
    expect([empty.status, empty.json['code']]).toEqual([400, 'validation-failed']);
    expect(await orderCount()).toBe(before);
  });

  test('an ingestion that is not there is a 404', async () => {
    const reply = await app.http.get('/api/ingestions/nothing-here');
    expect([reply.status, reply.json['code']]).toEqual([404, 'not-found']);
  });
});

describe('the orders queue', () => {
  test('takes single orders, lists and blob references; a second delivery changes nothing', async () => {
    const before = await orderCount();
    const single = { userId: '1001', amountCents: 11, orderId: '50001' };
    await app.enqueue('orders', single);
    await app.enqueue('orders', single);
    await app.enqueue('orders', { userId: '2002', amountCents: 12 });
    await app.enqueue('orders', { orders: orders(51_000, 500) });
    await app.uploadBlob('drop', 'orders.ndjson', ndjson(orders(52_000, 700)));
    await app.enqueue('orders', { blob: 'drop/orders.ndjson', batchId: 'drop-1' });
    await app.enqueue('orders', { blob: 'drop/orders.ndjson', batchId: 'drop-1' });
    await app.enqueue('orders', { orders: orders(53_000, 20), batchId: 'list-1' });
    const expected = before + 1 + 1 + 500 + 700 + 20;
    await until(orderCount, (count) => count >= expected, { timeoutMs: 60_000 });
    await app.queueDrained('orders');
    expect(await orderCount()).toBe(expected);
    expect((await finished('drop-1')).json).toMatchObject({ received: 700, inserted: 700 });
    expect((await finished('list-1')).json).toMatchObject({ received: 20, inserted: 20 });
    expect(await app.poisonCount('orders')).toBe(0);
  });

  test('malformed messages become poison, disturb no other, and can be looked at and sent back', async () => {
    const before = await orderCount();
    await app.enqueue('orders', { userId: '1001', amountCents: 'many' });
    await app.enqueue('orders', { userId: '888888', amountCents: 5, orderId: '54001' });
    await app.enqueue('orders', { userId: '1001', amountCents: 5, orderId: '54002' });
    await until(
      () => app.poisonCount('orders'),
      (count) => count === 2,
      { timeoutMs: 60_000 },
    );
    expect(await orderCount()).toBe(before + 1);

    const listing = await app.http.get('/api/ops/poison?queue=orders');
    expect(listing.status).toBe(200);
    expect(listing.text).toContain('888888');

    await app.http.post('/api/users', { userId: '888888', email: 'late@example.com' });
    const redrive = await app.http.post('/api/ops/poison/redrive', { queue: 'orders' });
    expect([200, 202]).toContain(redrive.status);
    await until(orderCount, (count) => count === before + 2, { timeoutMs: 60_000 });
    // The malformed one comes back.
    await until(
      () => app.poisonCount('orders'),
      (count) => count === 1,
      { timeoutMs: 60_000 },
    );
  });
});
