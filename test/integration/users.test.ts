import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { durableClientInput } from '../../src/durable/client.ts';
import { DatabaseError } from '../../src/database/database-error.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import type { ProbePoint } from '../../src/kernel/probe.ts';
import { bucketOfKey, keyHash } from '../../src/idempotency/keys.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { normalizeEmail } from '../../src/users/email.ts';
import { usersRoutes } from '../../src/users/http.ts';
import { createRouteCaller } from '../support/route-caller.ts';
import {
  emailsOnShard,
  startSliceApp,
  userIdsOnShard,
  type SliceApp,
} from '../support/slice-app.ts';

let app: SliceApp;
/** The same app for callers who wait a moment only. */
let hurried: Pick<SliceApp, 'call'>;
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '8000' });
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

/** Shards of user, old email and new email: all alike, two alike in each way, all different. */
const PLACEMENTS = [
  [0, 0, 0],
  [1, 1, 2],
  [1, 2, 1],
  [2, 1, 1],
  [0, 1, 2],
] as const;

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

async function sagasBegun(): Promise<number> {
  return (await app.allRows('SELECT 1 FROM sagas')).length;
}

/** Two keys on two shards: a registration with them is a saga. */
function apart(name: string, from: number): { readonly userId: string; readonly email: string } {
  return {
    userId: userIdsOnShard(0, 1, from)[0] as string,
    email: emailsOnShard(1, 1, name)[0] as string,
  };
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

  test.each([
    ['one shard', 0],
    ['two shards', 1],
  ])('what is there already is told apart, on %s', async (_, emailShard) => {
    const [one, two] = userIdsOnShard(0, 2, 30_000 + 500 * emailShard) as [string, string];
    const [email, other] = emailsOnShard(emailShard, 2, 'first') as [string, string];
    await app.register(one, email);
    expectCode(await post({ userId: one, email }), 409, 'email-taken');
    expectCode(await post({ userId: one, email: other }), 409, 'user-conflict');
    expectCode(await post({ userId: two, email: ` ${email.toUpperCase()}` }), 409, 'email-taken');
    expectCode(await get(two), 404, 'user-not-found');
    expect((await get(one)).json['email']).toBe(email);
    expect((await post({ userId: two, email: other })).status).toBe(201);
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
        post({ userId, email: index % 2 === 0 ? email : email.toUpperCase() }),
      ),
    );
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.json['code'] === 'email-taken')).toHaveLength(63);
    const same = 'SELECT user_id FROM users WHERE LOWER(email) = ?';
    const rows = await app.allRows(same, [email]);
    const winner = replies.find((reply) => reply.status === 201)?.json['userId'];
    expect(rows.map((row) => row['user_id'])).toEqual([winner]);
    expect((await find(email)).json['userId']).toBe(winner);
  });

  test('an answer lost on the way is told as the first', async () => {
    let commits = 0;
    app.onProbe = (point) => {
      if (point === 'sagas.afterLocalCommit' && (commits += 1) === 1)
        throw new DatabaseError('lost');
    };
    const [userId] = userIdsOnShard(0, 1, 34_000) as [string];
    const reply = await post({ userId, email: emailsOnShard(0, 1, 'lost')[0] });
    expect([reply.status, commits]).toEqual([201, 2]);
  });

  test('an id of our own is on the shard of the email: one transaction, no saga', async () => {
    const before = await sagasBegun();
    for (let number = 0; number < 12; number += 1) {
      const email = `near${number}@example.com`;
      const reply = await post({ email });
      expect(reply.status).toBe(201);
      expect(bucketOf(String(reply.json['userId'])) % 3).toBe(bucketOf(email) % 3);
    }
    expect(await sagasBegun()).toBe(before);
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
    expectCode(await get(userId), 404, 'user-not-found');
    app.sagas.resume();
    await app.sagas.settled();
    expect((await get(userId)).json['email']).toBe(email);
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
    expect((await post(body, point)).status).toBe(500);
    app.onProbe = () => undefined;
    const again = await post(body, point);
    expect(again.status).toBe(200);
    expect(again.headers['idempotent-replay']).toBe('true');
    const rows = await app.allRows('SELECT user_id FROM users WHERE email = ?', [email]);
    expect(rows).toEqual([{ user_id: again.json['userId'] }]);
    expect((await get(String(again.json['userId']))).json).toEqual(again.json);
  });

  test('a saga that ended for want of a shard is no answer: the repeat begins another', async () => {
    const body = apart('away', 42_000);
    let isAway = true;
    app.onProbe = (point, subject) => {
      if (isAway && point === 'sagas.beforeStep' && subject?.includes('/create-user/run')) {
        throw new DatabaseError('unreachable');
      }
    };
    expectCode(await post(body, 'k-away'), 503, 'shard-unavailable');
    expectCode(await get(body.userId), 404, 'user-not-found');
    isAway = false;
    const again = await post(body, 'k-away');
    expect([again.status, again.json['userId']]).toEqual([200, body.userId]);
    expect((await get(body.userId)).json).toEqual(again.json);
  });

  test('a refusal is the answer to every repeat', async () => {
    const body = apart('refused', 43_000);
    await app.register(body.userId, emailsOnShard(2, 1, 'refusedbefore')[0]);
    expectCode(await post(body, 'k-refused'), 409, 'user-conflict');
    const begun = await sagasBegun();
    expectCode(await post(body, 'k-refused'), 409, 'user-conflict');
    expect(await sagasBegun()).toBe(begun);
    const [other] = userIdsOnShard(2, 1, 43_000) as [string];
    expect((await post({ ...body, userId: other })).status).toBe(201);
  });

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
    const [email, next] = emailsOnShard(2, 2, 'moving') as [string, string];
    await app.register(userId, email);
    await app.moveBucket(bucketOf(userId), 1);
    await app.moveBucket(bucketOf(email), 0);
    expect((await find(email)).json['userId']).toBe(userId);
    expect((await changeEmail(userId, next)).status).toBe(200);
    expectCode(await find(email), 404, 'user-not-found');
    expect((await find(next)).json['email']).toBe(next);
    expect((await get(userId)).json['email']).toBe(next);
    const held = await app.rows(0, 'SELECT state FROM email_directory WHERE email = ?', [email]);
    expect(held).toEqual([{ state: 'released' }]);
  });

  test('a shard that is down hides only the emails and the users on it', async () => {
    const [there, lost] = [0, 2].map((shard) => userIdsOnShard(shard, 1, 52_000)[0] as string);
    const [known, perhaps] = [0, 2].map((shard) => emailsOnShard(shard, 1, 'there')[0] as string);
    await app.register(there as string, known);
    await app.databases.stack.stopShard(2);
    expect((await find(known as string)).json['userId']).toBe(there);
    expectCode(await find(perhaps as string), 503, 'shard-unavailable');
    expectCode(await get(lost as string), 503, 'shard-unavailable');
    await app.databases.stack.startShard(2);
    const status = async (): Promise<number> => (await get(lost as string)).status;
    await expect.poll(status, { timeout: 20_000 }).toBe(404);
    expectCode(await find(perhaps as string), 404, 'user-not-found');
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

  test.each([
    ['of one shard, the email on it as well', [0], 0],
    ['of all shards', [0, 1, 2], 1],
  ])('of 16 users %s who want one email at once one gets it', async (_, shards, emailShard) => {
    const [email] = emailsOnShard(emailShard, 1, `hot${shards.length}x`) as [string];
    const ids = shards.flatMap((shard) =>
      userIdsOnShard(shard, Math.ceil(16 / shards.length), 62_000 + 500 * emailShard),
    );
    for (const userId of ids) await app.register(userId);
    const replies = await Promise.all(ids.map((userId) => changeEmail(userId, email)));
    const isTaken = (reply: Reply): boolean => reply.json['code'] === 'email-taken';
    expect(replies.filter((reply) => reply.status === 200)).toHaveLength(1);
    expect(replies.filter(isTaken)).toHaveLength(ids.length - 1);
    const winner = replies.find((reply) => reply.status === 200)?.json['userId'];
    expect((await find(email)).json['userId']).toBe(winner);
  });

  test('on every placement of user, old and new email', async () => {
    for (const [index, [user, before, after]] of PLACEMENTS.entries()) {
      const [userId] = userIdsOnShard(user, 1, 63_000 + 100 * index) as [string];
      const [old] = emailsOnShard(before, 1, `old${index}x`) as [string];
      const [email] = emailsOnShard(after, 1, `new${index}x`) as [string];
      await app.register(userId, old);
      const reply = await changeEmail(userId, email);
      expect([reply.status, reply.json['email']]).toEqual([200, email]);
      expect((await find(email)).json['userId']).toBe(userId);
      expectCode(await find(old), 404, 'user-not-found');
      expect((await post({ email: old })).status).toBe(201);
    }
  });

  test('of one user to many emails at once leaves the user with one, and the others free', async () => {
    const [userId] = userIdsOnShard(0, 1, 65_000) as [string];
    const emails = [0, 1, 2].flatMap((shard) => emailsOnShard(shard, 4, 'many'));
    await app.register(userId);
    const replies = await Promise.all(emails.map((email) => changeEmail(userId, email)));
    expect(replies.filter((reply) => reply.status === 200).length).toBeGreaterThan(0);
    expect(replies.filter((reply) => ![200, 409].includes(reply.status))).toEqual([]);
    const now = String((await get(userId)).json['email']);
    expect(emails).toContain(now);
    for (const email of emails) {
      const found = (await find(email)).status;
      expect(found, email).toBe(email === now ? 200 : 404);
    }
  });

  test('to its own in another spelling needs no saga', async () => {
    const { userId, email } = apart('spelled', 66_000);
    await app.register(userId, email);
    const begun = await sagasBegun();
    expect((await changeEmail(userId, email.toUpperCase())).json['email']).toBe(
      email.toUpperCase(),
    );
    expect((await find(email)).json['email']).toBe(email.toUpperCase());
    expect(await sagasBegun()).toBe(begun);
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
    get(userId),
    find(email),
    changeEmail(userId, email),
    post({ email: 'keyed@example.com' }, key),
  ];
  expect((await get(open)).status).toBe(200);
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
  const emails = await app.allRows('SELECT bucket, email FROM email_directory');
  expect(emails.filter((row) => row['bucket'] !== bucketOf(String(row['email'])))).toEqual([]);
});

test('in the end directory and users agree, and no email is left reserved', async () => {
  await app.sagas.settled();
  const owned = `JOIN bucket_ownership w ON w.bucket = t.bucket AND w.state = 'owned'`;
  const held = await app.allRows(
    `SELECT t.email, t.user_id, t.state FROM email_directory t ${owned} WHERE t.state <> 'released'`,
  );
  const users = await app.allRows(`SELECT t.email, t.user_id FROM users t ${owned}`);
  const lines = (rows: typeof users): string[] =>
    rows.map((row) => `${normalizeEmail(String(row['email']))} ${String(row['user_id'])}`).sort();
  expect(held.filter((row) => row['state'] !== 'confirmed')).toEqual([]);
  expect(users.length).toBeGreaterThan(50);
  expect(lines(held)).toEqual(lines(users));
});
