import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import { QUICK_REDELIVERY, startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ settings: QUICK_REDELIVERY });
});
afterAll(() => app.stop());

let nextId = 30_000;

/** A user id that no test used before, on the given shard of three. */
function userOn(shard: number): string {
  do nextId += 1;
  while (bucketOf(String(nextId)) % 3 !== shard);
  return String(nextId);
}

/** An email that no test used before, on the given shard of three. */
function emailOn(shard: number): string {
  let email: string;
  do email = `mail${(nextId += 1)}@example.com`;
  while (bucketOf(email) % 3 !== shard);
  return email;
}

async function register(userId: string, email = emailOn(0)): Promise<string> {
  const reply = await app.http.post('/api/users', { userId, email });
  expect(reply.status).toBe(201);
  return userId;
}

/** A user on one shard with an order of 4 999 cents. */
async function userWithOrder(shard: number): Promise<{ userId: string; orderId: string }> {
  const userId = await register(userOn(shard));
  const reply = await app.http.post(`/api/users/${userId}/orders`, { amountCents: 4_999 });
  expect(reply.status).toBe(201);
  return { userId, orderId: String(reply.json['orderId']) };
}

const transfer = (orderId: string, from: string, to: string, headers = {}) =>
  app.http.post(`/api/orders/${orderId}/transfer`, { fromUserId: from, toUserId: to }, headers);

const statusOfOrder = async (userId: string, orderId: string): Promise<number> =>
  (await app.http.get(`/api/users/${userId}/orders/${orderId}`)).status;

const endedSaga = (sagaId: string) =>
  until(
    () => app.http.get(`/api/sagas/${sagaId}`),
    (reply) => reply.status === 200 && reply.json['finishedAt'] !== null,
    { timeoutMs: 60_000 },
  );

describe('registration over two shards', () => {
  test('an email is taken over all shards, whatever its case and outer spaces', async () => {
    const email = emailOn(0);
    await register(userOn(1), email);
    for (const shard of [0, 1, 2]) {
      const userId = userOn(shard);
      const again = await app.http.post('/api/users', {
        userId,
        email: ` ${email.toUpperCase()} `,
      });
      expect([again.status, again.json['code']]).toEqual([409, 'email-taken']);
      expect((await app.http.get(`/api/users/${userId}`)).status).toBe(404);
    }
  });

  test('an id that is taken gives the email back', async () => {
    const userId = await register(userOn(2));
    const email = emailOn(1);
    const refused = await app.http.post('/api/users', { userId, email });
    expect([refused.status, refused.json['code']]).toEqual([409, 'user-conflict']);
    await register(userOn(0), email);
  });

  test('the user is found by the email', async () => {
    const email = emailOn(2);
    const userId = await register(userOn(0), email);
    const found = await app.http.get(`/api/users?email=${encodeURIComponent(email)}`);
    expect([found.status, found.json['userId']]).toEqual([200, userId]);
  });
});

describe('change of email', () => {
  test('frees the old one and takes the new one, on every placement of the three', async () => {
    for (const [user, before, after] of [
      [0, 1, 2],
      [0, 0, 0],
      [1, 0, 1],
      [2, 2, 0],
    ] as const) {
      const [old, fresh] = [emailOn(before), emailOn(after)];
      const userId = await register(userOn(user), old);
      const changed = await app.http.put(`/api/users/${userId}/email`, { email: fresh });
      expect([changed.status, changed.json['email']]).toEqual([200, fresh]);
      const find = (email: string) => app.http.get(`/api/users?email=${encodeURIComponent(email)}`);
      expect((await find(fresh)).json['userId']).toBe(userId);
      expect((await find(old)).status).toBe(404);
      await register(userOn(user), old);
    }
  });

  test('to one that is taken changes nothing', async () => {
    const taken = emailOn(1);
    await register(userOn(2), taken);
    const mine = emailOn(0);
    const userId = await register(userOn(0), mine);
    const refused = await app.http.put(`/api/users/${userId}/email`, { email: taken });
    expect([refused.status, refused.json['code']]).toEqual([409, 'email-taken']);
    expect((await app.http.get(`/api/users/${userId}`)).json['email']).toBe(mine);
  });

  test('of nobody is not found, and reserves nothing', async () => {
    const email = emailOn(1);
    const refused = await app.http.put(`/api/users/${userOn(0)}/email`, { email });
    expect([refused.status, refused.json['code']]).toEqual([404, 'user-not-found']);
    await register(userOn(2), email);
  });
});

