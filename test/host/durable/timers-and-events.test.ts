import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, until, type TestHost } from './support/test-host.ts';

const { df } = loadInProcessApp();
const DAY_MS = 86_400_000;

df.app.orchestration('sleeps', function* (context) {
  const now = context.df.currentUtcDateTime.getTime();
  yield context.df.createTimer(new Date(now + Number(context.df.getInput())));
  return context.df.currentUtcDateTime.getTime() >= now + Number(context.df.getInput());
});
df.app.orchestration('eventOrTimeout', function* (context) {
  const timeoutMs = Number(context.df.getInput());
  const timer = context.df.createTimer(
    new Date(context.df.currentUtcDateTime.getTime() + timeoutMs),
  );
  const event = context.df.waitForExternalEvent('answer');
  const winner = yield context.df.Task.any([event, timer]);
  if (winner === timer) return 'timeout';
  timer.cancel();
  return (event as unknown as { result: unknown }).result;
});
df.app.orchestration('collects', function* (context) {
  const count = Number(context.df.getInput());
  yield context.df.waitForExternalEvent('go');
  const items: unknown[] = [];
  for (let i = 0; i < count; i += 1) items.push(yield context.df.waitForExternalEvent('item'));
  return items;
});
df.app.orchestration('eternalCollector', function* (context) {
  const seen = context.df.getInput<number[]>();
  const item = (yield context.df.waitForExternalEvent('item')) as number;
  // No other work between the wait and the new execution: an event that reaches the history
  // meanwhile would be lost, here as on Azure.
  if (seen.length < 9) context.df.continueAsNew([...seen, item]);
  return [...seen, item];
});

let host: TestHost;
let aheadMs = 0;
beforeAll(async () => {
  host = await startTestHost({ clock: () => Date.now() + aheadMs });
});
afterAll(async () => {
  await host.dispose();
});

const raise = (id: string, name: string, value?: unknown) =>
  host.call('POST', `/instances/${id}/raiseEvent/${name}`, value);

describe('timers', () => {
  it('fires not before its time', async () => {
    expect((await host.run('sleeps', 80)).output).toBe(true);
    expect((await host.run('sleeps', -1000)).output).toBe(true);
  });

  it('cancels the timer that lost a race, even one 400 days away', async () => {
    const id = await host.start('eventOrTimeout', 400 * DAY_MS);
    await until(async () => (await host.status(id)).runtimeStatus === 'Running');
    await raise(id, 'answer', { ok: true });
    expect(await host.finished(id)).toMatchObject({
      runtimeStatus: 'Completed',
      output: { ok: true },
    });
  });

  it('takes the timeout when no event comes', async () => {
    expect((await host.run('eventOrTimeout', 50)).output).toBe('timeout');
  });

  it('goes on when the clock is set back by an hour', async () => {
    const waiting = await host.start('sleeps', 150);
    await until(async () => (await host.status(waiting)).runtimeStatus === 'Running');
    aheadMs = -3_600_000;
    expect((await host.finished(waiting, 5000)).output).toBe(true);
    expect((await host.run('sleeps', 30)).output).toBe(true);
    aheadMs = 0;
    expect((await host.run('sleeps', 30)).output).toBe(true);
  });
});

describe('external events', () => {
  it('keeps events that come before they are waited for, in order', async () => {
    const id = await host.start('collects', 4);
    for (const value of [1, 'two', null, { four: 4 }]) await raise(id, 'item', value);
    await raise(id, 'go');
    expect((await host.finished(id)).output).toEqual([1, 'two', null, { four: 4 }]);
  });

  it('carries events that were not yet taken over to the next execution', async () => {
    const id = await host.start('eternalCollector', []);
    const values = Array.from({ length: 10 }, (_, i) => i);
    await Promise.all(values.map((value) => raise(id, 'item', value)));
    expect((await host.finished(id)).output).toEqual(values);
  });

  it('refuses events for unknown and ended instances', async () => {
    expect((await raise('nobody', 'x', 1)).status).toBe(404);
    const { instanceId } = await host.run('sleeps', -1);
    expect((await raise(instanceId, 'x', 1)).status).toBe(410);
  });

  it('refuses an event that is not JSON', async () => {
    const id = await host.start('collects', 0);
    const response = await host.runtime.manage({
      method: 'POST',
      path: `/instances/${id}/raiseEvent/go`,
      query: new URLSearchParams(),
      headers: {},
      body: '{broken',
    });
    expect(response.status).toBe(400);
    await raise(id, 'GO'); // event names are case-sensitive: this is another event
    await raise(id, 'go');
    expect((await host.finished(id)).output).toEqual([]);
  });
});
