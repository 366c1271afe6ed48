import { startDeadline } from '../kernel/deadline.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { UserId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import { readEmail, type EmailHolder } from './directory.ts';
import { emailKey, type Email, type NormalizedEmail } from './email.ts';
import type { User } from './model.ts';
import { readUser, userNotFound, type StoredUser } from './store.ts';

/** Throws `user-not-found`. */
export async function getUser(services: Services, userId: UserId): Promise<User> {
  const user = await readStoredUser(services, userId, services.config.REQUEST_DEADLINE_MS);
  if (user === undefined) throw userNotFound(userId);
  return plainUser(user);
}

/**
 * The user with an email: the directory says who has it or is about to, and that user's row decides. Throws
 * `user-not-found`, and `shard-unavailable` when one of the two shards does not answer.
 */
export async function findUserByEmail(services: Services, email: Email): Promise<User> {
  const deadline = startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS);
  const holder = await lookUpEmail(services, email.normalized, deadline.remainingMs());
  if (holder !== undefined && holder.state !== 'released') {
    const user = await readStoredUser(services, holder.userId, deadline.remainingMs());
    if (user?.emailKey === emailKey(email.normalized)) return plainUser(user);
  }
  throw new PermanentError('user-not-found', 'There is no user with this email.');
}

/** Who has an email, by the directory. */
export function lookUpEmail(
  services: Services,
  email: NormalizedEmail,
  deadlineMs: number,
): Promise<EmailHolder | undefined> {
  const bucket = bucketOf(email);
  return services.database.onOwner(bucket, (shard) => readEmail(shard, email), { deadlineMs });
}

export function readStoredUser(
  services: Services,
  userId: UserId,
  deadlineMs: number,
): Promise<StoredUser | undefined> {
  const bucket = bucketOf(userId);
  return services.database.onOwner(bucket, (shard) => readUser(shard, userId), { deadlineMs });
}

export function plainUser({ userId, email, createdAt }: User): User {
  return { userId, email, createdAt };
}