describe('POST /api/orders/{orderId}/transfer', () => {
  test('moves an order to a user on another shard, as it was', async () => {
    const { userId, orderId } = await userWithOrder(0);
    const before = await app.http.get(`/api/users/${userId}/orders/${orderId}`);
    const target = await register(userOn(1));
    const total = await app.http.get('/api/revenue');
    const moved = await transfer(orderId, userId, target);
    expect([moved.status, moved.json['status']]).toEqual([200, 'completed']);
    expect(await statusOfOrder(userId, orderId)).toBe(404);
    const after = await app.http.get(`/api/users/${target}/orders/${orderId}`);
    expect(after.json).toEqual({ ...before.json, userId: target });
    const list = await app.http.get(`/api/users/${userId}/orders`);
    expect(list.json['orders']).toEqual([]);
    const now = await app.http.get('/api/revenue');
    expect([now.json['orders'], now.json['totalCents']]).toEqual([
      total.json['orders'],
      total.json['totalCents'],
    ]);
    const saga = await app.http.get(`/api/sagas/${String(moved.json['sagaId'])}`);
    expect(saga.json).toMatchObject({ kind: 'transfer-order', status: 'completed' });
  });

  test('between users of one shard it is done as well, and the saga id is known', async () => {
    const { userId, orderId } = await userWithOrder(2);
    const target = await register(userOn(2));
    const moved = await transfer(orderId, userId, target);
    expect(moved.status).toBe(200);
    expect(await statusOfOrder(target, orderId)).toBe(200);
    const saga = await app.http.get(`/api/sagas/${String(moved.json['sagaId'])}`);
    expect(saga.json).toMatchObject({ kind: 'transfer-order', status: 'completed' });
  });

  test('to a user who does not exist is refused, and the order can be moved afterwards', async () => {
    const { userId, orderId } = await userWithOrder(0);
    const refused = await transfer(orderId, userId, userOn(1));
    expect([refused.status, refused.json['code']]).toEqual([404, 'user-not-found']);
    expect(await statusOfOrder(userId, orderId)).toBe(200);
    const target = await register(userOn(1));
    expect((await transfer(orderId, userId, target)).status).toBe(200);
  });

  test('of an unknown order, or one that has moved away, is refused', async () => {
    const { userId, orderId } = await userWithOrder(0);
    const target = await register(userOn(1));
    const unknown = await transfer('77', userId, target);
    expect([unknown.status, unknown.json['code']]).toEqual([404, 'order-not-found']);
    expect((await transfer(orderId, userId, target)).status).toBe(200);
    const again = await transfer(orderId, userId, target);
    expect([again.status, again.json['code']]).toEqual([404, 'order-not-found']);
  });

  test('to the same user is refused', async () => {
    const { userId, orderId } = await userWithOrder(0);
    const refused = await transfer(orderId, userId, userId);
    expect([refused.status, refused.json['code']]).toEqual([400, 'validation-failed']);
  });

  test('with a key is safe to repeat, and another body under it is refused', async () => {
    const { userId, orderId } = await userWithOrder(0);
    const target = await register(userOn(1));
    const key = { 'idempotency-key': `transfer-${orderId}` };
    const first = await transfer(orderId, userId, target, key);
    const second = await transfer(orderId, userId, target, key);
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.headers.get('idempotent-replay')).toBe('true');
    expect(second.json['sagaId']).toBe(first.json['sagaId']);
    const other = await transfer(orderId, target, userId, key);
    expect([other.status, other.json['code']]).toEqual([409, 'idempotency-conflict']);
  });

  test('there and back again, over every pair of shards', async () => {
    for (const [a, b] of [
      [0, 1],
      [1, 2],
      [2, 2],
    ] as const) {
      const { userId, orderId } = await userWithOrder(a);
      const other = await register(userOn(b));
      for (const [from, to] of [
        [userId, other],
        [other, userId],
        [userId, other],
      ] as const) {
        expect((await transfer(orderId, from, to)).status).toBe(200);
        expect(await statusOfOrder(to, orderId)).toBe(200);
        expect(await statusOfOrder(from, orderId)).toBe(404);
      }
    }
  });

  test('a repeat of the placement inserts nothing again', async () => {
    const userId = await register(userOn(0));
    const target = await register(userOn(1));
    const order = { orderId: '4711', amountCents: 100, createdAt: '2026-01-01T00:00:00.000Z' };
    const place = () => app.http.post(`/api/users/${userId}/orders`, order);
    expect((await place()).status).toBe(201);
    expect((await transfer('4711', userId, target)).status).toBe(200);
    const again = await place();
    expect([again.status, again.headers.get('idempotent-replay')]).toEqual([200, 'true']);
    expect(await statusOfOrder(userId, '4711')).toBe(404);
  });
});

