import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { DatabaseError } from '../../src/database/database-error.ts';
import { PermanentError } from '../../src/kernel/errors.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import type { ProbePoint } from '../../src/kernel/probe.ts';
import { bucketOfKey, keyHash } from '../../src/idempotency/keys.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startSliceApp, userIdsOnShard, type SliceApp } from '../support/slice-app.ts';

let app: SliceApp;
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '8000' });
});
afterEach(() => {
  app.onProbe = () => undefined;
});
afterAll(() => app.stop());

type Reply = Awaited<ReturnType<SliceApp['call']>>;

function post(json: unknown, key?: string): Promise<Reply> {
  const headers: Record<string, string> = key === undefined ? {} : { 'idempotency-key': key };
  return app.call('users-register', { json, headers });
}

function get(userId: string): Promise<Reply> {
  return app.call('users-get', { params: { userId } });
}

function find(email: string): Promise<Reply> {
  return app.call('users-find', { path: `/api/users?email=${encodeURIComponent(email)}` });
}

function changeEmail(userId: string, email: string): Promise<Reply> {
  return app.call('users-change-email', { params: { userId }, json: { email } });
}

function expectCode(reply: Reply, status: number, code: string): void {
  expect([reply.status, reply.json['code']]).toEqual([status, code]);
}

describe('registering', () => {
  test('a new user, with an id given or made', async () => {
    const given = await post({ userId: 1001, email: ' Ada@Example.com ' });
    expect(given.status).toBe(201);
    expect(given.json).toMatchObject({ userId: '1001', email: 'Ada@Example.com' });
    expect(given.headers['location']).toBe('/api/users/1001');
    expect((await get('1001')).json).toEqual(given.json);
    const made = await post({ email: 'made@example.com' });
    expect(made.status).toBe(201);
    expect((await get(String(made.json['userId']))).json).toEqual(made.json);
  });

  test('what is there already is told apart', async () => {
    const [one, two] = userIdsOnShard(0, 2, 30_000) as [string, string];
    await app.register(one, 'first@example.com');
    expectCode(await post({ userId: one, email: 'first@example.com' }), 409, 'email-taken');
    expectCode(await post({ userId: one, email: 'other@example.com' }), 409, 'user-conflict');
    expectCode(await post({ userId: two, email: ' FIRST@example.COM' }), 409, 'email-taken');
    expectCode(await get(two), 404, 'user-not-found');
    expect((await get(one)).json['email']).toBe('first@example.com');
  });

  test.each([
    ['31001', 'naïve.😀@example.com'],
    ['31002', "robert'--drop_table_users;@example.com"],
    ['31003', '"or"1\\=1/*@example.com'],
    ['31004', 'b\u00fccher@b\u00fccher.example'],
    ['31005', '%s?:x`$1@example.com'],
  ])('user %s is stored as given: %s', async (userId, email) => {
    expect((await post({ userId, email })).status).toBe(201);
    expect((await get(userId)).json['email']).toBe(email);
    expect((await find(email)).json['userId']).toBe(userId);
    const stored = await app.allRows('SELECT email FROM users WHERE user_id = ?', [userId]);
    expect(stored).toEqual([{ email }]);
  });

  test('of 32 identical requests without a key one registers', async () => {
    const body = { userId: '32001', email: 'once@example.com' };
    const replies = await Promise.all(Array.from({ length: 32 }, () => post(body)));
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.json['code'] === 'email-taken')).toHaveLength(31);
  });

  test('of 32 users of a shard who want one email at once one gets it', async () => {
    const ids = userIdsOnShard(1, 32, 33_000);
    const replies = await Promise.all(
      ids.map((userId) => post({ userId, email: 'wanted@example.com' })),
    );
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.json['code'] === 'email-taken')).toHaveLength(31);
    const emails = await app.rows(1, `SELECT 1 FROM users WHERE email LIKE 'wanted%'`);
    expect(emails).toHaveLength(1);
  });

  test('an answer lost on the way is told as the first', async () => {
    let inserts = 0;
    app.onProbe = (point) => {
      if (point === 'users.afterInsert' && (inserts += 1) === 1) throw new DatabaseError('lost');
    };
    const reply = await post({ userId: '34001', email: 'lost@example.com' });
    expect([reply.status, inserts]).toEqual([201, 2]);
  });
});

