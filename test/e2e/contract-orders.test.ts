import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  for (const userId of ['1001', '2002', '3003', '4004']) {
    await app.http.post('/api/users', { userId, email: `u${userId}@example.com` });
  }
});
afterAll(() => app.stop());

describe('POST /api/users/{userId}/orders', () => {
  test('places an order', async () => {
    const reply = await app.http.post('/api/users/1001/orders', { amountCents: 4999 });
    expect(reply.status).toBe(201);
    expect(reply.json).toMatchObject({ userId: '1001', amountCents: 4999 });
    expect(reply.json['orderId']).toMatch(/^[1-9]\d{0,18}$/);
    const orderId = String(reply.json['orderId']);
    expect(reply.headers.get('location')).toMatch(new RegExp(`/api/users/1001/orders/${orderId}$`));
    const found = await app.http.get(`/api/users/1001/orders/${orderId}`);
    expect(found.status).toBe(200);
    expect(found.json).toEqual(reply.json);
  });

  test('replays the same id with the same content', async () => {
    const order = { orderId: '77', amountCents: 1299, createdAt: '2026-03-01T10:00:00+01:00' };
    const first = await app.http.post('/api/users/2002/orders', order);
    const second = await app.http.post('/api/users/2002/orders', order);
    expect([first.status, second.status]).toEqual([201, 200]);
    expect(first.json['createdAt']).toBe('2026-03-01T09:00:00.000Z');
    expect(second.headers.get('idempotent-replay')).toBe('true');
    expect(second.json).toEqual(first.json);
  });

  test('a repeat without a time is the same order, with the time it was given first', async () => {
    const first = await app.http.post('/api/users/2002/orders', { orderId: '78', amountCents: 5 });
    const second = await app.http.post('/api/users/2002/orders', { orderId: '78', amountCents: 5 });
    expect(second.status).toBe(200);
    expect(second.json).toEqual(first.json);
  });

  test('refuses the same id with other content', async () => {
    await app.http.post('/api/users/2002/orders', { orderId: '79', amountCents: 5 });
    const reply = await app.http.post('/api/users/2002/orders', { orderId: '79', amountCents: 6 });
    expect(reply.status).toBe(409);
    expect(reply.json['code']).toBe('order-conflict');
  });

  test('replays by idempotency key, and refuses it for another body', async () => {
    const key = { 'idempotency-key': 'order-a' };
    const first = await app.http.post('/api/users/3003/orders', { amountCents: 8800 }, key);
    const second = await app.http.post('/api/users/3003/orders', { amountCents: 8800 }, key);
    const other = await app.http.post('/api/users/3003/orders', { amountCents: 8801 }, key);
    expect([first.status, second.status, other.status]).toEqual([201, 200, 409]);
    expect(second.json).toEqual(first.json);
    expect(other.json['code']).toBe('idempotency-conflict');
  });

  test('the same key of another user is another key', async () => {
    const key = { 'idempotency-key': 'order-shared' };
    const one = await app.http.post('/api/users/1001/orders', { amountCents: 1 }, key);
    const two = await app.http.post('/api/users/2002/orders', { amountCents: 2 }, key);
    expect([one.status, two.status]).toEqual([201, 201]);
  });

  test('refuses an unknown user', async () => {
    const reply = await app.http.post('/api/users/424242/orders', { amountCents: 1 });
    expect(reply.status).toBe(404);
    expect(reply.json['code']).toBe('user-not-found');
  });

  test('of 32 identical requests at once exactly one places the order', async () => {
    const order = { orderId: '9001', amountCents: 33 };
    const replies = await Promise.all(
      Array.from({ length: 32 }, () => app.http.post('/api/users/4004/orders', order)),
    );
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.status === 200)).toHaveLength(31);
  });
});

