import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, type TestHost } from './support/test-host.ts';

/** Activities per second that even a busy two-core machine must reach with activities that do nothing. */
const FLOOR = 50;

const { df } = loadInProcessApp();
df.app.activity('noop', { handler: (value: number) => value });
df.app.orchestration('fan', function* (context) {
  const width = Number(context.df.getInput());
  yield context.df.Task.all(
    Array.from({ length: width }, (_, i) => context.df.callActivity('noop', i)),
  );
});
df.app.orchestration('chain', function* (context) {
  for (let i = 0; i < Number(context.df.getInput()); i += 1) {
    yield context.df.callActivity('noop', i);
  }
});

let host: TestHost;
beforeAll(async () => {
  host = await startTestHost();
});
afterAll(async () => {
  await host.dispose();
});

describe('throughput', () => {
  it.each([
    { label: 'one fan-out of 3000', starts: 1, name: 'fan', input: 3000 },
    { label: '30 fan-outs of 100', starts: 30, name: 'fan', input: 100 },
    { label: '200 chains of 10', starts: 200, name: 'chain', input: 10 },
  ])('$label: the whole history is not paid for with every answer', async (load) => {
    const startedMs = performance.now();
    const ids = await Promise.all(
      Array.from({ length: load.starts }, () => host.start(load.name, load.input)),
    );
    for (const id of ids) await host.finished(id, 60_000);
    const seconds = (performance.now() - startedMs) / 1000;
    const perSecond = Math.round((load.starts * load.input) / seconds);
    process.stdout.write(`durable ${load.label}: ${perSecond} activities/s\n`);
    expect(perSecond).toBeGreaterThan(FLOOR);
  });
});
