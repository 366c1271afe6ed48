import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, until, type TestHost } from './support/test-host.ts';

const { df } = loadInProcessApp();
const attempts = new Map<string, number>();

function countAttempt(key: string): number {
  const count = (attempts.get(key) ?? 0) + 1;
  attempts.set(key, count);
  return count;
}

df.app.activity('double', { handler: (value: number) => value * 2 });
df.app.activity('echo', { handler: (value: unknown) => ({ type: typeof value, value }) });
df.app.activity('returns', { handler: (kind: string) => RETURNS[kind] });
df.app.activity('fails', {
  handler: (message: string) => {
    throw new Error(message);
  },
});
df.app.activity('failsUntil', {
  handler: ({ key, succeedAt }: { key: string; succeedAt: number }) => {
    const attempt = countAttempt(key);
    if (attempt < succeedAt) throw new Error(`attempt ${attempt}`);
    return attempt;
  },
});

const RETURNS: Readonly<Record<string, unknown>> = {
  text: 'a "text"',
  digits: '123',
  number: 1.5,
  integer: 7,
  boolean: false,
  object: { a: [1, null] },
  list: [1, 2],
  nothing: undefined,
  null: null,
  bytes: Buffer.from('hi'),
};

df.app.orchestration('chain', function* (context) {
  let value = Number(context.df.getInput());
  for (let i = 0; i < 5; i += 1) value = (yield context.df.callActivity('double', value)) as number;
  return value;
});
df.app.orchestration('echoAll', function* (context) {
  const results: unknown[] = [];
  for (const value of context.df.getInput<unknown[]>()) {
    results.push(yield context.df.callActivity('echo', value));
  }
  results.push(yield context.df.callActivity('echo'));
  return results;
});
df.app.orchestration('returnAll', function* (context) {
  const results: Record<string, unknown> = {};
  for (const kind of Object.keys(RETURNS)) {
    results[kind] = yield context.df.callActivity('returns', kind);
  }
  return results;
});
df.app.orchestration('fanOut', function* (context) {
  const width = Number(context.df.getInput());
  const tasks = Array.from({ length: width }, (_, i) => context.df.callActivity('double', i));
  const results = (yield context.df.Task.all(tasks)) as number[];
  return results.reduce((sum, value) => sum + value, 0);
});
df.app.orchestration('anyInLoop', function* (context) {
  // A task stays in the list for several rounds: it must be scheduled once (action identity).
  const tasks = [1, 2, 3].map((value) => context.df.callActivity('double', value));
  const seen: unknown[] = [];
  while (tasks.length > 0) {
    const winner = (yield context.df.Task.any(tasks)) as (typeof tasks)[number];
    seen.push((winner as unknown as { result: unknown }).result);
    tasks.splice(tasks.indexOf(winner), 1);
  }
  return seen;
});
df.app.orchestration('retryOk', function* (context) {
  const key = context.df.instanceId;
  return yield context.df.callActivityWithRetry('failsUntil', new df.RetryOptions(10, 5), {
    key,
    succeedAt: 3,
  });
});
df.app.orchestration('retryExhausted', function* (context) {
  try {
    yield context.df.callActivityWithRetry('fails', new df.RetryOptions(5, 3), 'always');
    return 'no error';
  } catch (error) {
    const after = yield context.df.callActivity('double', 21);
    return { after, error: (error as Error).message.split('\n')[0] };
  }
});
df.app.orchestration('retryExpired', function* (context) {
  const options = new df.RetryOptions(5, 50);
  options.retryTimeoutInMilliseconds = 1;
  try {
    yield context.df.callActivityWithRetry('failsUntil', options, {
      key: context.df.instanceId,
      succeedAt: 1000,
    });
  } catch {
    return yield context.df.callActivity('double', 4);
  }
  return 'no error';
});
df.app.orchestration('retryInterleaved', function* (context) {
  const id = context.df.instanceId;
  const retry = (n: number, succeedAt: number) =>
    context.df.callActivityWithRetry('failsUntil', new df.RetryOptions(3, 4), {
      key: `${id}:${n}`,
      succeedAt,
    });
  const first = (yield context.df.Task.all([
    retry(1, 3),
    context.df.callActivity('double', 1),
    retry(2, 2),
    context.df.callActivity('double', 2),
    retry(3, 4),
  ])) as unknown[];
  return [...first, yield context.df.callActivity('double', 3)];
});
df.app.orchestration('failing', function* (context) {
  yield context.df.callActivity('double', 1);
  yield context.df.callActivity('fails', 'broken');
});
df.app.orchestration('throwsEmpty', function* (context) {
  yield context.df.callActivity('double', 1);
  throw new Error('');
});
df.app.orchestration('unknownActivity', function* (context) {
  yield context.df.callActivity('no such thing', 1);
});
df.app.orchestration('yieldsNonsense', function* () {
  yield 5 as never;
});
df.app.orchestration('statusSetter', function* (context) {
  context.df.setCustomStatus({ step: 1 });
  yield context.df.waitForExternalEvent('go');
  return 'done';
});
df.app.orchestration('eternal', function* (context) {
  const { left, total } = context.df.getInput<{ left: number; total: number }>();
  const value = (yield context.df.callActivity('double', left)) as number;
  if (left > 1) context.df.continueAsNew({ left: left - 1, total: total + value });
  return total + value;
});
df.app.orchestration('eternalText', function* (context) {
  const text = context.df.getInput<string>();
  yield context.df.callActivity('double', 1);
  if (text.length < 3) context.df.continueAsNew(`${text}x`);
  return text;
});
df.app.orchestration('timeTeller', function* (context) {
  const before = context.df.currentUtcDateTime.getTime();
  yield context.df.createTimer(new Date(before + 60));
  return context.df.currentUtcDateTime.getTime() - before;
});
df.app.orchestration('guids', function* (context) {
  const first = context.df.newGuid(context.df.instanceId);
  yield context.df.callActivity('double', 1);
  return first === context.df.newGuid(context.df.instanceId) ? 'same' : 'distinct';
});
df.app.orchestration('waitsForOpen', function* (context) {
  const slow = context.df.createTimer(new Date(context.df.currentUtcDateTime.getTime() + 150));
  yield context.df.Task.any([slow, context.df.callActivity('double', 1)]);
  return 'done';
});

