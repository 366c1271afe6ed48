import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { createFaults } from '../support/faults/faults.ts';
import { until } from '../support/http.ts';
import {
  expectWholeLog,
  logOf,
  maintenanceEnded,
  maintenanceNow,
  startMaintenance,
  watchStatements,
} from '../support/maintenance/operate.ts';
import { createRandom } from '../support/random.ts';

/** The host is killed at moments by chance while every table of three shards is rebuilt. SEED repeats the choices. */
const LONG = process.env['TEST_LONG'] === '1';
const KILLS = LONG ? 10 : 3;
const SETTINGS = {
  MAINTENANCE_MAX_THREADS_RUNNING: '1000',
  MAINTENANCE_MAX_PROBE_MS: '5000',
  MAINTENANCE_SHARDS_AT_ONCE: '2',
  // What a killed host's connections still hold is waited for, not skipped.
  MAINTENANCE_LOCK_WAIT_MS: '20000',
};

/** All in the long form; else some that every shard has rows in. */
const TABLES = LONG
  ? {}
  : { tables: ['orders', 'users', 'email_directory', 'bucket_ownership', 'sagas'] };

let app: TestApp;
const faults = createFaults();
beforeAll(async () => {
  app = await startTestApp({ settings: SETTINGS, faults });
});
afterAll(async () => {
  await app.stop();
  await faults.remove();
});

test(`a run ends although the host is killed ${KILLS} times`, async () => {
  const random = createRandom();
  console.log(`SEED=${random.seed}`);
  const watch = watchStatements(app, 3);
  const id = await startMaintenance(app, { force: true, ...TABLES });
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const run = await until(
      () => maintenanceNow(app, id),
      (found) => (found?.progress.units ?? 0) > 0,
      { timeoutMs: 60_000, everyMs: 20 },
    );
    const { unitsDone = 0, units = 0 } = run?.progress ?? {};
    const least = Math.min(units - 1, unitsDone + random.below(Math.ceil(units / KILLS)));
    await until(
      () => maintenanceNow(app, id),
      (found) => (found?.progress.unitsDone ?? 0) >= least,
      { timeoutMs: 60_000, everyMs: 20 },
    );
    await sleep(random.below(150));
    await app.kill();
    console.log(`kill ${kill} from unit ${least} of ${units} on`);
    await app.restart();
  }
  const run = await maintenanceEnded(app, id);
  const most = await watch.stop();
  console.log(`${JSON.stringify(run.counts)}; statements at once on a shard: at most ${most}`);
  expect(run.status).toBe('completed');
  expect(run.counts.done + run.counts.unneeded).toBe(run.progress.units);
  expect(most).toBeLessThanOrEqual(1);
  await expectWholeLog(app, run);
});

test('killed after a unit was done and before that was written down: it is done again, alone', async () => {
  const once = faults.arm({ point: 'maintenance.afterUnit', subject: '1/orders', action: 'exit' });
  const id = await startMaintenance(app, { force: true, tables: ['orders', 'users'] });
  await faults.happened(once);
  await app.ended();
  await app.restart();
  const run = await maintenanceEnded(app, id);
  expect(run.counts.done + run.counts.unneeded).toBe(6);
  const log = await logOf(app, 1, id);
  expect(log.filter(({ table }) => table === 'orders')).toHaveLength(2);
  await expectWholeLog(app, run);
});

test('killed after a run was accepted and before it was started: the next one who asks starts it', async () => {
  const once = faults.arm({ point: 'maintenance.afterClaim', subject: /./, action: 'exit' });
  await expect(startMaintenance(app, { dryRun: true })).rejects.toThrow(/./);
  const [hit] = await faults.happened(once);
  await app.ended();
  await app.restart();
  const second = await app.http.post('/api/ops/maintenance', {});
  expect([second.status, second.text]).toEqual([
    409,
    expect.stringContaining(String(hit?.subject)),
  ]);
  const run = await maintenanceEnded(app, 'latest');
  expect([run.maintenanceId, run.status]).toEqual([hit?.subject, 'completed']);
});
