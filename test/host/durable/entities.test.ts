import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { EntityContext } from 'durable-functions';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, until, type TestHost } from './support/test-host.ts';

const { df } = loadInProcessApp();

df.app.entity('Counter', (context: EntityContext<number>) => {
  const value = context.df.getState(() => 0) ?? 0;
  switch (context.df.operationName ?? '') {
    case 'add':
      context.df.setState(value + (context.df.getInput<number>() ?? 1));
      context.df.return(value + (context.df.getInput<number>() ?? 1));
      break;
    case 'get':
      context.df.return(value);
      break;
    case 'fail':
      context.df.setState(value + 1000);
      throw 'no way';
    case 'delete':
      context.df.destructOnExit();
      break;
    case 'forward':
      context.df.signalEntity(new df.EntityId('counter', 'target'), 'add', value);
      break;
    default:
      break;
  }
});
df.app.activity('pause', {
  handler: async (ms: number) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return ms;
  },
});
df.app.orchestration('counts', function* (context) {
  const id = new df.EntityId('counter', context.df.getInput<string>());
  const results: unknown[] = [];
  results.push(yield context.df.callEntity(id, 'add', 5));
  context.df.signalEntity(id, 'add', 10);
  results.push(yield context.df.callEntity(id, 'get'));
  try {
    yield context.df.callEntity(id, 'fail');
  } catch (error) {
    results.push((error as Error).message);
  }
  results.push(yield context.df.callEntity(id, 'get'));
  return results;
});
df.app.orchestration('callsMany', function* (context) {
  const id = new df.EntityId('counter', 'many');
  const calls = Array.from({ length: 120 }, () => context.df.callEntity(id, 'add', 1));
  const results = (yield context.df.Task.all(calls)) as number[];
  return Math.max(...results);
});
df.app.orchestration('forwards', function* (context) {
  const id = new df.EntityId('counter', 'source');
  yield context.df.callEntity(id, 'add', 7);
  yield context.df.callEntity(id, 'forward');
});
df.app.orchestration('callsUnknown', function* (context) {
  yield context.df.callEntity(new df.EntityId('nothing', 'x'), 'get');
});
df.app.orchestration('transfers', function* (context) {
  const { from, to, ending } = context.df.getInput<{ from: string; to: string; ending: string }>();
  const source = new df.EntityId('counter', from);
  const target = new df.EntityId('counter', to);
  const lock = (yield context.df.lock(source, target)) as { release(): void };
  // Read, wait, write: only a lock keeps other orchestrations from writing in between.
  const a = (yield context.df.callEntity(source, 'get')) as number;
  const b = (yield context.df.callEntity(target, 'get')) as number;
  yield context.df.callActivity('pause', 2);
  yield context.df.callEntity(source, 'add', -1);
  yield context.df.callEntity(target, 'add', 1);
  if (ending === 'release') {
    lock.release();
    yield context.df.callActivity('pause', 1);
  }
  if (ending === 'fail') throw new Error('after the transfer');
  return a + b;
});
df.app.orchestration('locksAndWaits', function* (context) {
  yield context.df.lock(new df.EntityId('counter', 'held'));
  yield context.df.waitForExternalEvent('never');
});
df.app.orchestration('reads', function* (context) {
  return yield context.df.callEntity(
    new df.EntityId('counter', context.df.getInput<string>()),
    'get',
  );
});

let host: TestHost;
beforeAll(async () => {
  host = await startTestHost();
});
afterAll(async () => {
  await host.dispose();
});

const read = (key: string) => host.call('GET', `/entities/Counter/${key}`);

describe('entities', () => {
  it('answers calls, takes signals in order, reports errors, keeps state across errors', async () => {
    expect((await host.run('counts', 'one')).output).toEqual([5, 15, 'no way', 1015]);
    expect(await read('one')).toMatchObject({ status: 200, body: 1015 });
  });

  it('serves many calls one after the other', async () => {
    expect((await host.run('callsMany')).output).toBe(120);
  });

  it('passes signals from entity to entity', async () => {
    await host.run('forwards');
    await until(async () => (await read('target')).status === 200);
    expect((await read('target')).body).toBe(7);
  });

  it('fails calls to entities that do not exist', async () => {
    expect(await host.run('callsUnknown')).toMatchObject({
      runtimeStatus: 'Failed',
      output: expect.stringContaining('There is no entity function for @nothing@x.'),
    });
  });

  it('takes signals from clients, can be read, listed and deleted', async () => {
    for (let i = 0; i < 10; i += 1) await host.call('POST', '/entities/counter/web?op=add', 2);
    await until(async () => (await read('web')).body === 20);
    const list = await host.call('GET', '/entities/Counter?fetchState=true&top=1000');
    expect(list.body).toContainEqual({
      entityId: { name: 'counter', key: 'web' },
      lastOperationTime: expect.any(String),
      state: 20,
    });
    const page = await host.call('GET', '/entities?top=1');
    expect(page.body).toHaveLength(1);
    expect(page.headers).toHaveProperty('x-ms-continuation-token');
    await host.call('DELETE', '/entities/counter/web');
    await until(async () => (await read('web')).status === 404);
    expect((await host.call('POST', '/entities/unknown/web?op=add', 2)).status).toBe(400);
  });
});

