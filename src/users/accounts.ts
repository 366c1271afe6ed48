import { mapBounded } from '../kernel/bounded.ts';
import { startDeadline } from '../kernel/deadline.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { UserId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import { emailKey, type Email } from './email.ts';
import type { User } from './model.ts';
import { findEmail, readUser, updateEmail, userNotFound, type StoredUser } from './store.ts';

/** Shards asked at once by {@link findUserByEmail}. */
const SHARDS_AT_ONCE = 8;

/** Throws `user-not-found`. */
export async function getUser(services: Services, userId: UserId): Promise<User> {
  const user = await readOnOwner(services, userId, services.config.REQUEST_DEADLINE_MS);
  if (user === undefined) throw userNotFound(userId);
  return plain(user);
}

/**
 * The user with an email. Every shard is asked who has it, then the owner of that user's bucket decides: an old copy
 * of a moved bucket is never taken for the truth, and a bucket moving between two looks is not missed. Throws
 * `user-not-found`, and `shard-unavailable` when a shard that might know it does not answer.
 */
export async function findUserByEmail(services: Services, email: Email): Promise<User> {
  const deadline = startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS);
  let failure: unknown;
  const found = await mapBounded(services.database.shardIds(), SHARDS_AT_ONCE, async (shardId) => {
    try {
      return await services.database.onShard(shardId, (shard) => findEmail(shard, email), {
        deadlineMs: deadline.remainingMs(),
      });
    } catch (error) {
      // Another shard may know the user all the same.
      failure = error;
      return undefined;
    }
  });
  const key = emailKey(email.normalized).toString('hex');
  for (const userId of new Set(found.filter((id) => id !== undefined))) {
    const user = await readOnOwner(services, userId, deadline.remainingMs());
    if (user?.emailKey === key) return plain(user);
  }
  if (failure !== undefined) throw failure;
  throw new PermanentError('user-not-found', 'There is no user with this email.');
}

/** Changes the email of a user. Idempotent. Throws `user-not-found` and `email-taken`. */
export async function changeEmail(
  services: Services,
  change: { readonly userId: UserId; readonly email: Email },
): Promise<User> {
  const bucket = bucketOf(change.userId);
  const user = await services.database.onOwner(
    bucket,
    (shard) => updateEmail(shard, { ...change, bucket }),
    { deadlineMs: services.config.REQUEST_DEADLINE_MS },
  );
  if (user === undefined) throw userNotFound(change.userId);
  return plain(user);
}

function readOnOwner(
  services: Services,
  userId: UserId,
  deadlineMs: number,
): Promise<StoredUser | undefined> {
  const bucket = bucketOf(userId);
  return services.database.onOwner(bucket, (shard) => readUser(shard, { bucket, userId }), {
    deadlineMs,
  });
}

function plain({ userId, email, createdAt }: User): User {
  return { userId, email, createdAt };
}
