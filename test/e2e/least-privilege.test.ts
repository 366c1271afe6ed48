import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadMigrations } from '../../src/database/migration-files.ts';
import { rebalanceSchema, type Rebalance } from '../../src/rebalancing/run-model.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { type DatabaseUser, userStatements } from '../../tools/deploy/database-users.ts';
import { deliverSchema, exitCodeOf } from '../../tools/deploy/schema.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { asAdmin, type TestDatabases } from '../support/cluster.ts';
import { until, type HttpReply } from '../support/http.ts';
import { maintenanceEnded, startMaintenance } from '../support/maintenance/operate.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

/** The whole product under exactly the rights that a deployment gives its two users. */

const SETTINGS = {
  MIGRATE_ON_START: 'false',
  VERIFY_GRACE_MS: '200',
  // The tests' machine has two cores for three servers, the app and its callers.
  REBALANCE_MAX_THREADS_RUNNING: '1000',
  REBALANCE_MAX_PROBE_MS: '5000',
  REBALANCE_PURGE_AFTER_MS: '1000',
  MAINTENANCE_MAX_THREADS_RUNNING: '1000',
  MAINTENANCE_MAX_PROBE_MS: '5000',
  MAINTENANCE_HISTOGRAMS: 'users.created_at',
};
const APP = 'least-app-e2e';
const PASSWORDS = { app: 'for-tests-1', migrator: 'for-tests-2' };
const USERS: readonly DatabaseUser[] = [
  { role: 'app', name: APP, login: { password: PASSWORDS.app } },
  { role: 'migrator', name: 'least-migrator-e2e', login: { password: PASSWORDS.migrator } },
];
const accounts = USERS.map(({ name }) => `'${name}'@'%'`).join(', ');

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ configured: 2, settings: SETTINGS, signIn: deploy });
});
afterAll(async () => {
  for (const index of app.shards.keys()) {
    await asAdmin(app.databases.stack, index, [`DROP USER IF EXISTS ${accounts}`]);
  }
  await app.stop();
});

/** As a deployment does: users by the administrator, the schema by the migrator. */
async function deploy(databases: TestDatabases): Promise<{ user: string; password: string }> {
  for (const index of databases.shards.keys()) {
    await asAdmin(databases.stack, index, [
      `DROP USER IF EXISTS ${accounts}`,
      ...USERS.flatMap((user) => userStatements(user, databases.database)),
    ]);
  }
  const shards = databases.shards.map((shard) => ({
    ...shard,
    user: 'least-migrator-e2e',
    password: PASSWORDS.migrator,
    auth: 'password' as const,
  }));
  const files = await loadMigrations();
  const logger = createRecordingLogger();
  const done = await deliverSchema({ shards, files, concurrency: 3, dryRun: false, logger });
  expect(exitCodeOf(done)).toBe(0);
  return { user: APP, password: PASSWORDS.app };
}

let nextId = 70_000;

/** A user id that nothing used before, with a bucket that fits. */
function userIn(fits: (bucket: number) => boolean): string {
  do nextId += 1;
  while (!fits(bucketOf(String(nextId))));
  return String(nextId);
}

/** An email that nothing used before, with its directory entry on the given one of two shards. */
function emailOn(shard: number): string {
  let email: string;
  do email = `least${(nextId += 1)}@example.com`;
  while (bucketOf(email) % 2 !== shard);
  return email;
}

async function expectStatus(reply: Promise<HttpReply>, status: number): Promise<HttpReply> {
  const answer = await reply;
  expect([answer.status, answer.text]).toEqual([status, expect.anything()]);
  return answer;
}

const revenue = async (): Promise<unknown> => (await app.http.get('/api/revenue')).json;

