import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { durableClientInput } from '../../src/durable/client.ts';
import { DatabaseError } from '../../src/database/database-error.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import type { ProbePoint } from '../../src/kernel/probe.ts';
import { bucketOfKey, keyHash } from '../../src/idempotency/keys.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { usersRoutes } from '../../src/users/http.ts';
import { createRouteCaller } from '../support/route-caller.ts';
import {
  emailsOnShard,
  startSliceApp,
  userIdsOnShard,
  type SliceApp,
} from '../support/slice-app.ts';
import { apart, createUsersApi, expectCode } from '../support/users-api.ts';

let app: SliceApp;
let users: ReturnType<typeof createUsersApi>;
/** The same app for callers who wait a moment only. */
let hurried: Pick<SliceApp, 'call'>;
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '8000' });
  users = createUsersApi(app);
  // The tables of every shard, for tests that read them past the app.
  await app.services.database.prewarm();
  const config = { ...app.services.config, REQUEST_DEADLINE_MS: 400 };
  const durable = { input: durableClientInput, clientOf: () => app.sagas.client };
  hurried = { call: createRouteCaller({ ...app.services, config }, usersRoutes, durable) };
});
afterEach(() => {
  app.onProbe = () => undefined;
});
afterAll(() => app.stop());

describe('registering', () => {
  test('a new user, with an id given or made', async () => {
    const given = await users.post({ userId: 1001, email: ' Ada@Example.com ' });
    expect(given.status).toBe(201);
    expect(given.json).toMatchObject({ userId: '1001', email: 'Ada@Example.com' });
    expect(given.headers['location']).toBe('/api/users/1001');
    expect((await users.get('1001')).json).toEqual(given.json);
    const made = await users.post({ email: 'made@example.com' });
    expect(made.status).toBe(201);
    expect((await users.get(String(made.json['userId']))).json).toEqual(made.json);
  });

  test.each([
    ['one shard', 0],
    ['two shards', 1],
  ])('what is there already is told apart, on %s', async (_, emailShard) => {
    const [one, two] = userIdsOnShard(0, 2, 30_000 + 500 * emailShard) as [string, string];
    const [email, other] = emailsOnShard(emailShard, 2, 'first') as [string, string];
    await app.register(one, email);
    expectCode(await users.post({ userId: one, email }), 409, 'email-taken');
    expectCode(await users.post({ userId: one, email: other }), 409, 'user-conflict');
    const shouted = ` ${email.toUpperCase()}`;
    expectCode(await users.post({ userId: two, email: shouted }), 409, 'email-taken');
    expectCode(await users.get(two), 404, 'user-not-found');
    expect((await users.get(one)).json['email']).toBe(email);
    expect((await users.post({ userId: two, email: other })).status).toBe(201);
  });

  test.each([
    ['31001', 'naïve.😀@example.com'],
    ['31002', "robert'--drop_table_users;@example.com"],
    ['31003', '"or"1\\=1/*@example.com'],
    ['31004', 'b\u00fccher@b\u00fccher.example'],
    ['31005', '%s?:x`$1@example.com'],
  ])('user %s is stored as given: %s', async (userId, email) => {
    expect((await users.post({ userId, email })).status).toBe(201);
    expect((await users.get(userId)).json['email']).toBe(email);
    expect((await users.find(email)).json['userId']).toBe(userId);
    const stored = await app.allRows('SELECT email FROM users WHERE user_id = ?', [userId]);
    expect(stored).toEqual([{ email }]);
  });

  test('of 32 identical requests without a key one registers', async () => {
    const body = { userId: '32001', email: 'once@example.com' };
    const replies = await Promise.all(Array.from({ length: 32 }, () => users.post(body)));
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.json['code'] === 'email-taken')).toHaveLength(31);
  });

  test.each([
    ['of one shard, the email on it as well', [1], 1],
    ['of one shard, the email on another', [1], 2],
    ['of all shards', [0, 1, 2], 0],
  ])('of 64 users %s who want one email at once one gets it', async (_, shards, emailShard) => {
    const name = `wanted${shards.length}on${emailShard}x`;
    const [email] = emailsOnShard(emailShard, 1, name) as [string];
    const ids = Array.from({ length: 64 }, (__, index) => {
      const shard = shards[index % shards.length] as number;
      return userIdsOnShard(shard, index + 1, 33_000 + 1_000 * emailShard)[index] as string;
    });
    const replies = await Promise.all(
      ids.map((userId, index) =>
        users.post({ userId, email: index % 2 === 0 ? email : email.toUpperCase() }),
      ),
    );
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.json['code'] === 'email-taken')).toHaveLength(63);
    const rows = await app.allRows('SELECT user_id FROM users WHERE LOWER(email) = ?', [email]);
    const winner = replies.find((reply) => reply.status === 201)?.json['userId'];
    expect(rows.map((row) => row['user_id'])).toEqual([winner]);
    expect((await users.find(email)).json['userId']).toBe(winner);
  });

  test('an answer lost on the way is told as the first', async () => {
    let commits = 0;
    app.onProbe = (point) => {
      if (point === 'sagas.afterLocalCommit' && (commits += 1) === 1)
        throw new DatabaseError('lost');
    };
    const [userId] = userIdsOnShard(0, 1, 34_000) as [string];
    const reply = await users.post({ userId, email: emailsOnShard(0, 1, 'lost')[0] });
    expect([reply.status, commits]).toEqual([201, 2]);
  });

  test('an id of our own is on the shard of the email: one transaction, no saga', async () => {
    const before = await users.sagasBegun();
    for (let number = 0; number < 12; number += 1) {
      const email = `near${number}@example.com`;
      const reply = await users.post({ email });
      expect(reply.status).toBe(201);
      expect(bucketOf(String(reply.json['userId'])) % 3).toBe(bucketOf(email) % 3);
    }
    expect(await users.sagasBegun()).toBe(before);
  });

  test('what lasts longer than the caller waits is answered with the saga', async () => {
    const email = emailsOnShard(1, 1, 'late')[0];
    const [userId] = userIdsOnShard(2, 1, 35_000) as [string];
    app.sagas.isHeld = true;
    const reply = await hurried.call('users-register', { json: { userId, email } });
    app.sagas.isHeld = false;
    const sagaId = String(reply.json['sagaId']);
    expect([reply.status, reply.json]).toEqual([
      202,
      { sagaId, statusUrl: `/api/sagas/${sagaId}` },
    ]);
    expectCode(await users.get(userId), 404, 'user-not-found');
    app.sagas.resume();
    await app.sagas.settled();
    expect((await users.get(userId)).json['email']).toBe(email);
  });
});

