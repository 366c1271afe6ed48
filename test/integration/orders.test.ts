import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { DatabaseError } from '../../src/database/database-error.ts';
import {
  READ_FIRST_PAGE,
  READ_FIRST_PAGE_AND_OWNER,
  READ_NEXT_PAGE,
  READ_NEXT_PAGE_AND_OWNER,
} from '../../src/orders/statements.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startSliceApp, userIdsOnShard, type SliceApp } from '../support/slice-app.ts';

let app: SliceApp;
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '8000' });
  for (const userId of ['1001', '2002', '3003', '4004']) await app.register(userId);
});
afterEach(() => {
  app.onProbe = () => undefined;
});
afterAll(() => app.stop());

const NOON = '2026-03-01T12:00:00.000Z';

function list(userId: string, query = ''): ReturnType<SliceApp['call']> {
  return app.call('orders-list', {
    params: { userId },
    path: `/api/users/${userId}/orders${query}`,
  });
}

function get(userId: string, orderId: string): ReturnType<SliceApp['call']> {
  return app.call('orders-get', { params: { userId, orderId } });
}

describe('placing an order', () => {
  test('new, same, other content', async () => {
    const body = { orderId: '1', amountCents: 4999, createdAt: NOON };
    const first = await app.place('1001', body);
    expect(first.status).toBe(201);
    expect(first.json).toEqual({
      orderId: '1',
      userId: '1001',
      amountCents: 4999,
      createdAt: NOON,
    });
    expect(first.headers['location']).toBe('/api/users/1001/orders/1');
    const again = await app.place('1001', body);
    expect([again.status, again.headers['idempotent-replay']]).toEqual([200, 'true']);
    expect(again.json).toEqual(first.json);
    for (const change of [{ amountCents: 5000 }, { createdAt: '2026-03-01T12:00:00.001Z' }]) {
      const reply = await app.place('1001', { ...body, ...change });
      expect([reply.status, reply.json['code']]).toEqual([409, 'order-conflict']);
    }
    expect((await get('1001', '1')).json).toEqual(first.json);
  });

  test('a repeat without a time is told the first time, to the millisecond', async () => {
    const first = await app.place('1001', { orderId: '2', amountCents: 5 });
    const again = await app.place('1001', { orderId: '2', amountCents: 5 });
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.json).toEqual(first.json);
    const other = await app.place('1001', { orderId: '2', amountCents: 6 });
    expect(other.json['code']).toBe('order-conflict');
  });

  test('times without a fraction come back whole', async () => {
    await app.place('1001', { orderId: '3', amountCents: 5, createdAt: '1999-12-31T23:59:59Z' });
    expect((await get('1001', '3')).json['createdAt']).toBe('1999-12-31T23:59:59.000Z');
  });

  test('ids are compared as whole numbers, also past 2^53', async () => {
    const ids = [
      '9007199254740992',
      '9007199254740993',
      '9223372036854775806',
      '9223372036854775807',
    ];
    for (const [index, orderId] of ids.entries()) {
      const reply = await app.place('2002', { orderId, amountCents: index + 1, createdAt: NOON });
      expect([reply.status, reply.json['orderId']]).toEqual([201, orderId]);
    }
    for (const [index, orderId] of ids.entries()) {
      expect((await get('2002', orderId)).json['amountCents']).toBe(index + 1);
    }
    const { json } = await list('2002');
    expect((json['orders'] as { orderId: string }[]).map((order) => order.orderId)).toEqual(
      ids.toReversed(),
    );
    const users = ['9223372036854775806', '9223372036854775807'];
    for (const userId of users) await app.register(userId);
    const reply = await app.place('9223372036854775807', { orderId: '1', amountCents: 1 });
    expect(reply.json['userId']).toBe('9223372036854775807');
  });

  test('an unknown user is refused, and nothing is stored', async () => {
    const reply = await app.place('424242', { orderId: '424242', amountCents: 1 });
    expect([reply.status, reply.json['code']]).toEqual([404, 'user-not-found']);
    const keyed = await app.place('424242', { amountCents: 1 }, { 'idempotency-key': 'nobody' });
    expect(keyed.json['code']).toBe('user-not-found');
    expect(await app.allRows('SELECT 1 FROM orders WHERE order_id = 424242')).toEqual([]);
    await app.register('424242');
    const later = await app.place('424242', { amountCents: 2 }, { 'idempotency-key': 'nobody' });
    expect(later.status).toBe(201);
  });

  test('an id taken by another user of the same bucket is a conflict', async () => {
    const [one, two] = usersOfOneBucket();
    await app.register(one);
    await app.register(two);
    await app.place(one, { orderId: '9', amountCents: 1, createdAt: NOON });
    const reply = await app.place(two, { orderId: '9', amountCents: 1, createdAt: NOON });
    expect(reply.json['code']).toBe('order-conflict');
    expect((await get(two, '9')).json['code']).toBe('order-not-found');
  });

  test('32 identical requests at once place one order', async () => {
    const replies = await Promise.all(
      Array.from({ length: 32 }, () => app.place('4004', { orderId: '900', amountCents: 33 })),
    );
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.status === 200)).toHaveLength(31);
    expect(new Set(replies.map((reply) => reply.text)).size).toBe(1);
  });
});

