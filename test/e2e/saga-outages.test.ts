import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type HttpReply, until } from '../support/http.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

/** Callers do not wait for a shard that is away: they get a saga to follow, and it ends once the shard is back. */
let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ settings: { REQUEST_DEADLINE_MS: '2000' } });
});
afterAll(() => app.stop());
afterEach(() => app.databases.recover());

const AWAY = 1;

let nextId = 60_000;
function keyOn(shard: number, make: (id: number) => string): string {
  let key: string;
  do key = make((nextId += 1));
  while (bucketOf(key) % 3 !== shard);
  return key;
}
const userOn = (shard: number): string => keyOn(shard, String);
const emailOn = (shard: number): string => keyOn(shard, (id) => `mail${id}@example.com`);

function expectAccepted(reply: HttpReply): string {
  expect(reply.status).toBe(202);
  const sagaId = String(reply.json['sagaId']);
  expect(reply.json['statusUrl']).toBe(`/api/sagas/${sagaId}`);
  return sagaId;
}

const seen = (sagaId: string, so: (saga: HttpReply['json']) => boolean) =>
  until(
    () => app.http.get(`/api/sagas/${sagaId}`),
    (reply) => reply.status === 200 && so(reply.json),
    { timeoutMs: 60_000 },
  );

test('a transfer to a shard that is away: 202, visible tries, and the order stays until it is back', async () => {
  const [from, to] = [userOn(0), userOn(AWAY)];
  for (const userId of [from, to]) {
    const reply = await app.http.post('/api/users', { userId, email: emailOn(2) });
    expect(reply.status).toBe(201);
  }
  await app.http.post(`/api/users/${from}/orders`, { orderId: '1', amountCents: 5 });
  await app.stopShard(AWAY);
  const body = { fromUserId: from, toUserId: to };
  const sagaId = expectAccepted(await app.http.post('/api/orders/1/transfer', body));
  const saga = await seen(sagaId, ({ steps }) => JSON.stringify(steps).includes('lastError'));
  expect(saga.json).toMatchObject({ kind: 'transfer-order', status: 'running', finishedAt: null });
  expect(saga.json['steps']).toEqual([
    { name: 'lock-source', state: 'done', attempts: 1 },
    expect.objectContaining({
      name: 'insert-pending',
      lastError: expect.objectContaining({ code: 'shard-unavailable' }) as unknown,
    }),
    { name: 'remove-source', state: 'pending', attempts: 0 },
    { name: 'confirm-target', state: 'pending', attempts: 0 },
  ]);
  expect((await app.http.get(`/api/users/${from}/orders/1`)).status).toBe(200);
  const again = await app.http.post('/api/orders/1/transfer', body);
  expect([again.status, again.json['code']]).toEqual([409, 'order-conflict']);
  await app.startShard(AWAY);
  expect((await seen(sagaId, (json) => json['finishedAt'] !== null)).json['status']).toBe(
    'completed',
  );
  expect((await app.http.get(`/api/users/${from}/orders/1`)).status).toBe(404);
  expect((await app.http.get(`/api/users/${to}/orders/1`)).status).toBe(200);
});

test('a registration whose shard is away: 202, the email is held, and the user is there in the end', async () => {
  const userId = userOn(AWAY);
  const email = emailOn(0);
  await app.stopShard(AWAY);
  const sagaId = expectAccepted(await app.http.post('/api/users', { userId, email }));
  const rival = await app.http.post('/api/users', { userId: userOn(2), email });
  expect([rival.status, rival.json['code']]).toEqual([409, 'email-taken']);
  await app.startShard(AWAY);
  expect((await seen(sagaId, (json) => json['finishedAt'] !== null)).json['status']).toBe(
    'completed',
  );
  const found = await app.http.get(`/api/users?email=${encodeURIComponent(email)}`);
  expect([found.status, found.json['userId']]).toEqual([200, userId]);
});

test('all of it is whole afterwards', async () => {
  expectGreen(await verifyCluster(app));
});
