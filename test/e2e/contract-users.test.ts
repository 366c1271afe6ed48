import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startTestApp, type TestApp } from '../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.stop());

/** Some user id whose bucket lies on `shard` of three by the initial map. */
function userIdOnShard(shard: number): string {
  let id = 20_000;
  while (bucketOf(String(id)) % 3 !== shard) id += 1;
  return String(id);
}

describe('POST /api/users', () => {
  test('registers a user under the id given', async () => {
    const reply = await app.http.post('/api/users', { userId: '1001', email: ' Ada@Example.com ' });
    expect(reply.status).toBe(201);
    expect(reply.json).toMatchObject({ userId: '1001', email: 'Ada@Example.com' });
    expect(reply.json['createdAt']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(reply.headers.get('location')).toMatch(/\/api\/users\/1001$/);
  });

  test('makes an id as a decimal string when none is given', async () => {
    const reply = await app.http.post('/api/users', { email: 'noid@example.com' });
    expect(reply.status).toBe(201);
    expect(reply.json['userId']).toMatch(/^[1-9]\d{0,18}$/);
    const found = await app.http.get(`/api/users/${String(reply.json['userId'])}`);
    expect(found.status).toBe(200);
    expect(found.json).toEqual(reply.json);
  });

  test('takes a safe-integer number as id and answers with text', async () => {
    const reply = await app.http.post('/api/users', { userId: 2002, email: 'grace@example.com' });
    expect(reply.status).toBe(201);
    expect(reply.json['userId']).toBe('2002');
  });

  test('replays the first answer for the same key and body', async () => {
    const body = { userId: '3003', email: 'edsger@example.com' };
    const key = { 'idempotency-key': 'register-3003' };
    const first = await app.http.post('/api/users', body, key);
    const second = await app.http.post('/api/users', body, key);
    expect([first.status, second.status]).toEqual([201, 200]);
    expect(first.headers.get('idempotent-replay')).toBeNull();
    expect(second.headers.get('idempotent-replay')).toBe('true');
    expect(second.json).toEqual(first.json);
  });

  test('replays an answer with a made id', async () => {
    const key = { 'idempotency-key': 'register-somebody' };
    const first = await app.http.post('/api/users', { email: 'somebody@example.com' }, key);
    const second = await app.http.post('/api/users', { email: 'somebody@example.com' }, key);
    expect(second.status).toBe(200);
    expect(second.json).toEqual(first.json);
  });

  test.each([
    ['another email', { userId: '3103', email: 'other@example.com' }],
    ['another id', { userId: '3104', email: 'first@example.com' }],
  ])('refuses the same key with %s', async (_, other) => {
    const key = { 'idempotency-key': `reuse-${other.userId}` };
    await app.http.post('/api/users', { userId: '3103', email: 'first@example.com' }, key);
    const reply = await app.http.post('/api/users', other, key);
    expect(reply.status).toBe(409);
    expect(reply.json['code']).toBe('idempotency-conflict');
  });

  test('refuses an email that is taken, on whatever shard, whatever its case', async () => {
    for (const shard of [0, 1, 2]) {
      const userId = userIdOnShard(shard);
      const reply = await app.http.post('/api/users', { userId, email: 'ADA@example.COM ' });
      expect(reply.status).toBe(409);
      expect(reply.json['code']).toBe('email-taken');
      expect((await app.http.get(`/api/users/${userId}`)).status).toBe(404);
    }
  });

  test('of users on all shards who want one email at once one gets it', async () => {
    const ids = [0, 1, 2].map(userIdOnShard);
    const replies = await Promise.all(
      ids.map((userId) => app.http.post('/api/users', { userId, email: 'race@example.com' })),
    );
    const taken = replies.filter((reply) => reply.json['code'] === 'email-taken');
    expect(replies.map((reply) => reply.status).toSorted((a, b) => a - b)).toEqual([201, 409, 409]);
    expect(taken).toHaveLength(2);
    const winner = replies.find((reply) => reply.status === 201)?.json['userId'];
    const found = await app.http.get('/api/users?email=race%40example.com');
    expect(found.json['userId']).toBe(winner);
  });

  test('stores 4-byte characters faithfully', async () => {
    const email = 'naïve.😀@example.com';
    const reply = await app.http.post('/api/users', { userId: '7001', email });
    expect(reply.status).toBe(201);
    expect((await app.http.get('/api/users/7001')).json['email']).toBe(email);
  });
});

describe('looking users up and changing them', () => {
  test('404 for one that is not there', async () => {
    const reply = await app.http.get('/api/users/999999');
    expect(reply.status).toBe(404);
    expect(reply.json['code']).toBe('user-not-found');
  });

  test('finds the one user of an email, case-insensitively', async () => {
    await app.http.post('/api/users', { userId: '5005', email: 'Barbara@Example.com' });
    const reply = await app.http.get('/api/users?email=barbara%40example.com');
    expect(reply.status).toBe(200);
    expect(reply.json['userId']).toBe('5005');
    const nobody = await app.http.get('/api/users?email=nobody%40example.com');
    expect(nobody.status).toBe(404);
  });

  test('changes an email', async () => {
    await app.http.post('/api/users', { userId: '6006', email: 'old@example.com' });
    const reply = await app.http.put('/api/users/6006/email', { email: 'new@example.com' });
    expect(reply.status).toBe(200);
    expect(reply.json).toMatchObject({ userId: '6006', email: 'new@example.com' });
    expect((await app.http.get('/api/users?email=old%40example.com')).status).toBe(404);
    const taken = await app.http.put('/api/users/6006/email', { email: 'Barbara@example.com' });
    expect([taken.status, taken.json['code']]).toEqual([409, 'email-taken']);
    const missing = await app.http.put('/api/users/6007/email', { email: 'x@example.com' });
    expect(missing.status).toBe(404);
    expect(missing.json['code']).toBe('user-not-found');
  });
});
