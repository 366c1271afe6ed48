import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, until, type TestHost } from './support/test-host.ts';

const { df } = loadInProcessApp();
const childRuns = new Map<string, number>();

df.app.activity('flaky', {
  handler: ({ key, succeedAt }: { key: string; succeedAt: number }) => {
    const run = (childRuns.get(key) ?? 0) + 1;
    childRuns.set(key, run);
    if (run < succeedAt) throw new Error(`run ${run}`);
    return run;
  },
});
// oxlint-disable-next-line require-yield -- the SDK wants a generator, also for code that waits for nothing
df.app.orchestration('child', function* (context) {
  return [context.df.getInput(), context.df.parentInstanceId, context.df.instanceId];
});
df.app.orchestration('failingChild', function* (context) {
  yield context.df.callActivity('flaky', { key: context.df.instanceId, succeedAt: 1000 });
});
df.app.orchestration('flakyChild', function* (context) {
  return yield context.df.callActivity('flaky', context.df.getInput());
});
df.app.orchestration('waitingChild', function* (context) {
  return yield context.df.waitForExternalEvent('finish');
});
df.app.orchestration('parent', function* (context) {
  const named = yield context.df.callSubOrchestrator('child', 'text', `${context.df.instanceId}-c`);
  const unnamed = yield context.df.callSubOrchestrator('child', { a: 1 });
  const none = yield context.df.callSubOrchestrator('child');
  return [named, unnamed, none];
});
df.app.orchestration('fanOutToChildren', function* (context) {
  const tasks = [1, 2, 3, 4, 5].map((n) => context.df.callSubOrchestrator('child', n));
  const results = (yield context.df.Task.all(tasks)) as [number, string, string][];
  return results.map(([input]) => input);
});
df.app.orchestration('parentOfFailure', function* (context) {
  try {
    yield context.df.callSubOrchestrator('failingChild');
  } catch (error) {
    return (error as Error).message;
  }
  return 'no error';
});
df.app.orchestration('parentOfUnknown', function* (context) {
  try {
    yield context.df.callSubOrchestrator('missing');
  } catch (error) {
    return (error as Error).message;
  }
  return 'no error';
});
df.app.orchestration('parentWithRetry', function* (context) {
  return yield context.df.callSubOrchestratorWithRetry(
    'flakyChild',
    new df.RetryOptions(5, 4),
    { key: context.df.instanceId, succeedAt: 3 },
    context.df.getInput<boolean>() === true ? `${context.df.instanceId}-fixed` : undefined,
  );
});
df.app.orchestration('parentOfWaiting', function* (context) {
  try {
    return yield context.df.callSubOrchestrator('waitingChild', null, `${context.df.instanceId}-w`);
  } catch (error) {
    return `failed: ${(error as Error).message}`;
  }
});
df.app.orchestration('grandparent', function* (context) {
  return yield context.df.callSubOrchestrator('parentOfFailure');
});

let host: TestHost;
beforeAll(async () => {
  host = await startTestHost();
});
afterAll(async () => {
  await host.dispose();
});

describe('sub-orchestrations', () => {
  it('passes inputs, ids and results', async () => {
    const { output, instanceId } = await host.run('parent');
    const [named, unnamed, none] = output as [unknown, [unknown, string, string], unknown[]];
    expect(named).toEqual(['text', instanceId, `${instanceId}-c`]);
    expect(unnamed[0]).toEqual({ a: 1 });
    expect(unnamed[2]).toMatch(/^[0-9a-f]{32}:1$/u);
    expect(none[0]).toBeNull();
  });

  it('runs children side by side', async () => {
    expect((await host.run('fanOutToChildren')).output).toEqual([1, 2, 3, 4, 5]);
  });

  it('reports the failure of a child to its parent', async () => {
    const { output } = await host.run('parentOfFailure');
    expect(output).toContain(
      "Orchestrator function 'failingChild' failed: Activity function 'flaky'",
    );
    expect((await host.run('grandparent')).output).toBe(output);
  });

  it('fails the caller of an orchestrator that does not exist', async () => {
    expect((await host.run('parentOfUnknown')).output).toContain("'missing' doesn't exist");
  });

  it.each([false, true])('retries a child (fixed instance id: %s)', async (fixed) => {
    expect((await host.run('parentWithRetry', fixed)).output).toBe(3);
  });

  it('reports the termination of a child to its parent', async () => {
    const id = await host.start('parentOfWaiting');
    await until(async () => (await host.call('GET', `/instances/${id}-w`)).status === 202);
    await host.call('POST', `/instances/${id}-w/terminate?reason=enough`);
    expect((await host.finished(id)).output).toContain('was terminated: enough');
  });

  it('leaves children running when their parent is terminated', async () => {
    const id = await host.start('parentOfWaiting');
    await until(async () => (await host.call('GET', `/instances/${id}-w`)).status === 202);
    await host.call('POST', `/instances/${id}/terminate?reason=x`);
    await host.finished(id);
    await host.call('POST', `/instances/${id}-w/raiseEvent/finish`, 1);
    expect(await host.finished(`${id}-w`)).toMatchObject({ runtimeStatus: 'Completed', output: 1 });
    expect((await host.status(id)).runtimeStatus).toBe('Terminated');
  });

  it('does not report the child of an earlier execution to a new one with the same id', async () => {
    const id = await host.start('parentOfWaiting', null, 'reused');
    await until(async () => (await host.call('GET', `/instances/${id}-w`)).status === 202);
    await host.call('POST', `/instances/${id}/terminate?reason=x`);
    await host.finished(id);
    await host.start('parentOfWaiting', null, 'reused');
    const second = await host.finished(id);
    expect(second.output).toContain("instance id 'reused-w' is already Running");
    await host.call('POST', `/instances/${id}-w/raiseEvent/finish`, 1);
    await host.finished(`${id}-w`);
    expect(await host.status(id)).toEqual(second);
  });
});
