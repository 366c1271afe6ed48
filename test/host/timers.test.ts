import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { spawnCli, spawnHost } from './support/spawn-host.ts';

const YEARLY = { TIMER_SCHEDULE: '0 0 0 1 1 *', TZ: 'UTC' };

test('a timer never overlaps itself, and below a minute it has no status', async () => {
  const host = await spawnHost({ app: 'timer-app', env: YEARLY });
  await expect
    .poll(() => host.output().match(/ticking ends/g)?.length, { timeout: 20_000 })
    .toBe(3);
  const order = host.output().match(/ticking (begins|ends)/g) ?? [];
  order.slice(0, 6).forEach((line, index) => {
    expect(line).toBe(index % 2 === 0 ? 'ticking begins' : 'ticking ends');
  });
  const payload = /ticking begins (\{.*\})/.exec(host.output())?.[1] ?? '';
  expect(JSON.parse(payload)).toEqual({
    schedule: { adjustForDST: true },
    scheduleStatus: null,
    isPastDue: false,
  });
});

test('a timer that was due while the host was down runs at once as past due, and only once', async () => {
  const host = await spawnHost({ app: 'timer-app', env: YEARLY });
  await host.signal('SIGKILL');
  expect(host.output()).not.toMatch(/nightly \{/);

  const database = new DatabaseSync(join(host.dataDir, 'host.sqlite'));
  const lastYear = Date.UTC(new Date().getUTCFullYear() - 1, 0, 1);
  const thisYear = Date.UTC(new Date().getUTCFullYear(), 0, 1);
  database
    .prepare(
      `UPDATE timer_records SET last_ms = ?, last_updated_ms = ?, next_ms = ? WHERE function_name = 'nightly'`,
    )
    .run(lastYear, lastYear, thisYear);
  database.close();

  const late = await spawnHost({ app: 'timer-app', env: YEARLY, dataDir: host.dataDir });
  const match = await late.waitFor(/nightly (\{.*\})/);
  expect(JSON.parse(match[1] ?? '')).toMatchObject({
    isPastDue: true,
    scheduleStatus: {
      last: `${new Date(lastYear).getUTCFullYear()}-01-01T00:00:00+00:00`,
      next: `${new Date(thisYear).getUTCFullYear()}-01-01T00:00:00+00:00`,
    },
  });
  await late.signal('SIGTERM');
  const third = await spawnHost({ app: 'timer-app', env: YEARLY, dataDir: host.dataDir });
  await third.waitFor(/ticking begins/);
  expect(third.output()).not.toMatch(/nightly \{/);
});

test('a retry policy runs the function again with its retry context', async () => {
  const host = await spawnHost({ app: 'timer-app', env: YEARLY });
  await host.waitFor(/retried 3/);
  const contexts = [...host.output().matchAll(/retried \d (.*)/g)].map(
    (match) => JSON.parse(match[1] ?? '') as unknown,
  );
  expect(contexts[0]).toBeNull();
  expect(contexts[2]).toMatchObject({ retryCount: 2, maxRetryCount: 2 });
  expect(host.output()).not.toContain('timer_function_failed');
});

test('starting by hand runs the timer, which is not past due', async () => {
  const host = await spawnHost({ app: 'timer-app', env: YEARLY });
  const response = await host.fetch('/admin/functions/nightly', { method: 'POST' });
  expect(response.status).toBe(202);
  const match = await host.waitFor(/nightly (\{.*\})/);
  expect(JSON.parse(match[1] ?? '')).toMatchObject({ isPastDue: false });
});

test('a timer can have a client for orchestrations', async () => {
  const host = await spawnHost({ app: 'timer-app', env: YEARLY });
  const response = await host.fetch('/admin/functions/starter', { method: 'POST' });
  expect(response.status).toBe(202);
  await host.waitFor(/started by a timer/);
});

test('a schedule that cannot be read stops the start and names the function', async () => {
  const host = spawnCli({ app: 'timer-app', env: { TIMER_SCHEDULE: '0 0 25 * * *' } });
  expect(await host.ended).toBe(1);
  expect(host.output()).toMatch(
    /Function "nightly": the schedule "0 0 25 \* \* \*" is wrong: the hour "25"/,
  );
});
