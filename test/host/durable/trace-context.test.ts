import type { InvocationContext } from '@azure/functions';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, type TestHost } from './support/test-host.ts';

const { df } = loadInProcessApp();
const PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const OTHER = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

const traceOf = (context: InvocationContext): string => context.traceContext?.traceParent ?? '';
const turns: string[] = [];

df.app.activity('traceOfActivity', { handler: (_input, context) => traceOf(context) });
df.app.orchestration('tracedChild', function* (context) {
  turns.push(traceOf(context));
  return yield context.df.callActivity('traceOfActivity');
});
df.app.orchestration('tracedParent', function* (context) {
  turns.push(traceOf(context));
  const own = yield context.df.callActivity('traceOfActivity');
  const child = yield context.df.callSubOrchestrator('tracedChild');
  return [own, child];
});

let host: TestHost;
beforeAll(async () => {
  host = await startTestHost();
});
afterAll(() => host.dispose());

async function outputOf(id: string, headers: Record<string, string>): Promise<unknown> {
  const started = await host.call('POST', `/orchestrators/tracedParent/${id}`, undefined, headers);
  expect(started.status).toBe(202);
  return (await host.finished(id)).output;
}

describe('trace context', () => {
  it('of who starts an orchestration reaches its turns, activities and children', async () => {
    turns.length = 0;
    expect(await outputOf('traced', { traceparent: PARENT })).toEqual([PARENT, PARENT]);
    expect(new Set(turns)).toEqual(new Set([PARENT]));
  });

  it('is empty without one, also when an earlier instance of the id had one', async () => {
    expect(await outputOf('again', { traceparent: PARENT })).toEqual([PARENT, PARENT]);
    expect(await outputOf('again', {})).toEqual(['', '']);
  });

  it('is that of the restart when an instance is restarted', async () => {
    expect(await outputOf('restarted', { traceparent: PARENT })).toEqual([PARENT, PARENT]);
    const path = '/instances/restarted/restart?restartWithNewInstanceId=false';
    expect((await host.call('POST', path, undefined, { traceparent: OTHER })).status).toBe(202);
    expect((await host.finished('restarted')).output).toEqual([OTHER, OTHER]);
  });
});
