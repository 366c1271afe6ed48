import type { Attempt, Shard, SqlRow, SqlRunner } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';
import { refusalAfterNothing, refusalInRow } from '../database/refusals.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import type { BucketId, UserId } from '../kernel/ids.ts';
import { fromSqlDatetime, toSqlDatetime, type Timestamp } from '../kernel/time.ts';
import { emailKey, type Email, type EmailAddress } from './email.ts';
import type { User } from './model.ts';
import { FIND_EMAIL, INSERT_USER, LOCK_OWNERSHIP, READ_USER, UPDATE_EMAIL } from './statements.ts';

export interface UserRow {
  readonly bucket: BucketId;
  readonly userId: UserId;
  readonly email: Email;
  readonly createdAt: Timestamp;
}

/**
 * What {@link insertUser} found. `new`: written now; `same`: this very row is there (id, email and time);
 * `known`: the user is there with this email, registered at another time; `id-taken`: the user is there with another
 * email; `email-taken`: another user of this shard has the email.
 */
export type InsertedUser = 'new' | 'same' | 'known' | 'id-taken' | 'email-taken';

const OUTCOMES: readonly InsertedUser[] = ['new', 'same', 'known', 'id-taken', 'email-taken'];

/** Writes one user unless something is in the way. Idempotent. */
export async function insertUser(runner: SqlRunner, user: UserRow): Promise<Attempt<InsertedUser>> {
  const { affectedRows, insertId } = await runner.execute(INSERT_USER, [
    user.userId,
    user.email.address,
    emailKey(user.email.normalized).toString('hex'),
    toSqlDatetime(user.createdAt),
    user.bucket,
  ]);
  if (affectedRows === 0) return await refusalAfterNothing(runner, user.bucket);
  const value = OUTCOMES[insertId];
  if (value === undefined) throw new BugError(`unexpected outcome ${insertId} of an insert`);
  return { kind: 'answered', value };
}

/** A user as stored; `emailKey` (hex) is what the email is compared by. */
export interface StoredUser extends User {
  readonly emailKey: string;
}

export async function readUser(
  runner: SqlRunner,
  key: { readonly bucket: BucketId; readonly userId: UserId },
): Promise<Attempt<StoredUser | undefined>> {
  const [row] = await runner.select(READ_USER, [key.userId, key.bucket]);
  return refusalInRow(row) ?? { kind: 'answered', value: userInRow(row) };
}

/** The user who has the email on this shard, perhaps only in an old copy of a bucket that moved away. */
export async function findEmail(runner: SqlRunner, email: Email): Promise<UserId | undefined> {
  const [row] = await runner.select(FIND_EMAIL, [emailKey(email.normalized).toString('hex')]);
  return row === undefined ? undefined : (String(row['user_id']) as UserId);
}

/** Changes a user's email; undefined when there is no such user. Idempotent. Throws `email-taken` (permanent). */
export function updateEmail(
  shard: Shard,
  change: { readonly bucket: BucketId; readonly userId: UserId; readonly email: Email },
): Promise<Attempt<StoredUser | undefined>> {
  const { bucket, userId, email } = change;
  return shard.transaction(async (tx) => {
    const [fence] = await tx.select(LOCK_OWNERSHIP, [bucket]);
    const refusal = refusalInRow(fence);
    if (refusal !== undefined) return refusal;
    const key = emailKey(email.normalized).toString('hex');
    try {
      await tx.execute(UPDATE_EMAIL, [email.address, key, bucket, userId]);
    } catch (error) {
      if (isFailure(error, 'duplicate')) throw emailTaken();
      throw error;
    }
    return await readUser(tx, change);
  });
}

export function userNotFound(userId: UserId): PermanentError {
  return new PermanentError('user-not-found', `There is no user ${userId}.`);
}

export function emailTaken(): PermanentError {
  return new PermanentError(
    'email-taken',
    'A user with this email is registered already. Emails are compared without regard to case.',
  );
}

function userInRow(row: SqlRow | undefined): StoredUser | undefined {
  if (row === undefined || row['user_id'] === null) return undefined;
  return {
    userId: String(row['user_id']) as UserId,
    email: String(row['email']) as EmailAddress,
    createdAt: fromSqlDatetime(String(row['created_at'])),
    emailKey: (row['email_key'] as Buffer).toString('hex'),
  };
}
