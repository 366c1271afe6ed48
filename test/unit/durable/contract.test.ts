import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createOrchestrationClient, type RawClient } from '../../../src/durable/client.ts';
import { defineActivity, defineOrchestration } from '../../../src/durable/contract.ts';
import { failure, success, unwrap } from '../../../src/durable/envelope.ts';
import { implement, implementOrchestration } from '../../../src/durable/implement.ts';
import { registerDurable, type DurableApp } from '../../../src/durable/register.ts';
import { BugError, PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import { silentLogger } from '../../support/drive-orchestrator.ts';

const retry = { firstIntervalMs: 1, backoff: 1, maxIntervalMs: 1, maxAttempts: 1 };
const double = defineActivity({ name: 'double', input: z.int(), output: z.int(), retry });
const count = defineOrchestration({
  name: 'count',
  input: z.int(),
  output: z.object({ total: z.int() }),
  status: z.object({ done: z.int() }),
});
const run = { instanceId: 'i', logger: silentLogger };

describe('an activity across the durable boundary', () => {
  it('returns its answer in an envelope', async () => {
    const bound = implement(double, () => async (n) => n * 2).bind(undefined);
    expect(unwrap(double, await bound(21, run))).toBe(42);
  });

  it('returns a permanent failure, so that it is not tried again, and unwrap throws it', async () => {
    const refused = PermanentError.validation('no', [{ path: '/a', message: 'bad' }]);
    const bound = implement(double, () => () => Promise.reject(refused)).bind(undefined);
    const answer = await bound(1, run);
    expect(() => unwrap(double, answer)).toThrow(PermanentError);
    expect(answer).toEqual(failure(refused));
  });

  it('throws a transient failure, so that it is tried again', async () => {
    const bound = implement(
      double,
      () => () => Promise.reject(RetryableError.storageUnavailable()),
    ).bind(undefined);
    await expect(bound(1, run)).rejects.toBeInstanceOf(RetryableError);
  });

  it.each([['input', 'x', 1] as const, ['output', 1, 'x'] as const])(
    'refuses an %s that does not fit the contract',
    async (_side, input, output) => {
      const bound = implement(double, () => async () => output as number).bind(undefined);
      await expect(bound(input, run)).rejects.toBeInstanceOf(BugError);
    },
  );

  it('takes nothing for an answer that is not an envelope', () => {
    expect(() => unwrap(double, 42)).toThrow(BugError);
    expect(() => unwrap(double, null)).toThrow(BugError);
    expect(() => unwrap(double, success('text'))).toThrow(BugError);
  });
});

describe('definitions', () => {
  it.each(['', '1x', 'a.b', 'a b', 'a'.repeat(128)])('refuse the function name %j', (name) => {
    expect(() => defineActivity({ name, input: z.int(), output: z.int(), retry })).toThrow(
      PermanentError,
    );
  });

  it('refuse a retry policy that cannot work', () => {
    const broken = { ...retry, maxAttempts: 0 };
    expect(() =>
      defineActivity({ name: 'a', input: z.int(), output: z.int(), retry: broken }),
    ).toThrow(PermanentError);
  });
});

describe('registerDurable', () => {
  const services = { logger: silentLogger };
  const activity = implement(double, () => async (n) => n);
  const orchestration = implementOrchestration(count, function* (_ctx, total) {
    yield* [];
    return { total };
  });
  const app = (): { names: string[]; app: DurableApp } => {
    const names: string[] = [];
    const note = (name: string) => {
      names.push(name);
      return undefined as never;
    };
    return { names, app: { activity: note, orchestration: note } };
  };

  it('registers each once', () => {
    const { names, app: target } = app();
    const module = {
      contracts: [double, count],
      activities: [activity],
      orchestrations: [orchestration],
    };
    registerDurable(services, [module], target);
    expect(names).toEqual(['double', 'count']);
  });

  it('refuses two of one name, also in other case, and a contract without code', () => {
    const shouting = defineActivity({ name: 'DOUBLE', input: z.int(), output: z.int(), retry });
    const twice = {
      contracts: [double, count],
      activities: [activity, implement(shouting, () => async (n) => n)],
      orchestrations: [],
    };
    const { names, app: target } = app();
    expect(() => registerDurable(services, [twice], target)).toThrow(
      /DOUBLE: is the name of two[^]*count: has a contract but no implementation/,
    );
    expect(names).toEqual([]);
  });
});

describe('the orchestration client', () => {
  const found = (overrides: Record<string, unknown> = {}) => ({
    name: 'count',
    instanceId: 'i-1',
    createdTime: new Date(0),
    lastUpdatedTime: new Date(1000),
    input: null,
    output: null,
    runtimeStatus: 'Running',
    ...overrides,
  });
  const missing = new Error(
    'DurableClient error: Durable Functions extension replied with HTTP 404 response. …',
  );
  const client = (parts: Record<string, unknown>) =>
    createOrchestrationClient(parts as unknown as RawClient);

  it('starts an instance that is absent', async () => {
    const started: unknown[] = [];
    const raw = {
      getStatus: () => Promise.reject(missing),
      startNew: (...args: unknown[]) => Promise.resolve(started.push(args)),
    };
    expect(await client(raw).ensureStarted(count, 'i-1', 3)).toBe('started');
    expect(started).toEqual([['count', { instanceId: 'i-1', input: 3 }]]);
  });

  it.each(['Running', 'Completed', 'Failed', 'Terminated'])(
    'never starts an instance that is %s again',
    async (runtimeStatus) => {
      const raw = { getStatus: () => Promise.resolve(found({ runtimeStatus })) };
      expect(await client(raw).ensureStarted(count, 'i-1', 3)).toBe('exists');
    },
  );

  it('lost race: a start that the runtime refuses because another came first counts as existing', async () => {
    let looks = 0;
    const raw = {
      getStatus: () => (looks++ === 0 ? Promise.reject(missing) : Promise.resolve(found())),
      startNew: () => Promise.reject(new Error('409')),
    };
    expect(await client(raw).ensureStarted(count, 'i-1', 3)).toBe('exists');
  });

  it('tells a runtime that does not answer from an instance that is absent', async () => {
    const raw = { getStatus: () => Promise.reject(new Error('connect ECONNREFUSED')) };
    await expect(client(raw).status(count, 'i-1')).rejects.toMatchObject({
      code: 'storage-unavailable',
      retryable: true,
    });
    const absent = { getStatus: () => Promise.reject(missing) };
    expect(await client(absent).status(count, 'i-1')).toBeUndefined();
  });

  it('reads status and output by the contract', async () => {
    const raw = {
      getStatus: () =>
        Promise.resolve(
          found({
            runtimeStatus: 'Completed',
            customStatus: { done: 2 },
            output: success({ total: 5 }),
          }),
        ),
    };
    expect(await client(raw).status(count, 'i-1')).toEqual({
      instanceId: 'i-1',
      state: 'completed',
      createdAtMs: 0,
      updatedAtMs: 1000,
      status: { done: 2 },
      output: { total: 5 },
    });
  });
});
