import { createWriteMemory } from '../database/outcome.ts';
import { claimKey, type Claim, type Claimed } from '../idempotency/claims.ts';
import { bucketOfKey, keyHash, requestHash } from '../idempotency/keys.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { BugError } from '../kernel/errors.ts';
import type { UserId } from '../kernel/ids.ts';
import { timestampOf, type Timestamp } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import type { Email } from './email.ts';

/** What a registration fixes once, so that every repeated try writes the same row. */
export interface Identity {
  readonly userId: UserId;
  readonly createdAt: Timestamp;
}

export interface Registrant {
  readonly email: Email;
  /** Left to us when undefined. */
  readonly userId?: UserId | undefined;
}

/**
 * Tries per shard to find an id on the email's shard, and the most in all. An id fits with one chance in N shards: after
 * 8 N tries three registrations in ten thousand are a saga after all. Past 64 shards the bound is 512 ids, of the 4 096
 * that a worker makes per millisecond.
 */
const TRIES_PER_SHARD = 8;
const MOST_TRIES = 512;

/**
 * Id and time of a new registration. An id of our own is chosen so that the map has its bucket on the email's shard:
 * then registration is one local transaction. Should none be found the last one is taken.
 */
export async function newIdentity(services: Services, registrant: Registrant): Promise<Identity> {
  const createdAt = timestampOf(services.clock.nowMs());
  if (createdAt === undefined) throw new BugError('the clock is outside 1970 … 9999');
  return { userId: registrant.userId ?? (await userIdNear(services, registrant.email)), createdAt };
}

async function userIdNear({ database, ids }: Services, email: Email): Promise<UserId> {
  const { shard } = await database.route(bucketOf(email.normalized));
  const tries = Math.min(MOST_TRIES, TRIES_PER_SHARD * database.shardIds().length);
  for (let left = tries; ; left -= 1) {
    const userId = await ids.nextUserId();
    if (left <= 1 || (await database.route(bucketOf(userId))).shard === shard) return userId;
  }
}

/** What a repeat is known by: an `Idempotency-Key`, or the id of a saga that a message named. */
export interface RepeatKey {
  /** Keeps keys of different origins apart. */
  readonly namespace: 'users' | 'sagas';
  readonly key: string;
}

/** `isNew`: no earlier request had this key. */
export type ClaimedIdentity = Identity & { readonly isNew: boolean };

/**
 * The identity that a key stands for: that of its first request. The record lives in the bucket of the key itself: a
 * repeat may name another user id, and must be found all the same. Idempotent. Throws `idempotency-conflict` (permanent)
 * for a key that was used for another request, and `shard-unavailable` (retryable).
 */
export async function claimIdentity(
  services: Services,
  registrant: Registrant,
  { namespace, key, deadline }: RepeatKey & { readonly deadline: Deadline },
): Promise<ClaimedIdentity> {
  const identity = await newIdentity(services, registrant);
  const hash = keyHash(namespace, key);
  const bucket = bucketOfKey(hash);
  const memory = createWriteMemory();
  const claim: Claim = {
    bucket,
    scope: 'users',
    keyHash: hash,
    requestHash: requestHash([registrant.email.address, registrant.userId ?? null]),
    resourceId: identity.userId,
    createdAt: identity.createdAt,
  };
  const { isNew, resourceId, createdAt } = await services.database.onOwner<Claimed>(
    bucket,
    async (shard) => {
      const outcome = await memory.watch(() => claimKey(shard, claim));
      return outcome.kind === 'refused' ? outcome : { kind: 'answered', value: outcome };
    },
    { deadlineMs: deadline.remainingMs() },
  );
  // A claim with our own id and time, met after a try whose answer was lost, was written by that try.
  const isOurs =
    memory.mayHaveWritten && resourceId === identity.userId && createdAt === identity.createdAt;
  return { userId: resourceId as UserId, createdAt, isNew: isNew || isOurs };
}
