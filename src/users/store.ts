import type { Attempt, SqlRow, SqlRunner } from '../database/contracts.ts';
import { refusalAfterNothing, refusalInRow } from '../database/refusals.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { BucketId, UserId } from '../kernel/ids.ts';
import { fromSqlDatetime, toSqlDatetime, type Timestamp } from '../kernel/time.ts';
import { bucketOf } from '../sharding/hash.ts';
import { emailKey, type Email, type EmailAddress } from './email.ts';
import type { User } from './model.ts';
import { INSERT_USER, LOCK_OWNERSHIP, LOCK_USER, READ_USER, UPDATE_EMAIL } from './statements.ts';

export interface NewUser {
  readonly userId: UserId;
  readonly email: Email;
  readonly createdAt: Timestamp;
}

/** Writes one user whose email is held for it in the directory, unless the id is in use. */
export async function insertUser(
  runner: SqlRunner,
  user: NewUser,
): Promise<Attempt<'new' | 'in-use'>> {
  const bucket = bucketOf(user.userId);
  const { affectedRows, insertId } = await runner.execute(INSERT_USER, [
    user.userId,
    user.email.address,
    emailKey(user.email.normalized),
    toSqlDatetime(user.createdAt),
    bucket,
  ]);
  if (affectedRows === 0) return await refusalAfterNothing(runner, bucket);
  return { kind: 'answered', value: insertId === 0 ? 'new' : 'in-use' };
}

/** A user as stored; `emailKey` (hex) is what the email is compared by. */
export interface StoredUser extends User {
  readonly emailKey: string;
}

export async function readUser(
  runner: SqlRunner,
  userId: UserId,
): Promise<Attempt<StoredUser | undefined>> {
  const [row] = await runner.select(READ_USER, [userId, bucketOf(userId)]);
  return refusalInRow(row) ?? { kind: 'answered', value: userInRow(row) };
}

/** Takes the fence of a bucket until the transaction ends; the refusal when this shard does not own it. */
export async function lockOwnership(tx: SqlRunner, bucket: BucketId): Promise<Attempt<null>> {
  const [row] = await tx.select(LOCK_OWNERSHIP, [bucket]);
  return refusalInRow(row) ?? { kind: 'answered', value: null };
}

/** The user, locked until the transaction ends, which holds the fence. Throws `user-not-found` (permanent). */
export async function lockUser(tx: SqlRunner, userId: UserId): Promise<StoredUser> {
  const [row] = await tx.select(LOCK_USER, [bucketOf(userId), userId]);
  const user = userInRow(row);
  if (user === undefined) throw userNotFound(userId);
  return user;
}

/** Changes the email of a locked user, and gives the user as it is now. */
export async function writeEmail(tx: SqlRunner, user: StoredUser, email: Email): Promise<User> {
  const key = emailKey(email.normalized);
  await tx.execute(UPDATE_EMAIL, [email.address, key, bucketOf(user.userId), user.userId]);
  return { userId: user.userId, email: email.address, createdAt: user.createdAt };
}

export function userNotFound(userId: UserId): PermanentError {
  return new PermanentError('user-not-found', `There is no user ${userId}.`);
}

export function userConflict(userId: UserId): PermanentError {
  return new PermanentError(
    'user-conflict',
    `The id ${userId} is in use. Leave the id out to get a new one, or change the email of that user.`,
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
