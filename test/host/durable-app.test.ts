import { expect, test } from 'vitest';
import { spawnHost, type SpawnedHost } from './support/spawn-host.ts';

async function start(host: SpawnedHost, name: string, input: unknown) {
  const response = await host.fetch(`/api/start/${name}`, {
    method: 'POST',
    body: JSON.stringify(input),
  });
  expect(response.status).toBe(202);
  return (await response.json()) as Record<'id' | 'statusQueryGetUri' | 'sendEventPostUri', string>;
}

async function waitForOutput(host: SpawnedHost, id: string): Promise<unknown> {
  const read = async () =>
    (await (await host.fetch(`/api/result/${id}`)).json()) as { status: string; output: unknown };
  await expect
    .poll(() => read().then(({ status }) => status), { timeout: 20_000 })
    .toBe('Completed');
  return (await read()).output;
}

test('a durable app runs, is asked over the management API, and goes on after kill -9', async () => {
  const host = await spawnHost({ app: 'durable-app' });
  const greeting = await start(host, 'greetAll', ['Ada', 'Grace']);
  expect(await waitForOutput(host, greeting.id)).toEqual(['Hello Ada', 'Hello Grace']);
  const status = await fetch(greeting.statusQueryGetUri);
  expect(await status.json()).toMatchObject({
    runtimeStatus: 'Completed',
    output: ['Hello Ada', 'Hello Grace'],
  });

  const waiting = await start(host, 'waits', null);
  await host.signal('SIGKILL');
  const second = await spawnHost({ app: 'durable-app', dataDir: host.dataDir });
  const path = `/runtime/webhooks/durabletask/instances/${waiting.id}/raiseEvent/go`;
  const raised = await second.fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"ok":true}',
  });
  expect(raised.status).toBe(202);
  expect(await waitForOutput(second, waiting.id)).toEqual({ ok: true });
});

test('with --auth clients need no key, callers of the management API do', async () => {
  const host = await spawnHost({ app: 'durable-app', args: ['--auth'] });
  const waiting = await start(host, 'waits', null);
  expect((await fetch(waiting.statusQueryGetUri)).status).toBe(202);
  const withoutKey = waiting.statusQueryGetUri.replace(/&code=[^&]*/, '');
  expect((await fetch(withoutKey)).status).toBe(401);
  const raise = waiting.sendEventPostUri.replace('{eventName}', 'go');
  const raised = await fetch(raise, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '5',
  });
  expect(raised.status).toBe(202);
  expect(await waitForOutput(host, waiting.id)).toBe(5);
});

test('a function that is still running at shutdown can use the durable client', async () => {
  const host = await spawnHost({ app: 'durable-app' });
  const running = host.fetch('/api/start/waits?waitMs=1000', { method: 'POST', body: 'null' });
  await host.waitFor(/start waits 1000/);
  const ended = host.signal('SIGTERM');
  await host.waitFor(/host stopping/);
  expect((await host.fetch('/api/result/x')).status).toBe(503);
  const response = await running;
  expect(response.status).toBe(202);
  const { id } = (await response.json()) as { id: string };
  expect(await ended).toBe(0);
  const second = await spawnHost({ app: 'durable-app', dataDir: host.dataDir });
  expect(await (await second.fetch(`/api/result/${id}`)).json()).toMatchObject({
    status: 'Running',
  });
});
