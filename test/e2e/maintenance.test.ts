import { spawn } from 'node:child_process';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { pageViewSchema } from '../../src/maintenance/run-view.ts';
import { maintenanceLock } from '../../src/maintenance/unit.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';
import {
  expectWholeLog,
  maintenanceEnded,
  maintenanceNow,
  startMaintenance,
  watchStatements,
} from '../support/maintenance/operate.ts';

const SETTINGS = {
  // The tests' machine has two cores for three servers, the app and its callers.
  MAINTENANCE_MAX_THREADS_RUNNING: '1000',
  MAINTENANCE_MAX_PROBE_MS: '5000',
  MAINTENANCE_RETRY_MS: '500',
  MAINTENANCE_UNIT_TRIES: '2',
};
/** TaskScheduled, SubOrchestrationInstanceCreated, TimerCreated: one event per durable action. */
const SCHEDULED = '4, 7, 10';

let app: TestApp;
let firstRun: string;
beforeAll(async () => {
  app = await startTestApp({ settings: SETTINGS });
  for (let user = 40_000; user < 40_030; user += 1) {
    await app.http.post('/api/users', { userId: `${user}`, email: `u${user}@example.com` });
    await app.http.post(`/api/users/${user}/orders`, { amountCents: 1 });
  }
});
afterEach(() => app.databases.recover());
afterAll(() => app.stop());

test('a whole run: every table of three shards is decided on, with a reason', async () => {
  const watch = watchStatements(app, 3);
  firstRun = await startMaintenance(app, { force: true, tables: ['orders', 'users', 'sagas'] });
  const run = await maintenanceEnded(app, firstRun);
  expect(run.status).toBe('completed');
  expect(await watch.stop()).toBeLessThanOrEqual(1);
  expect(run.tables.map(({ shard, table }) => `${shard}/${table}`).toSorted()).toEqual(
    [0, 1, 2].flatMap((shard) => ['orders', 'sagas', 'users'].map((table) => `${shard}/${table}`)),
  );
  for (const table of run.tables) {
    expect(table.reason).not.toBe('');
    expect(table).toMatchObject({ state: 'done', attempts: 1 });
    expect(table.after).not.toBeNull();
  }
  expect(run.counts.done).toBe(9);
  await expectWholeLog(app, run);
  const plain = await maintenanceEnded(app, await startMaintenance(app));
  expect(plain.tables.filter(({ state }) => state === 'left-alone').length).toBeGreaterThan(3);
  expect(plain.shards.map(({ error }) => error)).toEqual([null, null, null]);
  console.log(
    `a run as at night: ${plain.progress.units} units, ${plain.tables.length} tables, ${JSON.stringify(plain.counts)}`,
  );
});

test('of two that are started at once one is refused', async () => {
  const both = await Promise.all([
    app.http.post('/api/ops/maintenance', {}),
    app.http.post('/api/ops/maintenance', {}),
  ]);
  expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 409]);
  const refused = both.find(({ status }) => status === 409);
  expect(refused?.json['code']).toBe('conflict');
  const taken = both.find(({ status }) => status === 202);
  await maintenanceEnded(app, String(taken?.json['maintenanceId']));
});

/** As the client of another machine does. */
async function holdLock(shard: number): Promise<() => Promise<void>> {
  const { host, port, user, password, database } = app.shards[shard] ?? {};
  const connection = await createConnection({ host, port, user, password, database } as object);
  const lock = maintenanceLock(database ?? '');
  const [rows] = await connection.query('SELECT GET_LOCK(?, 5) AS got', [lock]);
  expect(rows).toEqual([{ got: 1 }]);
  return () => connection.end();
}

test('another machine holds the lock of a shard: its units are skipped, others go on', async () => {
  const release = await holdLock(1);
  try {
    const id = await startMaintenance(app, { force: true, tables: ['orders'] });
    const run = await maintenanceEnded(app, id);
    expect(run.tables.map(({ shard, state, attempts }) => [shard, state, attempts])).toEqual([
      [0, 'done', 1],
      [1, 'skipped', 2],
      [2, 'done', 1],
    ]);
    expect(run.tables[1]?.outcome?.code).toBe('lock-busy');
  } finally {
    await release();
  }
  const after = await maintenanceEnded(
    app,
    await startMaintenance(app, { tables: ['orders'], force: true }),
  );
  // It had no turn last time.
  expect(after.tables.map(({ missed, state }) => [missed, state])).toEqual([
    [0, 'done'],
    [1, 'done'],
    [0, 'done'],
  ]);
});