describe('idempotency keys', () => {
  const key = (name: string): Record<string, string> => ({ 'idempotency-key': name });

  test('same body: the first answer; other body: refused', async () => {
    const first = await app.place('3003', { amountCents: 8800 }, key('a'));
    const again = await app.place('3003', { amountCents: 8800 }, key('a'));
    expect([first.status, again.status]).toEqual([201, 200]);
    expect([first.headers['idempotent-replay'], again.headers['idempotent-replay']]).toEqual([
      undefined,
      'true',
    ]);
    expect(again.json).toEqual(first.json);
    for (const body of [{ amountCents: 1 }, { amountCents: 8800, orderId: '1' }]) {
      const reply = await app.place('3003', body, key('a'));
      expect([reply.status, reply.json['code']]).toEqual([409, 'idempotency-conflict']);
    }
  });

  test('belong to a user, also when two users share a bucket', async () => {
    const [one, two] = usersOfOneBucket(50_000);
    await app.register(one);
    await app.register(two);
    const first = await app.place(one, { amountCents: 1 }, key('shared'));
    const second = await app.place(two, { amountCents: 2 }, key('shared'));
    expect([first.status, second.status]).toEqual([201, 201]);
  });

  test('a refused order leaves its key unused', async () => {
    await app.place('3003', { orderId: '70', amountCents: 1, createdAt: NOON });
    const refused = await app.place('3003', { orderId: '70', amountCents: 2 }, key('b'));
    expect(refused.json['code']).toBe('order-conflict');
    const right = await app.place('3003', { orderId: '71', amountCents: 2 }, key('b'));
    expect(right.status).toBe(201);
  });

  test('a new key for an order that is there replays the order', async () => {
    const first = await app.place('3003', { orderId: '72', amountCents: 1 });
    for (let time = 0; time < 2; time += 1) {
      const reply = await app.place('3003', { orderId: '72', amountCents: 1 }, key('c'));
      expect([reply.status, reply.json]).toEqual([200, first.json]);
    }
  });

  test('32 requests with one key at once place one order', async () => {
    const replies = await Promise.all(
      Array.from({ length: 32 }, () => app.place('4004', { amountCents: 44 }, key('at-once'))),
    );
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.status === 200)).toHaveLength(31);
    expect(new Set(replies.map((reply) => reply.text)).size).toBe(1);
    expect(await app.allRows('SELECT 1 FROM orders WHERE amount_cents = 44')).toHaveLength(1);
  });

  test('the answer outlives the order', async () => {
    const first = await app.place('4004', { amountCents: 45 }, key('gone'));
    const shard = bucketOf('4004') % 3;
    await app.rows(shard, 'DELETE FROM orders WHERE order_id = ?', [first.json['orderId']]);
    const again = await app.place('4004', { amountCents: 45 }, key('gone'));
    expect([again.status, again.json]).toEqual([200, first.json]);
  });
});

