import { expect } from 'vitest';
import { normalizeEmail } from '../../src/users/email.ts';
import { emailsOnShard, userIdsOnShard, type SliceApp } from './slice-app.ts';

export type Reply = Awaited<ReturnType<SliceApp['call']>>;

/** The users' routes, and looks at what they left, over a slice app. */
export function createUsersApi(app: SliceApp) {
  return {
    post: (json: unknown, key?: string): Promise<Reply> => {
      const headers: Record<string, string> = key === undefined ? {} : { 'idempotency-key': key };
      return app.call('users-register', { json, headers });
    },
    get: (userId: string): Promise<Reply> => app.call('users-get', { params: { userId } }),
    find: (email: string): Promise<Reply> =>
      app.call('users-find', { path: `/api/users?email=${encodeURIComponent(email)}` }),
    changeEmail: (userId: string, email: string): Promise<Reply> =>
      app.call('users-change-email', { params: { userId }, json: { email } }),
    sagasBegun: async (): Promise<number> => (await app.allRows('SELECT 1 FROM sagas')).length,
    /** Who has which email, by the directory and by the users' rows, once all sagas have ended; and what is unsettled. */
    bothSides: async () => {
      await app.sagas.settled();
      const owned = `JOIN bucket_ownership w ON w.bucket = t.bucket AND w.state = 'owned'`;
      const held = await app.allRows(
        `SELECT t.email, t.user_id, t.state FROM email_directory t ${owned} WHERE t.state <> 'released'`,
      );
      const users = await app.allRows(`SELECT t.email, t.user_id FROM users t ${owned}`);
      const lines = (rows: typeof users): string[] =>
        rows
          .map((row) => `${normalizeEmail(String(row['email']))} ${String(row['user_id'])}`)
          .sort();
      const unsettled = held.filter((row) => row['state'] !== 'confirmed');
      return { unsettled, directory: lines(held), rows: lines(users) };
    },
  };
}

/** Two keys on two shards: a registration with them is a saga. */
export function apart(
  name: string,
  from: number,
): { readonly userId: string; readonly email: string } {
  return {
    userId: userIdsOnShard(0, 1, from)[0] as string,
    email: emailsOnShard(1, 1, name)[0] as string,
  };
}

export function expectCode(reply: Reply, status: number, code: string): void {
  expect([reply.status, reply.json['code']]).toEqual([status, code]);
}