describe('idempotency keys', () => {
  test('same body: the first answer; other body: refused', async () => {
    const body = { userId: '40001', email: 'key@example.com' };
    const first = await post(body, 'k1');
    const again = await post(body, 'k1');
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(first.headers['idempotent-replay']).toBeUndefined();
    expect(again.headers['idempotent-replay']).toBe('true');
    expect(again.json).toEqual(first.json);
    expectCode(await post({ ...body, email: 'x@example.com' }, 'k1'), 409, 'idempotency-conflict');
    expectCode(await post({ ...body, userId: '40002' }, 'k1'), 409, 'idempotency-conflict');
    expectCode(await post({ email: body.email }, 'k1'), 409, 'idempotency-conflict');
    expectCode(await get('40002'), 404, 'user-not-found');
  });

  test('a made id is made once', async () => {
    const first = await post({ email: 'made-once@example.com' }, 'k2');
    const again = await post({ email: 'made-once@example.com' }, 'k2');
    expect([again.status, again.json]).toEqual([200, first.json]);
  });

  test('the answer stays the first, also when the email was changed since', async () => {
    const body = { userId: '40003', email: 'before@example.com' };
    const first = await post(body, 'k3');
    expect((await changeEmail('40003', 'after@example.com')).status).toBe(200);
    const again = await post(body, 'k3');
    expect([again.status, again.json]).toEqual([200, first.json]);
    expect((await get('40003')).json['email']).toBe('after@example.com');
  });

  test('a key does not take over what was registered without it', async () => {
    await app.register('40004', 'owner@example.com');
    const body = { userId: '40004', email: 'owner@example.com' };
    const taken = await post(body, 'k4');
    const conflict = await post({ ...body, email: 'other@example.com' }, 'k5');
    expect([taken.json['code'], conflict.json['code']]).toEqual(['email-taken', 'user-conflict']);
  });

  test.each<ProbePoint>(['users.beforeInsert', 'users.afterInsert'])(
    'a crash at %s is completed by the repeat',
    async (crashPoint) => {
      const email = `${crashPoint}@example.com`;
      app.onProbe = (point) => {
        if (point === crashPoint) throw new PermanentError('internal', 'crashed');
      };
      expect((await post({ email }, crashPoint)).status).toBe(500);
      app.onProbe = () => undefined;
      const again = await post({ email }, crashPoint);
      expect(again.status).toBe(200);
      const rows = await app.allRows('SELECT user_id FROM users WHERE email = ?', [email]);
      expect(rows).toEqual([{ user_id: again.json['userId'] }]);
      expect((await get(String(again.json['userId']))).json).toEqual(again.json);
    },
  );

  test('32 requests with one key at once register one user', async () => {
    const replies = await Promise.all(
      Array.from({ length: 32 }, () => post({ email: 'at-once@example.com' }, 'k6')),
    );
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.status === 200)).toHaveLength(31);
    expect(new Set(replies.map((reply) => reply.text)).size).toBe(1);
    const rows = await app.allRows(`SELECT 1 FROM users WHERE email LIKE 'at-once%'`);
    expect(rows).toHaveLength(1);
  });

  test('the record lies in the bucket of the key', async () => {
    const hash = keyHash('users', 'k1');
    const records = await app.allRows(
      `SELECT bucket, resource_id FROM idempotency_keys WHERE scope = 'users' AND key_hash = UNHEX(?)`,
      [hash],
    );
    expect(records).toEqual([{ bucket: bucketOfKey(hash), resource_id: '40001' }]);
  });
});

