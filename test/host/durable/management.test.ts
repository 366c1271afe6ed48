import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, until, type Status, type TestHost } from './support/test-host.ts';

const { df } = loadInProcessApp();
const broken = new Set<string>();
let ticks = 0;

df.app.activity('step', {
  handler: (key: string) => {
    if (broken.has(key)) throw new Error(`${key} is broken`);
    return key;
  },
});
df.app.activity('tick', { handler: () => (ticks += 1) });
df.app.orchestration('steps', function* (context) {
  const keys = context.df.getInput<string[]>();
  const results: unknown[] = [];
  for (const key of keys) results.push(yield context.df.callActivity('step', key));
  return results;
});
df.app.orchestration('parallelSteps', function* (context) {
  const keys = context.df.getInput<string[]>();
  return yield context.df.Task.all(keys.map((key) => context.df.callActivity('step', key)));
});
df.app.orchestration('nestedSteps', function* (context) {
  const first = yield context.df.callActivity('step', 'first');
  return [first, yield context.df.callSubOrchestrator('steps', context.df.getInput())];
});
df.app.orchestration('compensates', function* (context) {
  try {
    yield context.df.callActivity('step', context.df.getInput());
  } catch (error) {
    yield context.df.callActivity('tick');
    throw error;
  }
});
df.app.orchestration('waits', function* (context) {
  return yield context.df.waitForExternalEvent('go');
});
df.app.orchestration('ticksOnEvents', function* (context) {
  for (let i = 0; i < 3; i += 1) {
    yield context.df.waitForExternalEvent('tick');
    yield context.df.callActivity('tick');
  }
  return 'done';
});

let host: TestHost;
beforeAll(async () => {
  host = await startTestHost();
});
afterAll(async () => {
  await host.dispose();
});

const post = (path: string, body?: unknown) => host.call('POST', path, body);
const running = (id: string) =>
  until(async () => (await host.status(id)).runtimeStatus === 'Running');

describe('starting', () => {
  it('answers with the management payload', async () => {
    const response = await post('/orchestrators/steps/my-id', []);
    expect(response.status).toBe(202);
    expect(response.headers['location']).toContain('/instances/my-id?');
    expect(response.body).toMatchObject({
      id: 'my-id',
      sendEventPostUri: expect.stringContaining('/instances/my-id/raiseEvent/{eventName}'),
    });
    await host.finished('my-id');
  });

  it('waits for the end when asked to', async () => {
    const response = await post('/orchestrators/steps?timeout=5&pollingInterval=1', ['a']);
    expect(response).toMatchObject({ status: 200, body: ['a'] });
    expect((await post('/orchestrators/waits?timeout=0.1', null)).status).toBe(202);
  });

  it('refuses unknown functions, bad ids and running instances', async () => {
    expect((await post('/orchestrators/nothing')).status).toBe(400);
    expect((await post('/orchestrators/steps/%40id', [])).status).toBe(400);
    expect((await post(`/orchestrators/steps/${'x'.repeat(257)}`, [])).status).toBe(400);
    await post('/orchestrators/waits/taken');
    expect((await post('/orchestrators/waits/taken')).status).toBe(409);
    await post('/instances/taken/raiseEvent/go', 1);
    await host.finished('taken');
    expect((await post('/orchestrators/waits/taken')).status).toBe(202);
  });

  it('restarts an instance with its input', async () => {
    const { instanceId } = await host.run('steps', ['a', 'b']);
    const response = await post(`/instances/${instanceId}/restart`);
    const { id } = response.body as { id: string };
    expect(id).not.toBe(instanceId);
    expect((await host.finished(id)).output).toEqual(['a', 'b']);
    await post(`/instances/${instanceId}/restart?restartWithNewInstanceId=false`);
    expect((await host.finished(instanceId)).output).toEqual(['a', 'b']);
  });
});

describe('control', () => {
  it('terminates at once', async () => {
    const id = await host.start('waits');
    expect((await post(`/instances/${id}/terminate?reason=no+more`)).status).toBe(202);
    expect(await host.finished(id)).toMatchObject({
      runtimeStatus: 'Terminated',
      output: 'no more',
    });
    expect((await post(`/instances/${id}/terminate?reason=x`)).status).toBe(410);
    expect((await post('/instances/nobody/terminate')).status).toBe(404);
  });

  it('holds events while suspended and takes them up when resumed', async () => {
    const id = await host.start('ticksOnEvents');
    await running(id);
    const before = ticks;
    await post(`/instances/${id}/suspend?reason=pause`);
    await until(async () => (await host.status(id)).runtimeStatus === 'Suspended');
    for (let i = 0; i < 3; i += 1) await post(`/instances/${id}/raiseEvent/tick`, i);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(ticks).toBe(before);
    await post(`/instances/${id}/resume?reason=go+on`);
    expect((await host.finished(id)).output).toBe('done');
    expect(ticks).toBe(before + 3);
  });

  it('resumes an instance suspended before its first turn', async () => {
    const started = host.start('steps', ['x'], 'early');
    const suspended = post('/instances/early/suspend?reason=x');
    await Promise.all([started, suspended]);
    await post('/instances/early/resume?reason=x');
    expect((await host.finished('early')).output).toEqual(['x']);
  });
});