describe('critical sections', () => {
  it('keep a read-modify-write whole under contention, in whatever order the locks are asked for', async () => {
    await host.call('POST', '/entities/counter/left?op=add', 500);
    await host.call('POST', '/entities/counter/right?op=add', 500);
    const endings = ['release', 'return', 'fail'];
    const ids = await Promise.all(
      Array.from({ length: 30 }, (_, i) => {
        const [from, to] = i % 2 === 0 ? ['left', 'right'] : ['right', 'left'];
        return host.start('transfers', { from, to, ending: endings[i % 3] });
      }),
    );
    const statuses = await Promise.all(ids.map((id) => host.finished(id)));
    const outcomes = statuses.map((status, i) =>
      i % 3 === 2 ? status.runtimeStatus : status.output,
    );
    expect(outcomes).toEqual(statuses.map((_, i) => (i % 3 === 2 ? 'Failed' : 1000)));
    expect([(await read('left')).body, (await read('right')).body]).toEqual([500, 500]);
  });

  it('end with a termination, also for requests that still wait', async () => {
    const holder = await host.start('locksAndWaits');
    await until(async () => {
      const { body } = await host.call('GET', `/instances/${holder}/stats`);
      return (body as { historyEvents: number }).historyEvents > 5;
    });
    const waiter = await host.start('locksAndWaits');
    const reader = await host.start('reads', 'held');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await host.status(reader)).runtimeStatus).toBe('Running');
    await host.call('POST', `/instances/${waiter}/terminate?reason=x`);
    await host.finished(waiter);
    await host.call('POST', `/instances/${holder}/terminate?reason=x`);
    expect((await host.finished(reader)).output).toBe(0);
  });
});

describe('replacing a running instance', () => {
  it('is possible with AnyState, and gives up its locks', async () => {
    const other = await startTestHost({
      settings: { overridableExistingInstanceStates: 'AnyState' },
    });
    await other.start('locksAndWaits', null, 'same');
    await until(async () => {
      const { body } = await other.call('GET', '/instances/same/stats');
      return (body as { historyEvents: number }).historyEvents > 5;
    });
    await other.start('reads', 'held', 'same');
    expect((await other.finished('same')).output).toBe(0);
    await other.dispose();
  });
});

describe('the client library', () => {
  it('works against the management API', async () => {
    const server = createServer((request, response) => {
      void (async () => {
        let body = '';
        for await (const chunk of request) body += String(chunk);
        const url = new URL(request.url ?? '/', 'http://localhost');
        const answer = await host.runtime.manage({
          method: request.method ?? 'GET',
          path: url.pathname.replace('/runtime/webhooks/durabletask', ''),
          query: url.searchParams,
          headers: {},
          body,
        });
        response.writeHead(answer.status, answer.headers).end(answer.body);
      })();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const text = host.runtime.clientInput().replaceAll(':7071', `:${port}`);
    const { DurableClient } = await clientModule();
    const client = new DurableClient(JSON.parse(text));

    const id = await client.startNew('counts', { input: 'client' });
    await until(async () => (await client.getStatus(id)).runtimeStatus === 'Completed');
    expect((await client.getStatus(id)).output).toEqual([5, 15, 'no way', 1015]);
    const entityId = new df.EntityId('counter', 'client');
    await client.signalEntity(entityId, 'add', 1);
    await until(async () => (await client.readEntityState(entityId)).entityState === 1016);
    const waiting = await client.startNew('locksAndWaits');
    await client.raiseEvent(waiting, 'other', { a: 1 });
    await client.suspend(waiting, 'x');
    await client.resume(waiting, 'x');
    await client.terminate(waiting, 'enough');
    await until(async () => (await client.getStatus(waiting)).runtimeStatus === 'Terminated');
    expect(await client.getStatusBy({ runtimeStatus: ['Terminated' as never] })).not.toEqual([]);
    expect(await client.purgeInstanceHistory(waiting)).toMatchObject({ instancesDeleted: 1 });
    await expect(client.rewind(id, 'x')).rejects.toThrow(/410/u);
    server.close();
  });
});

async function clientModule(): Promise<{
  DurableClient: new (data: unknown) => ReturnType<typeof df.getClient>;
}> {
  const { createRequire } = await import('node:module');
  const require = createRequire(import.meta.url);
  return require('../../../node_modules/durable-functions/lib/src/durableClient/DurableClient.js') as Awaited<
    ReturnType<typeof clientModule>
  >;
}