describe('finding by email', () => {
  test('on every shard, by any spelling', async () => {
    for (const shard of [0, 1, 2]) {
      const [userId] = userIdsOnShard(shard, 1, 50_000) as [string];
      await app.register(userId, `Fi\u00e9nd${shard}@Example.com`);
      const reply = await find(` fie\u0301nd${shard}@EXAMPLE.com`);
      expect([reply.status, reply.json['userId']]).toEqual([200, userId]);
    }
    expectCode(await find('nobody@example.com'), 404, 'user-not-found');
  });

  test('an old copy is not taken for the truth', async () => {
    const [userId] = userIdsOnShard(0, 1, 51_000) as [string];
    await app.register(userId, 'moving@example.com');
    await app.moveBucket(bucketOf(userId), 1);
    expect((await find('moving@example.com')).json['userId']).toBe(userId);
    expect((await changeEmail(userId, 'moved@example.com')).status).toBe(200);
    expectCode(await find('moving@example.com'), 404, 'user-not-found');
    expect((await find('moved@example.com')).json['email']).toBe('moved@example.com');
    expect((await get(userId)).json['email']).toBe('moved@example.com');
  });

  test('a shard that is down hides only what it alone may know', async () => {
    const [there] = userIdsOnShard(0, 1, 52_000) as [string];
    await app.register(there, 'there@example.com');
    await app.databases.stack.stopShard(2);
    expect((await find('there@example.com')).json['userId']).toBe(there);
    expectCode(await find('perhaps@example.com'), 503, 'shard-unavailable');
    const [lost] = userIdsOnShard(2, 1, 52_000) as [string];
    expectCode(await get(lost), 503, 'shard-unavailable');
    await app.databases.stack.startShard(2);
    await expect.poll(async () => (await get(lost)).status, { timeout: 20_000 }).toBe(404);
    expectCode(await find('perhaps@example.com'), 404, 'user-not-found');
  });
});

describe('changing the email', () => {
  test('changes it, again and back', async () => {
    await app.register('60001', 'one@example.com');
    const first = (await get('60001')).json;
    for (const email of [
      'two@example.com',
      'two@example.com',
      'Two@Example.com',
      'one@example.com',
    ]) {
      const reply = await changeEmail('60001', email);
      expect([reply.status, reply.json]).toEqual([200, { ...first, email }]);
    }
    expectCode(await find('two@example.com'), 404, 'user-not-found');
    expect((await find('one@example.com')).status).toBe(200);
  });

  test('not of nobody, not to one that is taken', async () => {
    const [one, two] = userIdsOnShard(2, 2, 61_000) as [string, string];
    await app.register(one, 'taken@example.com');
    await app.register(two, 'mine@example.com');
    expectCode(await changeEmail(two, 'TAKEN@example.com'), 409, 'email-taken');
    expect((await get(two)).json['email']).toBe('mine@example.com');
    expectCode(await changeEmail('61999', 'free@example.com'), 404, 'user-not-found');
    expect((await changeEmail(two, 'free@example.com')).status).toBe(200);
  });

  test('of 16 users of a shard who want one email at once one gets it', async () => {
    const ids = userIdsOnShard(0, 16, 62_000);
    for (const userId of ids) await app.register(userId);
    const replies = await Promise.all(ids.map((userId) => changeEmail(userId, 'hot@example.com')));
    expect(replies.filter((reply) => reply.status === 200)).toHaveLength(1);
    expect(replies.filter((reply) => reply.json['code'] === 'email-taken')).toHaveLength(15);
  });
});

test('a fenced bucket is waited out by every call', async () => {
  await app.register('70001', 'fenced@example.com');
  await app.register('70002', 'open@example.com');
  const key = 'fenced-key';
  const buckets = new Set<BucketId>([bucketOf('70001'), bucketOfKey(keyHash('users', key))]);
  for (const bucket of buckets) await app.fence(bucket);
  const calls = [
    get('70001'),
    find('fenced@example.com'),
    changeEmail('70001', 'fenced@example.com'),
    post({ email: 'keyed@example.com' }, key),
  ];
  expect((await get('70002')).status).toBe(200);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(await app.allRows(`SELECT 1 FROM users WHERE email LIKE 'keyed%'`)).toEqual([]);
  for (const bucket of buckets) await app.unfence(bucket);
  expect((await Promise.all(calls)).map((reply) => reply.status)).toEqual([200, 200, 200, 201]);
});

test('every stored row carries the bucket of its key', async () => {
  const users = await app.allRows('SELECT bucket, user_id FROM users');
  expect(users.length).toBeGreaterThan(20);
  expect(users.filter((row) => row['bucket'] !== bucketOf(String(row['user_id'])))).toEqual([]);
  const keys = await app.allRows(
    'SELECT bucket, LOWER(HEX(key_hash)) AS hash FROM idempotency_keys',
  );
  expect(keys.length).toBeGreaterThan(3);
  expect(keys.filter((row) => row['bucket'] !== bucketOfKey(String(row['hash'])))).toEqual([]);
});
