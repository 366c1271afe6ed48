import type { HttpFunctionOptions } from '@azure/functions';
import { describe, expect, test } from 'vitest';
import { defineRoute, registerRoutes, type Reply, type Route } from '../../../src/http/handler.ts';
import { PROBLEM_KINDS } from '../../../src/http/problem.ts';
import {
  BugError,
  PermanentError,
  RetryableError,
  type ErrorCode,
} from '../../../src/kernel/errors.ts';
import { call, echo, facts, good, services } from '../../support/echo-route.ts';
import { createFakeServices } from '../../support/fake-services.ts';
import { createRouteCaller } from '../../support/route-caller.ts';

function throwing(error: unknown): Route {
  return defineRoute({ ...facts, method: 'GET', handle: () => Promise.reject(error) });
}

describe('a valid request', () => {
  test('reaches the handler in its canonical form', async () => {
    const reply = await call('test', {
      params: { userId: '1001' },
      path: '/api/test/1001?limit=7&code=an-access-key&clientId=x',
      headers: { 'idempotency-key': 'k', other: 'ignored' },
      json: { amountCents: 5, note: '😀' },
    });
    expect(reply.status).toBe(200);
    expect(reply.json).toEqual({
      params: { userId: '1001' },
      query: { limit: 7 },
      headers: { 'idempotency-key': 'k' },
      body: { amountCents: 5, note: '😀' },
    });
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
  });

  test('logs one line with status, route and duration', async () => {
    const own = createFakeServices();
    await createRouteCaller(own, [echo])('test', {
      ...good,
      headers: {
        'x-request-id': 'r-1',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      },
    });
    expect(own.logger.events).toHaveLength(1);
    expect(own.logger.events[0]).toMatchObject({
      level: 'info',
      event: 'http.request_completed',
      fields: {
        status: 200,
        route: 'test/{userId}',
        method: 'POST',
        functionName: 'test',
        invocationId: 'invocation-1',
        requestId: 'r-1',
        traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
        durationMs: expect.any(Number) as number,
      },
    });
  });

  test('an answer without a body has none', async () => {
    const route = defineRoute({
      ...facts,
      method: 'GET',
      handle: () => Promise.resolve<Reply>({ status: 204, headers: { 'x-own': '1' } }),
    });
    const reply = await createRouteCaller(services, [route])('test');
    expect([reply.status, reply.text, reply.headers['x-own']]).toEqual([204, '', '1']);
    expect(reply.headers['content-type']).toBeUndefined();
  });
});