test('the storage account is away for a while: the run ends all the same', async () => {
  const id = await startMaintenance(app, { force: true, tables: ['orders', 'users', 'sagas'] });
  await app.databases.stack.stopStorage();
  await sleep(2_000);
  await app.databases.stack.startStorage();
  const run = await maintenanceEnded(app, id);
  expect([run.status, run.counts.failed]).toEqual(['completed', 0]);
  await expectWholeLog(app, run);
});

test('a run that is cancelled begins nothing more', async () => {
  const id = await startMaintenance(app, { force: true });
  await until(
    () => maintenanceNow(app, id),
    (run) => (run?.progress.unitsDone ?? 0) >= 1,
    { timeoutMs: 30_000, everyMs: 50 },
  );
  const reply = await app.http.post(`/api/ops/maintenance/${id}/cancel`, {});
  expect(reply.status).toBe(202);
  const run = await maintenanceEnded(app, id);
  expect(run.status).toBe('cancelled');
  expect(run.counts.cancelled).toBeGreaterThan(0);
  await expectWholeLog(app, run);
  const late = await app.http.post(`/api/ops/maintenance/${firstRun}/cancel`, {});
  expect([late.status, late.json['code']]).toEqual([409, 'conflict']);
});

/** Runs the command as an operator does. */
function ops(
  ...args: readonly string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = ['--disable-warning=ExperimentalWarning', 'tools/ops.ts', 'maintenance'];
  const child = spawn(process.execPath, [...command, '--url', app.http.origin, ...args]);
  const ended = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (ended.stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (ended.stderr += String(chunk)));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...ended }));
  });
}

test('the command shows what would be done, does it and watches', async () => {
  const dry = await ops('--dry-run', '--force', '--tables', 'orders,users', '--watch');
  expect([dry.code, dry.stderr]).toEqual([0, '']);
  expect(dry.stdout).toContain('would do (dry run): 0 of 6 units');
  const done = await ops('--force', '--tables', 'orders', '--shards', '0,2', '--watch', '--json');
  expect(done.code).toBe(0);
  expect(pageViewSchema.parse(JSON.parse(done.stdout))).toMatchObject({
    status: 'completed',
    counts: { done: 2 },
  });
  const status = await ops('status');
  expect(status.stdout).toContain('is completed: 2 of 2 units');
  const wrong = await ops('--shards', '9');
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('is no shard')]);
});

test('a shard is away: its tables are told, the others are served', async () => {
  await app.stopShard(2);
  const id = await startMaintenance(app, { force: true, tables: ['orders'] });
  const seen = await until(
    () => maintenanceNow(app, id),
    (run) => run?.counts.done === 2 && run.shards[2]?.error !== null,
    { timeoutMs: 90_000, everyMs: 300 },
  );
  expect(seen?.shards.map(({ state }) => state)).toEqual(['inspected', 'inspected', 'waiting']);
  await app.http.post(`/api/ops/maintenance/${id}/cancel`, {});
  const run = await maintenanceEnded(app, id);
  expect(run.shards[2]).toMatchObject({ state: 'away' });
});

test('history and durable actions per table visited', async () => {
  const run = await maintenanceNow(app, firstRun);
  await app.kill();
  const store = new DatabaseSync(path.join(app.dataDir, 'durable.sqlite'));
  try {
    const from = 'FROM history WHERE instance_id = ?';
    const sum = (text: string): number => Number(store.prepare(text).get(firstRun)?.['value'] ?? 0);
    const bytes = sum(`SELECT SUM(LENGTH(json)) AS value ${from}`);
    const actions = sum(
      `SELECT COUNT(*) AS value ${from} AND json ->> '$.EventType' IN (${SCHEDULED})`,
    );
    const units = run?.progress.units ?? 0;
    console.log(
      `${units} tables visited on 3 shards: per table ${Math.round(bytes / units)} bytes of history, ${(actions / units).toFixed(1)} durable actions`,
    );
    expect(actions).toBeGreaterThan(units);
    // Decide and work; looking at three shards, and the end, are shared by nine.
    expect(actions).toBeLessThanOrEqual(2 * units + 8);
  } finally {
    store.close();
    await app.restart();
  }
});
