import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import type { HttpReply } from '../support/http.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  await app.http.post('/api/users', { userId: '1001', email: 'ada@example.com' });
});
afterAll(() => app.stop());

const JSON_TYPE = { 'content-type': 'application/json' };

function expectProblem(reply: HttpReply, status: number, code: string): void {
  expect([reply.status, reply.json['code']]).toEqual([status, code]);
  expect(reply.headers.get('content-type')).toContain('application/problem+json');
  for (const field of ['type', 'title', 'status', 'detail', 'instance']) {
    expect(reply.json).toHaveProperty(field);
  }
  expect(reply.headers.get('x-request-id')).toBeTruthy();
  expect(reply.text).not.toMatch(/SELECT|INSERT|mysql|ECONN|127\.0\.0\.1|at .*\.js:/);
}

function post(path: string, body: string | Buffer, headers = JSON_TYPE): Promise<HttpReply> {
  return app.http.request('POST', path, { headers, body });
}

describe('bodies that are not what they should be', () => {
  test.each([
    ['not JSON', '{"amountCents":'],
    ['empty', ''],
    ['an array', '[]'],
    ['null', 'null'],
    ['text', '"amountCents"'],
    ['an unknown field', '{"amountCents":1,"colour":"red"}'],
    ['an unknown field with a dangerous name', '{"amountCents":1,"__proto__":{"x":1}}'],
    ['a missing field', '{}'],
    ['a wrong type', '{"amountCents":"1"}'],
    ['a fraction', '{"amountCents":1.5}'],
    ['zero', '{"amountCents":0}'],
    ['a negative amount', '{"amountCents":-1}'],
    ['too large an amount', '{"amountCents":2147483648}'],
    ['an infinite amount', '{"amountCents":1e999}'],
    ['a bad id', '{"amountCents":1,"orderId":"1 OR 1=1"}'],
    ['an id past 64 bits', '{"amountCents":1,"orderId":"9223372036854775808"}'],
    ['an unsafe number as id', '{"amountCents":1,"orderId":9007199254740993}'],
    ['a bad time', '{"amountCents":1,"createdAt":"yesterday"}'],
    ['a day that does not exist', '{"amountCents":1,"createdAt":"2026-02-30T00:00:00Z"}'],
    ['a null', '{"amountCents":null}'],
  ])('%s', async (_, body) => {
    const before = (await app.http.get('/api/users/1001/orders')).text;
    expectProblem(await post('/api/users/1001/orders', body), 400, 'validation-failed');
    expect((await app.http.get('/api/users/1001/orders')).text).toBe(before);
  });

  test('invalid UTF-8', async () => {
    const body = Buffer.from([
      ...Buffer.from('{"email":"'),
      0xff,
      0xfe,
      ...Buffer.from('@a.example"}'),
    ]);
    expectProblem(await post('/api/users', body), 400, 'validation-failed');
  });

  test('a body that is too large', async () => {
    const body = JSON.stringify({ email: `${'x'.repeat(2 * 1024 * 1024)}@example.com` });
    expectProblem(await post('/api/users', body), 413, 'payload-too-large');
  });

  test('deeply nested JSON', async () => {
    const body = `{"amountCents":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
    expectProblem(await post('/api/users/1001/orders', body), 400, 'validation-failed');
  });

  test('another media type', async () => {
    const reply = await post('/api/users', 'email=a@b', {
      'content-type': 'application/x-www-form-urlencoded',
    });
    expectProblem(reply, 415, 'unsupported-media-type');
  });
});

describe('emails', () => {
  test.each([
    '',
    ' ',
    'nobody',
    '@example.com',
    'a@',
    'a@@example.com',
    'a b@example.com',
    'a@exa mple.com',
    'a\u0000b@example.com',
    'a\u0007@example.com',
    'a\nb@example.com',
    `${'a'.repeat(65)}@example.com`,
    `a@${'b'.repeat(260)}.com`,
  ])('%j is refused', async (email) => {
    expectProblem(await app.http.post('/api/users', { email }), 400, 'validation-failed');
  });

  test('a lone surrogate is refused', async () => {
    expectProblem(
      await post('/api/users', '{"email":"\\ud800@example.com"}'),
      400,
      'validation-failed',
    );
  });

  test('text that looks like SQL is stored as it is', async () => {
    const email = "robert'--drop_table_users;@example.com";
    const reply = await app.http.post('/api/users', { userId: '666', email });
    expect(reply.status).toBe(201);
    expect((await app.http.get('/api/users/666')).json['email']).toBe(email);
    expect((await app.http.get('/api/users/1001')).status).toBe(200);
  });
});

describe('paths and queries', () => {
  test.each([
    '0',
    '-1',
    '1.5',
    'abc',
    '9223372036854775808',
    '1%27%20OR%20%271%27=%271',
    '%00',
    '１',
  ])('user id %s is refused', async (id) => {
    const reply = await app.http.get(`/api/users/${id}`);
    expect([400, 404]).toContain(reply.status);
    if (reply.status === 400) expectProblem(reply, 400, 'validation-failed');
  });

  test('an idempotency key that is too long or has control characters is refused', async () => {
    const body = { amountCents: 1 };
    const long = { 'idempotency-key': 'x'.repeat(300) };
    expectProblem(
      await app.http.post('/api/users/1001/orders', body, long),
      400,
      'validation-failed',
    );
  });

  test('GET /api/users needs exactly one email', async () => {
    expectProblem(await app.http.get('/api/users'), 400, 'validation-failed');
    expectProblem(await app.http.get('/api/users?email=nobody'), 400, 'validation-failed');
  });

  test('the service is still well', async () => {
    expect((await app.http.get('/api/health/ready')).status).toBe(200);
  });
});
