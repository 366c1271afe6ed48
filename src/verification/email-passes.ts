import { fromSqlDatetime } from '../kernel/time.ts';
import { bucketOf } from '../sharding/hash.ts';
import { emailKey, normalizeEmail } from '../users/email.ts';
import { at, checkPlace } from './findings.ts';
import type { Pass, PassContext } from './pass.ts';
import { readPage } from './pass.ts';
import { readDirectory, readUsers } from './statements.ts';

/** Every user has their email in the directory, confirmed or about to be. */
export const usersPass: Pass = {
  checks: ['rows', 'emails'],
  page: async (context, after) => {
    const { counter, lookups } = context;
    const text = readUsers;
    const { rows, last } = await readPage(context, { text, key: ['bucket', 'user_id'], after });
    counter.figure('users', rows.length);
    counter.checked('rows', rows.length);
    counter.checked('emails', rows.length);
    const users = rows.map((row) => {
      const email = normalizeEmail(String(row['email']));
      return {
        bucket: Number(row['bucket']),
        userId: String(row['user_id']),
        key: String(row['k']),
        emailBucket: bucketOf(email),
        ownKey: keyText(email),
      };
    });
    for (const { bucket, userId, key, ownKey } of users) {
      checkPlace(context, { table: 'users', bucket, key: userId, home: bucketOf(userId) });
      if (key !== ownKey) {
        counter.violation({
          ...at(context, 'emails', bucket, `users ${bucket}/${userId}`),
          problem: 'email-key-is-not-the-hash',
        });
      }
    }
    if (counter.wants('emails')) {
      const held = await lookups.emails(
        users.map((user) => ({ bucket: user.emailBucket, key: user.key })),
      );
      for (const { bucket, userId, key } of users) {
        const holder = held.get(key);
        if (holder?.userId === userId && holder.state === 'confirmed') continue;
        context.suspect({ kind: 'user', bucket, userId });
      }
    }
    return { rows: rows.length, last };
  },
};

const EMAIL_FIGURES = {
  confirmed: 'emailsConfirmed',
  reserved: 'emailsReserved',
  released: 'emailsReleased',
} as const;

/** Every confirmed email belongs to a user who has it; none stays reserved. */
export const directoryPass: Pass = {
  checks: ['rows', 'emails'],
  page: async (context, after) => {
    const { counter } = context;
    const key = ['bucket', 'k'];
    const { rows, last } = await readPage(context, { text: readDirectory, key, after });
    counter.checked('rows', rows.length);
    counter.checked('emails', rows.length);
    const confirmed: { bucket: number; key: string; userId: string }[] = [];
    for (const row of rows) {
      const bucket = Number(row['bucket']);
      const hex = String(row['k']);
      const email = String(row['email']);
      checkPlace(context, { table: 'email_directory', bucket, key: hex, home: bucketOf(email) });
      const where = at(context, 'emails', bucket, `email_directory ${bucket}/${hex}`);
      const normalized = normalizeEmail(email);
      if (normalized !== email || keyText(normalized) !== hex) {
        counter.violation({ ...where, problem: 'email-key-is-not-the-hash' });
      }
      const state = String(row['state']);
      if (!isEmailState(state)) {
        counter.violation({ ...where, problem: 'invalid-state', detail: state });
        continue;
      }
      counter.figure(EMAIL_FIGURES[state], 1);
      if (state === 'confirmed')
        confirmed.push({ bucket, key: hex, userId: String(row['user_id']) });
      const updatedAt = fromSqlDatetime(String(row['updated_at']));
      if (state === 'reserved' && updatedAt < context.staleBefore) {
        counter.violation({ ...where, problem: 'reserved-too-long', detail: `since ${updatedAt}` });
      }
    }
    if (counter.wants('emails')) await checkUsers(context, confirmed);
    return { rows: rows.length, last };
  },
};

async function checkUsers(
  context: PassContext,
  confirmed: readonly { readonly bucket: number; readonly key: string; readonly userId: string }[],
): Promise<void> {
  const users = await context.lookups.users(
    confirmed.map(({ userId }) => ({ bucket: bucketOf(userId), key: userId })),
  );
  for (const { bucket, key, userId } of confirmed) {
    if (users.get(userId) !== key) context.suspect({ kind: 'email', bucket, key });
  }
}

function isEmailState(state: string): state is keyof typeof EMAIL_FIGURES {
  return Object.hasOwn(EMAIL_FIGURES, state);
}

/** As `HEX()` writes it. */
function keyText(email: ReturnType<typeof normalizeEmail>): string {
  return emailKey(email).toUpperCase();
}