describe('request ids', () => {
  test('a sane one is echoed', async () => {
    const reply = await call('test', { ...good, headers: { 'x-request-id': 'caller-17' } });
    expect(reply.headers['x-request-id']).toBe('caller-17');
  });

  test.each(['', 'a b', '"quoted"', 'x'.repeat(129), '-leading', '<script>'])(
    '%j is replaced',
    async (id) => {
      const reply = await call('test', { ...good, headers: { 'x-request-id': id } });
      expect(reply.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    },
  );
});

describe('what is wrong with a request is told', () => {
  test.each([
    ['an unknown field', { amountCents: 1, colour: 'red' }, '/colour'],
    ['a field with slashes', { amountCents: 1, 'a/b~c': 1 }, '/a~1b~0c'],
    ['a missing field', {}, '/amountCents'],
    ['a wrong type', { amountCents: '1' }, '/amountCents'],
    ['an array', [], ''],
    ['null', null, ''],
    ['a text', 'amountCents', ''],
  ])('%s', async (_, json, path) => {
    const reply = await call('test', { ...good, json });
    expect(reply.status).toBe(400);
    expect(reply.json).toMatchObject({ code: 'validation-failed', errors: [{ path }] });
  });

  test('a dangerous field name is a field like any other', async () => {
    const body = '{"amountCents":1,"__proto__":{"admin":true}}';
    const headers = { 'content-type': 'application/json' };
    const reply = await call('test', { params: good.params, body, headers });
    expect(reply.json).toMatchObject({
      code: 'validation-failed',
      errors: [{ path: '/__proto__' }],
    });
  });

  test('hostile numbers of problems are cut', async () => {
    const json = Object.fromEntries(Array.from({ length: 90 }, (_, index) => [`f${index}`, 1]));
    const reply = await call('test', { ...good, json });
    expect(reply.json['errors']).toHaveLength(50);
  });

  test.each(['abc', '0', '-1', '1.5', '9223372036854775808', '１', '\0', "1' OR '1'='1"])(
    'user id %j',
    async (userId) => {
      const reply = await call('test', { ...good, params: { userId } });
      expect(reply.status).toBe(400);
      expect(reply.json).toMatchObject({ errors: [{ path: '/params/userId' }] });
      expect(reply.text).not.toContain(JSON.stringify(userId).slice(1, -1) + ' is');
    },
  );

  test.each([
    ['limit=0', '/query/limit'],
    ['limit=11', '/query/limit'],
    ['limit=', '/query/limit'],
    ['limit=1e0', '/query/limit'],
    ['limit=1&limit=2', '/query/limit'],
    ['color=red', '/query/color'],
    ['limit=%zz', '/query/limit'],
    ['limit=%ff', '/query/limit'],
    ['%c0%80=1', '/query'],
  ])('?%s', async (query, path) => {
    const reply = await call('test', { ...good, path: `/api/test/1001?${query}` });
    expect(reply.status).toBe(400);
    expect(reply.json).toMatchObject({ code: 'validation-failed', errors: [{ path }] });
  });

  test('a route without a query takes none', async () => {
    const route = defineRoute({
      ...facts,
      method: 'GET',
      handle: () => Promise.resolve({ status: 200 }),
    });
    const reply = await createRouteCaller(services, [route])('test', { path: '/api/test/1?a=1' });
    expect(reply.json).toMatchObject({ status: 400, errors: [{ path: '/query/a' }] });
  });

  test('a bad header', async () => {
    const reply = await call('test', { ...good, headers: { 'idempotency-key': 'too-long' } });
    expect(reply.json).toMatchObject({ errors: [{ path: '/headers/idempotency-key' }] });
  });
});

describe('errors', () => {
  test.each(Object.entries(PROBLEM_KINDS) as [ErrorCode, { status: number }][])(
    '%s is answered as a problem',
    async (code, { status }) => {
      const error = new PermanentError(code, 'Secret or not.', { retryAfterSeconds: 1.2 });
      const reply = await createRouteCaller(services, [throwing(error)])('test', {
        path: '/api/test/1001',
        headers: { 'x-request-id': 'r-2' },
      });
      expect(reply.status).toBe(status);
      expect(reply.headers['content-type']).toBe('application/problem+json');
      expect(reply.headers['retry-after']).toBe('2');
      expect(reply.json).toMatchObject({
        status,
        code: code === 'configuration-invalid' ? 'internal' : code,
        instance: '/api/test/1001',
        requestId: 'r-2',
        title: expect.any(String) as string,
        type: expect.stringMatching(/^urn:shardline:problem:/) as string,
        detail: expect.any(String) as string,
      });
    },
  );

  test.each([
    new Error('SELECT secret FROM users at 10.0.0.1'),
    new BugError('SELECT secret FROM users at 10.0.0.1'),
    PermanentError.configuration([{ path: 'SHARDS', message: 'SELECT secret at 10.0.0.1' }]),
    'SELECT secret',
    undefined,
    new PermanentError('internal', 'SELECT secret', {
      problems: [{ path: '', message: 'SELECT' }],
    }),
  ])('an unexpected %s shows nothing of itself, but is logged', async (error) => {
    const own = createFakeServices();
    const reply = await createRouteCaller(own, [throwing(error)])('test');
    expect([reply.status, reply.json['code']]).toEqual([500, 'internal']);
    expect(reply.text).not.toMatch(/SELECT|10\.0|secret|SHARDS|at /);
    expect(own.logger.events.map((event) => event.event)).toEqual([
      'http.request_failed',
      'http.request_completed',
    ]);
    expect(own.logger.events[1]?.fields).toMatchObject({ status: 500, errorCode: 'internal' });
  });

  test('an unavailable shard says when to come back', async () => {
    const error = RetryableError.shardUnavailable(2);
    const reply = await createRouteCaller(services, [throwing(error)])('test');
    expect([reply.status, reply.headers['retry-after']]).toEqual([503, '2']);
    expect(reply.text).not.toContain('"shardId"');
  });

  test('a reply that cannot be JSON is a 500, not a crash', async () => {
    const route = defineRoute({
      ...facts,
      method: 'GET',
      handle: () => Promise.resolve({ status: 200, body: 1n }),
    });
    expect((await createRouteCaller(services, [route])('test')).status).toBe(500);
  });
});

describe('registration', () => {
  const app = (): { http: (name: string, options: HttpFunctionOptions) => void } & {
    options: HttpFunctionOptions[];
  } => {
    const options: HttpFunctionOptions[] = [];
    return { options, http: (_, given) => options.push(given) };
  };
  const simple = {
    ...facts,
    method: 'GET',
    handle: () => Promise.resolve({ status: 200 }),
  } as const;

  test('one function per route', () => {
    const target = app();
    registerRoutes(target, services, [
      echo,
      defineRoute({ ...simple, name: 'other', auth: 'admin' }),
    ]);
    expect(target.options).toMatchObject([
      { methods: ['POST'], route: 'test/{userId}', authLevel: 'function' },
      { methods: ['GET'], route: 'test/{userId}', authLevel: 'admin' },
    ]);
  });

  test('refuses two routes with one name, or with one method and path', () => {
    const one = defineRoute({ ...simple, name: 'one' });
    expect(() => registerRoutes(app(), services, [one, one])).toThrow('same name');
    const twin = defineRoute({ ...simple, name: 'two', route: 'TEST/{id}' });
    expect(() => registerRoutes(app(), services, [one, twin])).toThrow('same GET');
  });

  test('a durable route gets its client, and cannot be registered without', async () => {
    const client = { ensureStarted: () => Promise.resolve('started' as const) };
    const route = defineRoute({
      ...facts,
      method: 'GET',
      durable: true,
      handle: ({ durable }) =>
        Promise.resolve({ status: durable === (client as unknown) ? 200 : 500 }),
    });
    expect(() => registerRoutes(app(), services, [route])).toThrow('durable');
    const input = { type: 'durableClient', name: 'client' };
    const binding = { input, clientOf: () => client as never };
    expect((await createRouteCaller(services, [route], binding)('test')).status).toBe(200);
    const target = app();
    registerRoutes(target, services, [route], binding);
    expect(target.options[0]?.extraInputs).toEqual([input]);
  });
});
