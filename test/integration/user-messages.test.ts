import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AppError } from '../../src/kernel/errors.ts';
import { isIdInUse, readSaga } from '../../src/sagas/journal.ts';
import type { SagaId } from '../../src/sagas/saga-id.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { usersSagaModules } from '../../src/users/sagas.ts';
import {
  emailsOnShard,
  startSliceApp,
  userIdsOnShard,
  type SliceApp,
} from '../support/slice-app.ts';

/** What the queue `sagas` has the users' sagas do, each delivered more than once. */
let app: SliceApp;
beforeAll(async () => {
  app = await startSliceApp();
  await app.services.database.prewarm();
});
afterAll(() => app.stop());

async function submit(kind: string, sagaId: string, message: unknown): Promise<void> {
  const module = usersSagaModules.find(({ definition }) => definition.kind === kind);
  if (module === undefined) throw new Error(`no saga ${kind}`);
  const checked = module.message.parse(message);
  await module.submit(app.services, app.sagas.client, {
    sagaId: sagaId as SagaId,
    message: checked,
  });
}

async function statusOf(sagaId: string): Promise<string | undefined> {
  return (await readSaga(app.services, sagaId as SagaId))?.status;
}

async function usersWith(email: string): Promise<readonly string[]> {
  const rows = await app.allRows('SELECT user_id FROM users WHERE email = ?', [email]);
  return rows.map((row) => String(row['user_id']));
}

describe('register-user', () => {
  test('without an id: every delivery names the same user', async () => {
    const [email] = emailsOnShard(1, 1, 'message') as [string];
    for (let n = 0; n < 3; n += 1) await submit('register-user', 'm1', { email });
    await app.sagas.settled();
    expect(await statusOf('m1')).toBe('completed');
    const users = await usersWith(email);
    expect(users).toHaveLength(1);
    expect(bucketOf(users[0] as string) % 3).toBe(1);
  });

  test('delivered many times at once, over two shards', async () => {
    const [email] = emailsOnShard(2, 1, 'atonce') as [string];
    const [userId] = userIdsOnShard(0, 1, 20_000) as [string];
    const deliveries = Array.from({ length: 8 }, () =>
      submit('register-user', 'm2', { email, userId }),
    );
    await Promise.all(deliveries);
    await app.sagas.settled();
    expect(await statusOf('m2')).toBe('completed');
    expect(await usersWith(email)).toEqual([userId]);
  });

  test.each([
    ['one shard', 0],
    ['two shards', 1],
  ])('refused, on %s: compensated, whatever comes later', async (_, emailShard) => {
    const [email] = emailsOnShard(emailShard, 1, 'refused') as [string];
    const [owner, late] = userIdsOnShard(0, 2, 21_000 + 500 * emailShard) as [string, string];
    await app.register(owner, email);
    const sagaId = `m3-${emailShard}`;
    for (let n = 0; n < 2; n += 1) {
      const [outcome] = await Promise.allSettled([
        submit('register-user', sagaId, { email, userId: late }),
      ]);
      // A saga that has only begun is no answer yet.
      const code = outcome.status === 'rejected' ? (outcome.reason as AppError).code : 'none';
      expect(['email-taken', 'none']).toContain(code);
      await app.sagas.settled();
      expect(await statusOf(sagaId)).toBe('compensated');
    }
    expect(await usersWith(email)).toEqual([owner]);
  });

  test('with an id that was used for another request is refused', async () => {
    const [one, two] = emailsOnShard(0, 2, 'reused') as [string, string];
    await submit('register-user', 'm4', { email: one });
    const again = submit('register-user', 'm4', { email: two });
    await expect(again).rejects.toSatisfy(isIdInUse);
    await expect(submit('change-email', 'm4', { userId: '1', email: two })).rejects.toSatisfy(
      isIdInUse,
    );
    expect(await usersWith(two)).toEqual([]);
  });
});

describe('change-email', () => {
  test.each([
    ['one shard', [0, 0, 0]],
    ['two shards, by the old email', [0, 1, 0]],
    ['three shards', [0, 1, 2]],
  ] as const)('over %s, delivered again', async (placed, [userShard, before, after]) => {
    const name = placed.replaceAll(/[^a-z]/g, '');
    const [userId] = userIdsOnShard(userShard, 1, 22_000 + 100 * placed.length) as [string];
    const [old] = emailsOnShard(before, 1, `old${name}`) as [string];
    const [email] = emailsOnShard(after, 1, `new${name}`) as [string];
    await app.register(userId, old);
    for (let n = 0; n < 3; n += 1) {
      await submit('change-email', `m5-${name}`, { userId, email });
      await app.sagas.settled();
      expect(await statusOf(`m5-${name}`)).toBe('completed');
    }
    expect(await usersWith(email)).toEqual([userId]);
    const rows = await app.allRows('SELECT email, state FROM email_directory WHERE user_id = ?', [
      userId,
    ]);
    const states = rows.map((row) => `${String(row['state'])} ${String(row['email'])}`);
    expect(states.sort()).toEqual([`confirmed ${email}`, `released ${old}`]);
  });

  test('of nobody is compensated', async () => {
    const [email] = emailsOnShard(1, 1, 'nobody') as [string];
    await submit('change-email', 'm6', { userId: '4040404', email }).catch(() => undefined);
    await app.sagas.settled();
    expect(await statusOf('m6')).toBe('compensated');
    const held = `SELECT 1 FROM email_directory WHERE email = ? AND state <> 'released'`;
    expect(await app.allRows(held, [email])).toEqual([]);
  });
});
