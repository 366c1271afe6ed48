import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import {
  emailsOnShard,
  startSliceApp,
  userIdsOnShard,
  type SliceApp,
} from '../support/slice-app.ts';
import { apart, createUsersApi, expectCode, type Reply } from '../support/users-api.ts';

let app: SliceApp;
let users: ReturnType<typeof createUsersApi>;
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '8000' });
  users = createUsersApi(app);
  await app.services.database.prewarm();
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

describe('finding by email', () => {
  test('on every shard, by any spelling', async () => {
    for (const shard of [0, 1, 2]) {
      const [userId] = userIdsOnShard(shard, 1, 50_000) as [string];
      await app.register(userId, `Fi\u00e9nd${shard}@Example.com`);
      const reply = await users.find(` fie\u0301nd${shard}@EXAMPLE.com`);
      expect([reply.status, reply.json['userId']]).toEqual([200, userId]);
    }
    expectCode(await users.find('nobody@example.com'), 404, 'user-not-found');
  });

  test('an old copy is not taken for the truth', async () => {
    const [userId] = userIdsOnShard(0, 1, 51_000) as [string];
    const [email, next] = emailsOnShard(2, 2, 'moving') as [string, string];
    await app.register(userId, email);
    await app.moveBucket(bucketOf(userId), 1);
    await app.moveBucket(bucketOf(email), 0);
    expect((await users.find(email)).json['userId']).toBe(userId);
    expect((await users.changeEmail(userId, next)).status).toBe(200);
    expectCode(await users.find(email), 404, 'user-not-found');
    expect((await users.find(next)).json['email']).toBe(next);
    expect((await users.get(userId)).json['email']).toBe(next);
    const held = await app.rows(0, 'SELECT state FROM email_directory WHERE email = ?', [email]);
    expect(held).toEqual([{ state: 'released' }]);
  });

  test('a shard that is down hides only the emails and the users on it', async () => {
    const [there, lost] = [0, 2].map((shard) => userIdsOnShard(shard, 1, 52_000)[0] as string);
    const [known, perhaps] = [0, 2].map((shard) => emailsOnShard(shard, 1, 'there')[0] as string);
    await app.register(there as string, known);
    await app.databases.stack.stopShard(2);
    expect((await users.find(known as string)).json['userId']).toBe(there);
    expectCode(await users.find(perhaps as string), 503, 'shard-unavailable');
    expectCode(await users.get(lost as string), 503, 'shard-unavailable');
    await app.databases.stack.startShard(2);
    const status = async (): Promise<number> => (await users.get(lost as string)).status;
    await expect.poll(status, { timeout: 20_000 }).toBe(404);
    expectCode(await users.find(perhaps as string), 404, 'user-not-found');
  });
});

describe('changing the email', () => {
  test('changes it, again and back', async () => {
    await app.register('60001', 'one@example.com');
    const first = (await users.get('60001')).json;
    for (const email of [
      'two@example.com',
      'two@example.com',
      'Two@Example.com',
      'one@example.com',
    ]) {
      const reply = await users.changeEmail('60001', email);
      expect([reply.status, reply.json]).toEqual([200, { ...first, email }]);
    }
    expectCode(await users.find('two@example.com'), 404, 'user-not-found');
    expect((await users.find('one@example.com')).status).toBe(200);
  });

  test('not of nobody, not to one that is taken', async () => {
    const [one, two] = userIdsOnShard(2, 2, 61_000) as [string, string];
    await app.register(one, 'taken@example.com');
    await app.register(two, 'mine@example.com');
    expectCode(await users.changeEmail(two, 'TAKEN@example.com'), 409, 'email-taken');
    expect((await users.get(two)).json['email']).toBe('mine@example.com');
    expectCode(await users.changeEmail('61999', 'free@example.com'), 404, 'user-not-found');
    expect((await users.changeEmail(two, 'free@example.com')).status).toBe(200);
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
    const replies = await Promise.all(ids.map((userId) => users.changeEmail(userId, email)));
    const isTaken = (reply: Reply): boolean => reply.json['code'] === 'email-taken';
    expect(replies.filter((reply) => reply.status === 200)).toHaveLength(1);
    expect(replies.filter(isTaken)).toHaveLength(ids.length - 1);
    const winner = replies.find((reply) => reply.status === 200)?.json['userId'];
    expect((await users.find(email)).json['userId']).toBe(winner);
  });

  test('on every placement of user, old and new email', async () => {
    for (const [index, [user, before, after]] of PLACEMENTS.entries()) {
      const [userId] = userIdsOnShard(user, 1, 63_000 + 100 * index) as [string];
      const [old] = emailsOnShard(before, 1, `old${index}x`) as [string];
      const [email] = emailsOnShard(after, 1, `new${index}x`) as [string];
      await app.register(userId, old);
      const reply = await users.changeEmail(userId, email);
      expect([reply.status, reply.json['email']]).toEqual([200, email]);
      expect((await users.find(email)).json['userId']).toBe(userId);
      expectCode(await users.find(old), 404, 'user-not-found');
      expect((await users.post({ email: old })).status).toBe(201);
    }
  });

  test('of one user to many emails at once leaves the user with one, and the others free', async () => {
    const [userId] = userIdsOnShard(0, 1, 65_000) as [string];
    const emails = [0, 1, 2].flatMap((shard) => emailsOnShard(shard, 4, 'many'));
    await app.register(userId);
    const replies = await Promise.all(emails.map((email) => users.changeEmail(userId, email)));
    expect(replies.filter((reply) => reply.status === 200).length).toBeGreaterThan(0);
    expect(replies.filter((reply) => ![200, 409].includes(reply.status))).toEqual([]);
    const now = String((await users.get(userId)).json['email']);
    expect(emails).toContain(now);
    for (const email of emails) {
      const found = (await users.find(email)).status;
      expect(found, email).toBe(email === now ? 200 : 404);
    }
  });

  test('to its own in another spelling needs no saga', async () => {
    const { userId, email } = apart('spelled', 66_000);
    await app.register(userId, email);
    const begun = await users.sagasBegun();
    expect((await users.changeEmail(userId, email.toUpperCase())).json['email']).toBe(
      email.toUpperCase(),
    );
    expect((await users.find(email)).json['email']).toBe(email.toUpperCase());
    expect(await users.sagasBegun()).toBe(begun);
  });
});

test('in the end directory and users agree, and no email is left reserved', async () => {
  const { unsettled, directory, rows } = await users.bothSides();
  expect([unsettled, directory]).toEqual([[], rows]);
});
