import { afterAll, beforeAll, expect, test } from 'vitest';
import { homeBucketOf, type SagaId } from '../../src/sagas/saga-id.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { createFaults, type Faults } from '../support/faults/faults.ts';
import { until } from '../support/http.ts';
import { createKeys, type Keys } from '../support/sagas/placement.ts';
import { endedSaga } from '../support/sagas/watch.ts';

/** Operators and the sweep with the real runner, by timer and by hand. */
let faults: Faults;
let app: TestApp;
let keys: Keys;

beforeAll(async () => {
  faults = createFaults();
  keys = createKeys(700_000);
  app = await startTestApp({
    faults,
    settings: { SAGA_STALE_MS: '2000', SAGA_SWEEP_SCHEDULE: '*/2 * * * * *' },
  });
});
afterAll(async () => {
  await app.stop();
  await faults.remove();
});

/** Sends a registration over two shards under an id; its outcome is up to what was armed. */
async function register(sagaId: string): Promise<{ userId: string; email: string }> {
  const registration = { userId: keys.userOn(1), email: keys.emailOn(0) };
  await app.enqueue('sagas', { kind: 'register-user', sagaId, input: registration });
  return registration;
}

const saga = (sagaId: string) => app.http.get(`/api/sagas/${sagaId}`);

const order = (sagaId: string, verb: string) =>
  app.http.post(`/api/ops/sagas/${sagaId}/${verb}`, { reason: 'the test says so', by: 'Ada' });

async function entriesOf(sagaId: string): Promise<readonly Record<string, unknown>[]> {
  const reply = await app.http.get(`/api/ops/sagas/${sagaId}/audit`);
  return reply.json['entries'] as Record<string, unknown>[];
}

/** Waits until a saga shows as in need of attention, to operators. */
const needsAttention = (sagaId: string) =>
  until(
    () => app.http.get('/api/ops/sagas?attention=true'),
    ({ json }) => (json['sagas'] as { sagaId: string }[]).some((one) => one.sagaId === sagaId),
    { timeoutMs: 60_000 },
  );

test('a saga whose start was lost with its host is settled by the timer', async () => {
  const fault = faults.arm({ point: 'sagas.beforeStart', subject: /^s1-/, action: 'exit' });
  const email = keys.emailOn(0);
  const lost = app.http.post('/api/users', { userId: keys.userOn(1), email }).catch(() => null);
  await faults.happened(fault);
  await app.ended();
  await lost;
  await app.restart();
  const { json } = await until(
    () => app.http.get('/api/ops/sagas?kind=register-user&status=compensated'),
    ({ json: page }) => (page['sagas'] as unknown[]).length > 0,
    { timeoutMs: 60_000 },
  );
  const [settled] = json['sagas'] as { sagaId: string; finishedAt: string | null }[];
  expect(settled?.sagaId).toMatch(/^s1-/);
  expect(settled?.finishedAt).not.toBeNull();
  const again = await app.http.post('/api/users', { userId: keys.userOn(1), email });
  expect(again.status).toBe(201);
});

test('a row without an orchestration is compensated by the sweep, and the report tells', async () => {
  const sagaId = 'e2e-row-only' as SagaId;
  const bucket = homeBucketOf(sagaId);
  const email = keys.emailOn(2);
  const input = {
    createdAt: '2026-01-01T00:00:00.000Z',
    email: { address: email, normalized: email },
    userId: keys.userOn(0),
  };
  await app.sql(
    bucket % 3,
    `INSERT INTO sagas (bucket, saga_id, kind, status, attention, input, created_at, updated_at)
     VALUES (?, ?, 'register-user', 'running', 0, ?, '2026-01-01', '2026-01-01')`,
    [bucket, sagaId, JSON.stringify(input)],
  );
  const swept = await app.http.post('/api/ops/sagas/sweep', {});
  expect(swept.status).toBe(200);
  const ended = await endedSaga(app, sagaId);
  expect(ended['status']).toBe('compensated');
  const last = await app.http.get('/api/ops/sagas/sweep');
  expect([last.status, last.json['complete']]).toEqual([200, true]);
});

test('a step that does not get on is shown, and an operator’s retry is followed and audited', async () => {
  const sagaId = 'e2e-retry';
  const times = 6;
  faults.arm({
    point: 'sagas.beforeStep',
    subject: `${sagaId}/confirm-email/run`,
    action: 'transient',
    times,
  });
  const { email } = await register(sagaId);
  await needsAttention(sagaId);
  const ordered = await order(sagaId, 'retry');
  expect([ordered.status, ordered.json['state']]).toEqual([202, 'requested']);
  const refused = await order(sagaId, 'compensate');
  expect(refused.status).toBe(202);
  const ended = await endedSaga(app, sagaId);
  expect(ended['status']).toBe('completed');
  expect((await app.http.get(`/api/users?email=${encodeURIComponent(email)}`)).status).toBe(200);
  const entries = await entriesOf(sagaId);
  expect(entries.map(({ verb, state }) => [verb, state])).toEqual([
    ['compensate', 'refused'],
    ['retry', 'applied'],
  ]);
  expect((await order(sagaId, 'retry')).status).toBe(409);
});

test('an operator may skip what comes after the pivot, or have all taken back before it', async () => {
  const forward = 'e2e-skip';
  const back = 'e2e-compensate';
  for (const subject of [`${forward}/confirm-email/run`, `${back}/create-user/run`]) {
    faults.arm({ point: 'sagas.beforeStep', subject, action: 'transient', times: 50 });
  }
  await register(forward);
  const { email } = await register(back);
  await needsAttention(forward);
  expect((await order(forward, 'skip')).status).toBe(202);
  expect((await endedSaga(app, forward))['status']).toBe('completed');
  expect((await entriesOf(forward))[0]).toMatchObject({ verb: 'skip', state: 'applied' });
  await until(
    () => saga(back),
    ({ status }) => status === 200,
    { timeoutMs: 60_000 },
  );
  expect((await order(back, 'compensate')).status).toBe(202);
  expect((await endedSaga(app, back))['status']).toBe('compensated');
  expect((await entriesOf(back))[0]).toMatchObject({ verb: 'compensate', state: 'applied' });
  expect((await app.http.get(`/api/users?email=${encodeURIComponent(email)}`)).status).toBe(404);
});