describe('the queue sagas', () => {
  test('carries out each kind under the saga id given, once', async () => {
    const [a, b] = [userOn(0), userOn(1)];
    const message = (sagaId: string, kind: string, input: unknown) => ({ kind, sagaId, input });
    const registrations = [
      message(`q-register-${a}`, 'register-user', { userId: a, email: emailOn(1) }),
      message(`q-register-${b}`, 'register-user', { userId: b, email: emailOn(2) }),
    ];
    await app.enqueueAll('sagas', [...registrations, ...registrations]);
    for (const { sagaId } of registrations) {
      const saga = await endedSaga(sagaId);
      expect(saga.json).toMatchObject({ sagaId, kind: 'register-user', status: 'completed' });
    }
    const email = emailOn(2);
    await app.enqueue('sagas', message(`q-change-${a}`, 'change-email', { userId: a, email }));
    expect((await endedSaga(`q-change-${a}`)).json['status']).toBe('completed');
    expect((await app.http.get(`/api/users/${a}`)).json['email']).toBe(email);
    await app.http.post(`/api/users/${a}/orders`, { orderId: '9', amountCents: 9 });
    const input = { orderId: '9', fromUserId: a, toUserId: b };
    const move = message(`q-move-${a}`, 'transfer-order', input);
    await app.enqueueAll('sagas', [move, move, move]);
    expect((await endedSaga(`q-move-${a}`)).json['status']).toBe('completed');
    await app.queueDrained('sagas');
    expect(await statusOfOrder(b, '9')).toBe(200);
    expect(await app.poisonCount('sagas')).toBe(0);
  });

  test('a refused one is compensated, with the reason', async () => {
    const input = { orderId: '1', fromUserId: userOn(0), toUserId: userOn(1) };
    await app.enqueue('sagas', { kind: 'transfer-order', sagaId: 'q-refused', input });
    const saga = await endedSaga('q-refused');
    expect(saga.json['status']).toBe('compensated');
    expect(JSON.stringify(saga.json)).toContain('user-not-found');
  });

  test('a message that cannot be read goes to the poison queue and disturbs no other', async () => {
    const userId = userOn(2);
    await app.enqueueAll('sagas', [
      { kind: 'no-such-saga', input: {} },
      { kind: 'register-user', sagaId: 'q-bad', input: { email: 'no email' } },
      { kind: 'register-user', sagaId: 'q-good', input: { userId, email: emailOn(0) } },
    ]);
    expect((await endedSaga('q-good')).json['status']).toBe('completed');
    await until(
      () => app.poisonCount('sagas'),
      (count) => count === 2,
      { timeoutMs: 60_000 },
    );
    expect((await app.http.get('/api/sagas/q-bad')).status).toBe(404);
  });
});

test('an unknown saga is not found', async () => {
  const reply = await app.http.get('/api/sagas/nothing-of-the-kind');
  expect([reply.status, reply.json['code']]).toEqual([404, 'not-found']);
});

test('the invariant checker is green after all of this', async () => {
  expectGreen(await verifyCluster(app));
});