describe('GET /api/users/{userId}/orders', () => {
  test('pages newest first, each order once', async () => {
    await app.http.post('/api/users', { userId: '8008', email: 'pages@example.com' });
    const times = [3, 1, 2, 2, 5, 4, 2].map((day) => `2026-02-0${day}T00:00:00.000Z`);
    for (const [index, createdAt] of times.entries()) {
      const order = { orderId: String(100 + index), amountCents: index + 1, createdAt };
      expect((await app.http.post('/api/users/8008/orders', order)).status).toBe(201);
    }
    const seen: Record<string, unknown>[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const query: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const page = await app.http.get(`/api/users/8008/orders?limit=2${query}`);
      expect(page.status).toBe(200);
      seen.push(...(page.json['orders'] as Record<string, unknown>[]));
      cursor = page.json['nextCursor'] as string | null;
    }
    const ids = seen.map((order) => order['orderId']);
    expect(new Set(ids).size).toBe(times.length);
    const stamps = seen.map((order) => String(order['createdAt']));
    expect(stamps).toEqual([...stamps].toSorted().toReversed());
  });

  test.each(['limit=0', 'limit=1001', 'limit=x', 'cursor=%21%21', 'color=red'])(
    'refuses ?%s',
    async (query) => {
      const reply = await app.http.get(`/api/users/1001/orders?${query}`);
      expect(reply.status).toBe(400);
      expect(reply.json['code']).toBe('validation-failed');
    },
  );

  test('an order that is not there is a 404', async () => {
    const reply = await app.http.get('/api/users/1001/orders/123456');
    expect(reply.status).toBe(404);
    expect(reply.json['code']).toBe('order-not-found');
  });
});

describe('POST /api/orders/{orderId}/transfer', () => {
  /** Ids of four users: two of one shard, one of another, and their order. */
  const [from, sameShard, otherShard] = ['1001', '2002', '3003'] as const;
  const transfer = (orderId: string, body: unknown, headers: Record<string, string> = {}) =>
    app.http.post(`/api/orders/${orderId}/transfer`, body, headers);

  test.each([
    ['by one transaction', sameShard],
    ['by a saga', otherShard],
  ])('%s: list, order and placement agree on who has it', async (_name, to) => {
    const order = { orderId: `50${to}`, amountCents: 7, createdAt: '2026-03-01T09:00:00.000Z' };
    const first = await app.http.post(`/api/users/${from}/orders`, order);
    expect(first.status).toBe(201);
    const before = await app.http.get('/api/revenue');
    const moved = await transfer(order.orderId, { fromUserId: from, toUserId: to });
    expect(moved.status).toBe(200);
    expect(moved.json).toEqual({
      sagaId: expect.any(String) as string,
      status: 'completed',
      orderId: order.orderId,
      fromUserId: from,
      toUserId: to,
      order: { ...first.json, userId: to },
    });
    const ids = async (userId: string): Promise<unknown[]> => {
      const { json } = await app.http.get(`/api/users/${userId}/orders?limit=1000`);
      return (json['orders'] as { orderId: string }[]).map(({ orderId }) => orderId);
    };
    expect(await ids(from)).not.toContain(order.orderId);
    expect(await ids(to)).toContain(order.orderId);
    const repeat = await app.http.post(`/api/users/${from}/orders`, order);
    expect([repeat.status, repeat.json]).toEqual([200, first.json]);
    const after = await app.http.get('/api/revenue');
    expect([after.json['orders'], after.json['totalCents']]).toEqual([
      before.json['orders'],
      before.json['totalCents'],
    ]);
  });

  test('a message for an order that has moved since inserts nothing', async () => {
    const order = { orderId: '5999', userId: from, amountCents: 9 };
    await app.http.post(`/api/users/${from}/orders`, { orderId: '5999', amountCents: 9 });
    const body = { fromUserId: from, toUserId: otherShard };
    expect((await transfer('5999', body)).status).toBe(200);
    await app.enqueue('orders', order);
    await app.queueDrained('orders');
    expect((await app.http.get(`/api/users/${from}/orders/5999`)).status).toBe(404);
    expect((await app.http.get(`/api/users/${otherShard}/orders/5999`)).status).toBe(200);
    expect(await app.poisonCount('orders')).toBe(0);
  });

  test.each([
    { fromUserId: from, toUserId: from },
    { fromUserId: from },
    { fromUserId: from, toUserId: otherShard, amountCents: 1 },
  ])('refuses %j', async (body) => {
    const reply = await transfer('1', body);
    expect([reply.status, reply.json['code']]).toEqual([400, 'validation-failed']);
  });
});