test('orders, a batch, and sagas over two shards', async () => {
  const [from, to] = [userIn((bucket) => bucket % 2 === 0), userIn((bucket) => bucket % 2 === 1)];
  for (const [userId, email] of [
    [from, emailOn(1)],
    [to, emailOn(1)],
  ]) {
    await expectStatus(app.http.post('/api/users', { userId, email }), 201);
  }
  await expectStatus(app.http.put(`/api/users/${to}/email`, { email: emailOn(0) }), 200);
  const placed = await expectStatus(
    app.http.post(`/api/users/${from}/orders`, { amountCents: 4_999 }),
    201,
  );
  const orderId = String(placed.json['orderId']);
  const transfer = { fromUserId: from, toUserId: to };
  await expectStatus(app.http.post(`/api/orders/${orderId}/transfer`, transfer), 200);
  await expectStatus(app.http.get(`/api/users/${to}/orders/${orderId}`), 200);

  const orders = Array.from({ length: 400 }, (_, index) => ({
    userId: index % 2 === 0 ? from : to,
    orderId: String(1_000 + index),
    amountCents: 10,
    createdAt: '2026-02-01T00:00:00.000Z',
  }));
  const batch = await expectStatus(app.http.post('/api/orders/batch', orders), 202);
  const { json } = await until(
    () => app.http.get(`/api/ingestions/${String(batch.json['ingestionId'])}`),
    (reply) => reply.json['finishedAt'] !== null && reply.status === 200,
    { timeoutMs: 60_000 },
  );
  expect(json).toMatchObject({ status: 'completed', inserted: 400, rejected: 0 });
  expect(await revenue()).toMatchObject({ orders: 401, totalCents: '8999', complete: true });
});

/** Carries a rebalance out to the end of its purge. */
async function rebalance(goal: Record<string, unknown>): Promise<Rebalance> {
  const started = await expectStatus(app.http.post('/api/ops/rebalance', goal), 202);
  const id = String(started.json['rebalanceId']);
  const run = await until<Rebalance>(
    async () => rebalanceSchema.parse((await app.http.get(`/api/ops/rebalances/${id}`)).json),
    ({ status, purge }) =>
      status === 'failed' || (status === 'completed' && purge.purged === purge.buckets),
    { timeoutMs: 120_000, everyMs: 250 },
  );
  expect([run.status, run.progress.bucketsDone, run.purge.purged]).toEqual(['completed', 8, 8]);
  return run;
}

test('a third shard joins, takes buckets, and is drained of their rows', async () => {
  app.setShards(3);
  await app.kill();
  await app.restart();
  const { moves } = await rebalance({ maxBuckets: 8 });
  for (const { bucket } of moves.slice(0, 2)) {
    const userId = userIn((other) => other === bucket);
    await expectStatus(app.http.post('/api/users', { userId, email: emailOn(0) }), 201);
    await expectStatus(app.http.post(`/api/users/${userId}/orders`, { amountCents: 1 }), 201);
  }
  const drained = await rebalance({ drain: [2] });
  expect(drained.progress.rowsCopied).toBeGreaterThanOrEqual(4);
  expect(drained.purge.rows).toBeGreaterThanOrEqual(4);
  expect(await revenue()).toMatchObject({ orders: 403, totalCents: '9001', complete: true });
});

test('maintenance may do and see all that it asks for', async () => {
  const id = await startMaintenance(app, { force: true, tables: ['users', 'orders'] });
  const run = await maintenanceEnded(app, id);
  expect(run.tables.map(({ state, outcome }) => [state, outcome?.code])).toEqual(
    run.tables.map(() => ['done', 'done']),
  );
  expect(new Set(run.tables.map(({ action }) => action))).toEqual(
    new Set(['rebuild', 'histogram']),
  );
  const notes = run.shards.flatMap((shard) => shard.notes);
  expect([...notes, ...run.tables.flatMap(({ outcome }) => outcome?.notes ?? [])]).toEqual([]);
});

test('all is as it must be, and nothing was refused for a right', async () => {
  expectGreen(await verifyCluster(app));
  const refused = app.output.filter((line) => /denied|"failure":"misconfigured"/i.test(line));
  expect(refused).toEqual([]);
  for (const index of app.shards.keys()) {
    const users = await app.sql(
      index,
      'SELECT DISTINCT user AS u FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()',
    );
    expect(users).toEqual([{ u: APP }]);
  }
});