describe('idempotency keys', () => {
  test('same body: the first answer; other body: refused', async () => {
    const body = { userId: '40001', email: 'key@example.com' };
    const first = await users.post(body, 'k1');
    const again = await users.post(body, 'k1');
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(first.headers['idempotent-replay']).toBeUndefined();
    expect(again.headers['idempotent-replay']).toBe('true');
    expect(again.json).toEqual(first.json);
    expectCode(
      await users.post({ ...body, email: 'x@example.com' }, 'k1'),
      409,
      'idempotency-conflict',
    );
    expectCode(await users.post({ ...body, userId: '40002' }, 'k1'), 409, 'idempotency-conflict');
    expectCode(await users.post({ email: body.email }, 'k1'), 409, 'idempotency-conflict');
    expectCode(await users.get('40002'), 404, 'user-not-found');
  });

  test('a made id is made once', async () => {
    const first = await users.post({ email: 'made-once@example.com' }, 'k2');
    const again = await users.post({ email: 'made-once@example.com' }, 'k2');
    expect([again.status, again.json]).toEqual([200, first.json]);
  });

  test('the answer stays the first, also when the email was changed since', async () => {
    const body = { userId: '40003', email: 'before@example.com' };
    const first = await users.post(body, 'k3');
    expect((await users.changeEmail('40003', 'after@example.com')).status).toBe(200);
    const again = await users.post(body, 'k3');
    expect([again.status, again.json]).toEqual([200, first.json]);
    expect((await users.get('40003')).json['email']).toBe('after@example.com');
  });

  test('a key does not take over what was registered without it', async () => {
    await app.register('40004', 'owner@example.com');
    const body = { userId: '40004', email: 'owner@example.com' };
    const taken = await users.post(body, 'k4');
    const conflict = await users.post({ ...body, email: 'other@example.com' }, 'k5');
    expect([taken.json['code'], conflict.json['code']]).toEqual(['email-taken', 'user-conflict']);
  });

  test.each<[ProbePoint, 'together' | 'apart']>([
    ['sagas.beforeLocalCommit', 'together'],
    ['sagas.afterLocalCommit', 'together'],
    ['sagas.beforeStart', 'apart'],
  ])('a crash at %s is completed by the repeat', async (point, placement) => {
    const { userId, email } = apart(`crash-${point}`, 41_000);
    const body = placement === 'apart' ? { userId, email } : { email };
    app.onProbe = (reached) => {
      if (reached === point) throw new Error('crash');
    };
    expect((await users.post(body, point)).status).toBe(500);
    app.onProbe = () => undefined;
    const again = await users.post(body, point);
    expect(again.status).toBe(200);
    expect(again.headers['idempotent-replay']).toBe('true');
    const rows = await app.allRows('SELECT user_id FROM users WHERE email = ?', [email]);
    expect(rows).toEqual([{ user_id: again.json['userId'] }]);
    expect((await users.get(String(again.json['userId']))).json).toEqual(again.json);
  });

  test('a saga that ended for want of a shard is no answer: the repeat begins another', async () => {
    const body = apart('away', 42_000);
    let isAway = true;
    app.onProbe = (point, subject) => {
      if (isAway && point === 'sagas.beforeStep' && subject?.includes('/create-user/run')) {
        throw new DatabaseError('unreachable');
      }
    };
    expectCode(await users.post(body, 'k-away'), 503, 'shard-unavailable');
    expectCode(await users.get(body.userId), 404, 'user-not-found');
    isAway = false;
    const again = await users.post(body, 'k-away');
    expect([again.status, again.json['userId']]).toEqual([200, body.userId]);
    expect((await users.get(body.userId)).json).toEqual(again.json);
  });

  test('a refusal is the answer to every repeat', async () => {
    const body = apart('refused', 43_000);
    await app.register(body.userId, emailsOnShard(2, 1, 'refusedbefore')[0]);
    expectCode(await users.post(body, 'k-refused'), 409, 'user-conflict');
    const begun = await users.sagasBegun();
    expectCode(await users.post(body, 'k-refused'), 409, 'user-conflict');
    expect(await users.sagasBegun()).toBe(begun);
    const [other] = userIdsOnShard(2, 1, 43_000) as [string];
    expect((await users.post({ ...body, userId: other })).status).toBe(201);
  });

  test('32 requests with one key at once register one user', async () => {
    const replies = await Promise.all(
      Array.from({ length: 32 }, () => users.post({ email: 'at-once@example.com' }, 'k6')),
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

test('a fenced bucket is waited out by every call', async () => {
  const { userId, email } = apart('fenced', 70_000);
  const { userId: open } = apart('open', 71_000);
  await app.register(userId, email);
  await app.register(open);
  const key = 'fenced-key';
  const buckets = new Set<BucketId>([
    bucketOf(userId),
    bucketOf(email),
    bucketOfKey(keyHash('users', key)),
  ]);
  for (const bucket of buckets) await app.fence(bucket);
  const calls = [
    users.get(userId),
    users.find(email),
    users.changeEmail(userId, email),
    users.post({ email: 'keyed@example.com' }, key),
  ];
  expect((await users.get(open)).status).toBe(200);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(await app.allRows(`SELECT 1 FROM users WHERE email LIKE 'keyed%'`)).toEqual([]);
  for (const bucket of buckets) await app.unfence(bucket);
  expect((await Promise.all(calls)).map((reply) => reply.status)).toEqual([200, 200, 200, 201]);
});

test('every stored row carries the bucket of its key', async () => {
  const rows = await app.allRows('SELECT bucket, user_id FROM users');
  expect(rows.length).toBeGreaterThan(20);
  expect(rows.filter((row) => row['bucket'] !== bucketOf(String(row['user_id'])))).toEqual([]);
  const keys = await app.allRows(
    'SELECT bucket, LOWER(HEX(key_hash)) AS hash FROM idempotency_keys',
  );
  expect(keys.length).toBeGreaterThan(3);
  expect(keys.filter((row) => row['bucket'] !== bucketOfKey(String(row['hash'])))).toEqual([]);
  const emails = await app.allRows('SELECT bucket, email FROM email_directory');
  expect(emails.filter((row) => row['bucket'] !== bucketOf(String(row['email'])))).toEqual([]);
});

test('in the end directory and users agree, and no email is left reserved', async () => {
  const { unsettled, directory, rows } = await users.bothSides();
  expect([unsettled, directory]).toEqual([[], rows]);
});