describe('rewind', () => {
  it('runs the failed activities again and goes on', async () => {
    broken.add('b').add('d');
    const { instanceId } = await host.run('parallelSteps', ['a', 'b', 'c', 'd']);
    broken.clear();
    expect((await post(`/instances/${instanceId}/rewind?reason=fixed`)).status).toBe(202);
    expect(await host.finished(instanceId)).toMatchObject({
      runtimeStatus: 'Completed',
      output: ['a', 'b', 'c', 'd'],
    });
    expect((await post(`/instances/${instanceId}/rewind`)).status).toBe(410);
  });

  it('rewinds failed children too, and can be repeated', async () => {
    broken.add('y');
    const { instanceId } = await host.run('nestedSteps', ['x', 'y', 'z']);
    await post(`/instances/${instanceId}/rewind?reason=hope`);
    expect((await host.finished(instanceId)).runtimeStatus).toBe('Failed');
    broken.clear();
    await post(`/instances/${instanceId}/rewind?reason=fixed`);
    expect(await host.finished(instanceId)).toMatchObject({
      runtimeStatus: 'Completed',
      output: ['first', ['x', 'y', 'z']],
    });
  });

  it('refuses what it cannot undo', async () => {
    broken.add('q');
    const { instanceId } = await host.run('compensates', 'q');
    expect((await post(`/instances/${instanceId}/rewind`)).status).toBe(412);
    expect((await post('/instances/nobody/rewind')).status).toBe(404);
    const id = await host.start('waits');
    expect((await post(`/instances/${id}/rewind`)).status).toBe(412);
  });
});

describe('queries', () => {
  it('shows the history as Azure does', async () => {
    const { instanceId } = await host.run('steps', ['a']);
    const query = 'showHistory=true&showHistoryOutput=true&showInput=true';
    const { historyEvents } = await host.status(instanceId, query);
    expect(historyEvents).toMatchObject([
      { EventType: 'ExecutionStarted', FunctionName: 'steps', Input: '["a"]' },
      { EventType: 'TaskCompleted', FunctionName: 'step', Result: '"a"', Input: '["a"]' },
      { EventType: 'ExecutionCompleted', OrchestrationStatus: 'Completed', Result: '["a"]' },
    ]);
    expect(historyEvents?.[1]).toHaveProperty('ScheduledTime');
    expect(historyEvents?.[1]).not.toHaveProperty('EventId');
    const plain = await host.status(instanceId, 'showHistory=true&showInput=false');
    expect(plain.input).toBeNull();
    expect(plain.historyEvents?.[1]).not.toHaveProperty('Result');
    expect(plain.historyEvents?.[1]).not.toHaveProperty('Input');
  });

  it('counts the history of an instance', async () => {
    const { instanceId } = await host.run('nestedSteps', ['a', 'b']);
    const { body } = await host.call('GET', `/instances/${instanceId}/stats`);
    expect(body).toMatchObject({ actions: 2, subOrchestrations: 1 });
    expect((body as { historyBytes: number }).historyBytes).toBeGreaterThan(500);
    expect((await host.call('GET', '/instances/nobody/stats')).status).toBe(404);
  });

  it('answers a status query according to the state', async () => {
    const id = await host.start('waits');
    const open = await host.call('GET', `/instances/${id}`);
    expect(open).toMatchObject({ status: 202, headers: { 'retry-after': '5' } });
    const failed = await host.run('steps', 5);
    const query = 'returnInternalServerErrorOnFailure=true';
    const answer = await host.call('GET', `/instances/${failed.instanceId}?${query}`);
    expect(answer.status).toBe(500);
    expect((await host.call('GET', '/INSTANCES/nobody')).status).toBe(404);
  });

  it('lists in pages, filters and purges', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 7; i += 1) ids.push(await host.start('steps', [], `page-${i}`));
    await Promise.all(ids.map((id) => host.finished(id)));
    const listed: string[] = [];
    let token = '';
    do {
      const query = 'instanceIdPrefix=page-&top=3&runtimeStatus=Completed,Failed';
      const page = await host.call('GET', `/instances/?${query}`, undefined, {
        'x-ms-continuation-token': token,
      });
      const statuses = page.body as Status[];
      expect(statuses.length).toBeLessThanOrEqual(3);
      listed.push(...statuses.map((status) => status.instanceId));
      token = page.headers['x-ms-continuation-token'] ?? '';
    } while (token !== '');
    expect(listed.toSorted()).toEqual(ids);

    expect(await host.call('DELETE', '/instances/page-0')).toMatchObject({
      status: 200,
      body: { instancesDeleted: 1 },
    });
    expect((await host.call('DELETE', '/instances/page-0')).status).toBe(404);
    expect((await host.call('GET', '/instances/page-0')).status).toBe(404);
    expect((await host.call('DELETE', '/instances/?runtimeStatus=Completed')).status).toBe(400);
    const all = await host.call('DELETE', '/instances/?createdTimeFrom=2020-01-01T00:00:00Z');
    expect(all.status).toBe(200);
    const rest = await host.call('GET', '/instances/');
    expect((rest.body as Status[]).every((s) => s.runtimeStatus === 'Running')).toBe(true);
  });
});