describe('an answer lost on the way', () => {
  test.each<[string, Record<string, unknown>, Record<string, string>]>([
    ['a made id', { amountCents: 71 }, {}],
    ['an id given', { amountCents: 72, orderId: '7200' }, {}],
    ['a key', { amountCents: 73 }, { 'idempotency-key': 'lost' }],
  ])('is told as the first answer: %s', async (_, body, headers) => {
    let commits = 0;
    app.onProbe = (point) => {
      if (point !== 'orders.afterInsert') return;
      commits += 1;
      if (commits === 1) throw new DatabaseError('lost');
    };
    const reply = await app.place('2002', body, headers);
    expect([reply.status, commits]).toEqual([201, 2]);
    const rows = await app.allRows('SELECT order_id FROM orders WHERE amount_cents = ?', [
      body['amountCents'],
    ]);
    expect(rows).toEqual([{ order_id: reply.json['orderId'] }]);
  });
});

describe('reading', () => {
  test('pages newest first, each order once, ties by id', async () => {
    await app.register('8008');
    const days = [3, 1, 2, 2, 5, 4, 2, 2];
    for (const [index, day] of days.entries()) {
      const createdAt = `2026-02-0${day}T00:00:00.${index % 2 === 0 ? '000' : '123'}Z`;
      await app.place('8008', { orderId: String(100 + index), amountCents: 1, createdAt });
    }
    const { json: whole } = await list('8008');
    const expected = (whole['orders'] as { orderId: string; createdAt: string }[]).toSorted(
      (a, b) => b.createdAt.localeCompare(a.createdAt) || b.orderId.localeCompare(a.orderId),
    );
    expect(expected).toHaveLength(days.length);
    expect(whole).toEqual({ orders: expected, nextCursor: null });
    for (const limit of [1, 2, 3, 7, 8, 9]) {
      const seen: unknown[] = [];
      let cursor: string | null = null;
      do {
        const query: string = cursor === null ? '' : `&cursor=${cursor}`;
        const { status, json } = await list('8008', `?limit=${limit}${query}`);
        expect(status).toBe(200);
        const orders = json['orders'] as unknown[];
        expect(orders.length).toBeGreaterThan(0);
        seen.push(...orders);
        cursor = json['nextCursor'] as string | null;
      } while (cursor !== null);
      expect(seen).toEqual(expected);
    }
  });

  test('no orders, no user, no order', async () => {
    await app.register('8009');
    expect((await list('8009')).json).toEqual({ orders: [], nextCursor: null });
    expect((await list('8010')).json['code']).toBe('user-not-found');
    expect((await get('8010', '1')).json['code']).toBe('user-not-found');
    expect((await get('8009', '1')).json['code']).toBe('order-not-found');
  });

  test.each(['limit=0', 'limit=1001', 'cursor=', 'cursor=AAAA'])(
    '?%s is refused',
    async (query) => {
      const reply = await list('1001', `?${query}`);
      expect([reply.status, reply.json['code']]).toEqual([400, 'validation-failed']);
    },
  );

  test('a page is read from the index, without sorting all orders of the user', async () => {
    const userId = '8008';
    const bucket = bucketOf(userId);
    const time = '2026-02-02 00:00:00.000';
    const many = Array.from({ length: 2_000 }, (_, index) => [
      bucket,
      10_000 + index,
      userId,
      1,
      time,
    ]);
    const insert =
      'INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at) VALUES ?';
    await app.rows(bucket % 3, insert, [many]);
    await app.rows(bucket % 3, 'ANALYZE TABLE orders');
    const next = [time, time, '10500'];
    for (const [text, values] of [
      [READ_FIRST_PAGE, [bucket, userId, userId, 100]],
      [READ_FIRST_PAGE_AND_OWNER, [bucket, userId, userId, 100]],
      [READ_NEXT_PAGE, [bucket, userId, userId, ...next, 100]],
      [READ_NEXT_PAGE_AND_OWNER, [bucket, userId, userId, ...next, 100]],
    ] as const) {
      const explain = app.databases.engine === 'mysql' ? 'EXPLAIN FORMAT=TRADITIONAL' : 'EXPLAIN';
      const plan = await app.rows(bucket % 3, `${explain} ${text}`, values);
      const orders = plan.find((row) => row['table'] === 'orders');
      expect(orders?.['key']).toBe('orders_by_user');
      expect(String(orders?.['Extra'])).not.toMatch(/filesort|temporary/);
    }
  });
});