let host: TestHost;
beforeAll(async () => {
  host = await startTestHost();
});
afterAll(async () => {
  await host.dispose();
});
afterEach(() => host.expectNoErrors());

describe('orchestrations', () => {
  it('chains activities', async () => {
    expect(await host.run('chain', 3)).toMatchObject({ runtimeStatus: 'Completed', output: 96 });
  });

  it('finds functions whatever the case of their name', async () => {
    expect(await host.run('CHAIN', 1)).toMatchObject({ name: 'chain', output: 32 });
  });

  it('hands every type of input to an activity unchanged', async () => {
    const values = ['text', '123', '{"a":1}', '', 5, 1.5, true, false, null, [1, 'x'], { a: null }];
    const { output } = await host.run('echoAll', values);
    const expected: unknown[] = values.map((value) => ({ type: typeof value, value }));
    // A null input is "no input" to an activity, as in Azure.
    expected[8] = { type: 'undefined' };
    expect(output).toEqual([...expected, { type: 'undefined' }]);
  });

  it('hands every type of result back', async () => {
    const { output } = await host.run('returnAll');
    expect(output).toEqual({
      ...RETURNS,
      nothing: null,
      bytes: Buffer.from('hi').toString('base64'),
    });
  });

  it('fans out and in', async () => {
    expect((await host.run('fanOut', 500)).output).toBe(249_500);
  });

  it('schedules a task once although it is yielded in several Task.any', async () => {
    const { output, instanceId } = await host.run('anyInLoop');
    expect((output as number[]).toSorted((a, b) => a - b)).toEqual([2, 4, 6]);
    const stats = await host.call('GET', `/instances/${instanceId}/stats`);
    expect(stats.body).toMatchObject({ actions: 3 });
  });

  it('keeps running until everything it started has ended', async () => {
    const id = await host.start('waitsForOpen');
    await until(async () => (await host.status(id)).runtimeStatus === 'Running');
    expect(await host.finished(id)).toMatchObject({ output: 'done' });
    const history = await host.status(id, 'showHistory=true');
    expect(history.historyEvents?.map((event) => event['EventType'])).toContain('TimerFired');
  });

  it('tells a time that does not change within a turn and advances with timers', async () => {
    expect((await host.run('timeTeller')).output).toBeGreaterThanOrEqual(60);
    expect((await host.run('guids')).output).toBe('distinct');
  });

  it('shows the custom status', async () => {
    const id = await host.start('statusSetter');
    await until(async () => (await host.status(id)).customStatus !== null);
    expect((await host.status(id)).customStatus).toEqual({ step: 1 });
    await host.call('POST', `/instances/${id}/raiseEvent/go`, null);
    expect(await host.finished(id)).toMatchObject({ output: 'done', customStatus: { step: 1 } });
  });
});

describe('retries', () => {
  it('tries again until the activity succeeds', async () => {
    expect((await host.run('retryOk')).output).toBe(3);
  });

  it('surfaces the last failure when attempts are exhausted', async () => {
    expect((await host.run('retryExhausted')).output).toEqual({
      after: 42,
      error: "Activity function 'fails' failed: always ",
    });
  });

  it('surfaces the failure at once when the retry timeout has passed', async () => {
    const { output, instanceId } = await host.run('retryExpired');
    expect(output).toBe(8);
    expect(attempts.get(instanceId)).toBeLessThan(5);
  });

  it('keeps ids aligned when several retries are interleaved with other work', async () => {
    expect((await host.run('retryInterleaved')).output).toEqual([3, 2, 2, 4, 4, 6]);
  });
});

describe('failures', () => {
  it('fails with the message of an unhandled error', async () => {
    const status = await host.run('failing');
    expect(status.runtimeStatus).toBe('Failed');
    expect(status.output).toContain(
      "Orchestrator function 'failing' failed: Activity function 'fails' failed: broken",
    );
  });

  it('treats an error without a message as a failure', async () => {
    expect((await host.run('throwsEmpty')).runtimeStatus).toBe('Failed');
  });

  it('fails the caller of an activity that does not exist', async () => {
    const status = await host.run('unknownActivity');
    expect(status.runtimeStatus).toBe('Failed');
    expect(status.output).toContain("'no such thing' doesn't exist");
  });

  it('fails an orchestrator that yields something else than a task', async () => {
    const status = await host.run('yieldsNonsense');
    expect(status).toMatchObject({ runtimeStatus: 'Failed' });
    expect(status.output).toContain('programming constraint violation');
  });
});

describe('continue-as-new', () => {
  it('restarts with a value as input', async () => {
    expect((await host.run('eternal', { left: 5, total: 0 })).output).toBe(30);
  });

  it('restarts with a string as input', async () => {
    expect((await host.run('eternalText', 'x')).output).toBe('xxx');
  });
});
