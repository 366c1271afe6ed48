import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createOrchestrationClient, type RawClient } from '../../../src/durable/client.ts';
import { defineOrchestration } from '../../../src/durable/contract.ts';
import { BugError } from '../../../src/kernel/errors.ts';

const count = defineOrchestration({ name: 'count', input: z.int(), output: z.int() });

const found = (runtimeStatus: string, name = 'count') => ({
  name,
  instanceId: 'i-1',
  createdTime: new Date(0),
  lastUpdatedTime: new Date(0),
  input: null,
  output: null,
  runtimeStatus,
});
const missing = new Error('DurableClient error: extension replied with HTTP 404 response.');

/** A runtime whose instance looks like each of `looks` in turn, the last one for ever. */
function runtime(looks: readonly (ReturnType<typeof found> | Error)[], fails = false) {
  const calls: unknown[][] = [];
  let at = 0;
  const act = (...args: unknown[]): Promise<void> => {
    calls.push(args);
    return fails ? Promise.reject(new Error('no')) : Promise.resolve();
  };
  const raw = {
    getStatus: () => {
      const look = looks[Math.min(at++, looks.length - 1)];
      return look instanceof Error ? Promise.reject(look) : Promise.resolve(look);
    },
    startNew: act,
    raiseEvent: act,
  };
  return { client: createOrchestrationClient(raw as unknown as RawClient), calls };
}

const LIVE = ['Pending', 'Running', 'ContinuedAsNew', 'Suspended'];
const ENDED = ['Completed', 'Failed', 'Terminated', 'Canceled'];

describe('starting again', () => {
  it.each([...ENDED.map((state) => found(state)), missing])(
    'an instance that has ended',
    async (look) => {
      const { client, calls } = runtime([look]);
      expect(await client.startAgain(count, 'i-1', 3)).toBe('started');
      expect(calls).toEqual([['count', { instanceId: 'i-1', input: 3 }]]);
    },
  );

  it.each(LIVE)('leaves one that is %s alone', async (state) => {
    const { client, calls } = runtime([found(state)]);
    expect(await client.startAgain(count, 'i-1', 3)).toBe('running');
    expect(calls).toEqual([]);
  });

  it('lost race: a start that the runtime refuses because another came first', async () => {
    const { client } = runtime([found('Failed'), found('Running')], true);
    expect(await client.startAgain(count, 'i-1', 3)).toBe('running');
  });

  it('tells a start that failed from one that was not needed', async () => {
    const { client } = runtime([found('Failed')], true);
    const start = client.startAgain(count, 'i-1', 3);
    await expect(start).rejects.toMatchObject({ code: 'storage-unavailable', retryable: true });
  });
});

describe('raising an event', () => {
  it.each(LIVE)('reaches an instance that is %s', async (state) => {
    const { client, calls } = runtime([found(state)]);
    expect(await client.raise('i-1', 'operator', { verb: 'retry' })).toBe(true);
    expect(calls).toEqual([['i-1', 'operator', { verb: 'retry' }]]);
  });

  it.each([...ENDED.map((state) => found(state)), missing])(
    'tells that nobody is there',
    async (look) => {
      const { client, calls } = runtime([look]);
      expect(await client.raise('i-1', 'operator', null)).toBe(false);
      expect(calls).toEqual([]);
    },
  );

  it('tells an instance that ended meanwhile from a runtime that does not answer', async () => {
    const gone = runtime([found('Running'), missing], true);
    expect(await gone.client.raise('i-1', 'operator', null)).toBe(false);
    const away = runtime([found('Running')], true);
    await expect(away.client.raise('i-1', 'operator', null)).rejects.toMatchObject({
      code: 'storage-unavailable',
    });
  });

  it('takes no id that the SDK would put into another address', async () => {
    const { client } = runtime([found('Running')]);
    await expect(client.raise('a/b', 'operator', null)).rejects.toBeInstanceOf(BugError);
  });
});

describe('an id that belongs to another orchestration', () => {
  it('is a conflict for each call, and nothing is started', async () => {
    const { client, calls } = runtime([found('Completed', 'other')]);
    const conflict = { code: 'conflict', retryable: false };
    await expect(client.status(count, 'i-1')).rejects.toMatchObject(conflict);
    await expect(client.ensureStarted(count, 'i-1', 1)).rejects.toMatchObject(conflict);
    await expect(client.startAgain(count, 'i-1', 1)).rejects.toMatchObject(conflict);
    expect(calls).toEqual([]);
  });

  it('is none when only the case of its name differs', async () => {
    const { client } = runtime([found('Running', 'Count')]);
    expect(await client.ensureStarted(count, 'i-1', 1)).toBe('exists');
  });
});