describe('buckets that are not open', () => {
  test('a fence is waited out, by writes and reads', async () => {
    const bucket = bucketOf('1001');
    await app.fence(bucket);
    const write = app.place('1001', { orderId: '500', amountCents: 5 });
    const keyed = app.place('1001', { amountCents: 5 }, { 'idempotency-key': 'fenced' });
    const read = list('1001', '?limit=1');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await app.allRows('SELECT 1 FROM orders WHERE order_id = 500')).toEqual([]);
    await app.unfence(bucket);
    const statuses = (await Promise.all([write, keyed, read])).map((reply) => reply.status);
    expect(statuses).toEqual([201, 201, 200]);
  });

  test('a fence that stays is a 503 in bounded time', async () => {
    const impatient = await startSliceApp({ REQUEST_DEADLINE_MS: '400' });
    try {
      await impatient.services.database.prewarm();
      await impatient.register('1001');
      await impatient.fence(bucketOf('1001'));
      const startedAt = performance.now();
      const reply = await impatient.place('1001', { amountCents: 5 });
      expect([reply.status, reply.json['code']]).toEqual([503, 'shard-unavailable']);
      expect(reply.headers['retry-after']).toMatch(/^[1-9]\d*$/);
      expect(performance.now() - startedAt).toBeLessThan(3_000);
    } finally {
      await impatient.stop();
    }
  });

  test('a moved bucket is followed, and its old copy never shown', async () => {
    const userId = userIdsOnShard(0, 1, 60_000)[0] as string;
    await app.register(userId);
    await app.place(userId, { orderId: '1', amountCents: 1, createdAt: NOON });
    await app.place(userId, { amountCents: 2 }, { 'idempotency-key': 'moved' });
    await app.moveBucket(bucketOf(userId), 2);
    expect(
      (await app.place(userId, { orderId: '2', amountCents: 2, createdAt: NOON })).status,
    ).toBe(201);
    expect((await app.place(userId, { orderId: '1', amountCents: 1 })).status).toBe(200);
    const replay = await app.place(userId, { amountCents: 2 }, { 'idempotency-key': 'moved' });
    expect(replay.status).toBe(200);
    expect((await list(userId)).json['orders']).toHaveLength(3);
    const count = 'SELECT COUNT(*) AS n FROM orders WHERE user_id = ?';
    expect(await app.rows(0, count, [userId])).toEqual([{ n: '2' }]);
    expect(await app.rows(2, count, [userId])).toEqual([{ n: '3' }]);
  });
});

test('every stored row carries the bucket of its key', async () => {
  const orders = await app.allRows('SELECT bucket, user_id FROM orders');
  expect(orders.length).toBeGreaterThan(20);
  expect(orders.filter((row) => row['bucket'] !== bucketOf(String(row['user_id'])))).toEqual([]);
});

/** Two users whose orders share a bucket. */
function usersOfOneBucket(from = 20_000): readonly [string, string] {
  const bucket = bucketOf(String(from));
  let other = from + 1;
  while (bucketOf(String(other)) !== bucket) other += 1;
  return [String(from), String(other)];
}
