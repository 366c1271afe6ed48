import { afterAll, beforeAll, expect, test } from 'vitest';
import { QUICK_REDELIVERY, startTestApp, type TestApp } from '../support/app.ts';

/** What must not be found in any line that the host prints, whatever the level: it is somebody's, or a secret. */
const PRIVATE = {
  email: 'very.private.person@example.com',
  changed: 'another.private.person@example.com',
  key: 'private-idempotency-key-4711',
  password: 'not-yet-known',
};

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({
    settings: { ...QUICK_REDELIVERY, LOG_LEVEL: 'debug', SAGA_SWEEP_SCHEDULE: '* * * * * *' },
  });
});
afterAll(() => app.stop());

test('emails, idempotency keys and passwords are in no line of the log', async () => {
  const { http } = app;
  const key = { 'idempotency-key': PRIVATE.key };
  const statuses: number[] = [];
  const tell = async (reply: Promise<{ readonly status: number }>): Promise<void> => {
    statuses.push((await reply).status);
  };
  const { email, changed } = PRIVATE;
  await tell(http.post('/api/users', { userId: '1001', email }, key));
  await tell(http.post('/api/users', { userId: '1001', email }, key));
  await tell(http.post('/api/users', { userId: '2002', email }));
  await tell(http.post('/api/users', { userId: '2002', email: `${email} and more@` }));
  await tell(http.post('/api/users', { userId: '2002', email: `x.${email}` }));
  await tell(http.get(`/api/users?email=${encodeURIComponent(email)}`));
  await tell(http.put('/api/users/1001/email', { email: changed }));
  await tell(http.put('/api/users/2002/email', { email: changed }));
  await tell(http.post('/api/users/1001/orders', { orderId: '9', amountCents: 5 }, key));
  await tell(http.post('/api/users/1001/orders', { amountCents: 6 }, key));
  await tell(http.post('/api/orders/9/transfer', { fromUserId: '1001', toUserId: '2002' }, key));
  await tell(http.request('POST', '/api/users', { headers: key, body: `{"email": "${email}` }));
  expect(statuses).toEqual([201, 200, 409, 400, 201, 200, 200, 409, 201, 409, 200, 415]);
  await app.enqueue('sagas', { kind: 'register-user', input: { email: `queued.${email}` } });
  await app.enqueue('orders', `{"userId": "1001", "note": "${email}`);
  await app.queueDrained('sagas');
  await app.queueDrained('orders', 60_000);
  await app.stopShard(0);
  await tell(http.post('/api/users', { userId: '3003', email: `late.${email}` }, key));
  await app.startShard(0);

  const password = app.shards[0]?.password ?? PRIVATE.password;
  const told = app.output.filter((line) =>
    [email, changed, PRIVATE.key, password].some((text) => line.includes(text)),
  );
  expect(app.output.length).toBeGreaterThan(20);
  expect(told).toEqual([]);
});
