import { createWriteMemory } from '../database/outcome.ts';
import { claimKey, type Claim, type Claimed } from '../idempotency/claims.ts';
import { bucketOfKey, keyHash, requestHash } from '../idempotency/keys.ts';
import { startDeadline, type Deadline } from '../kernel/deadline.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import type { UserId } from '../kernel/ids.ts';
import { timestampOf, type Timestamp } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import type { Email } from './email.ts';
import type { User } from './model.ts';
import { emailTaken, insertUser, readUser, type InsertedUser, type UserRow } from './store.ts';

export interface RegisterUser {
  readonly email: Email;
  readonly userId?: UserId | undefined;
  readonly idempotencyKey?: string | undefined;
}

/** `replayed`: registered by an earlier request with the same idempotency key. */
export interface Registered {
  readonly kind: 'created' | 'replayed';
  readonly user: User;
}

/** What a registration fixes once, so that every repeated try writes the same row. */
interface Identity {
  readonly userId: UserId;
  readonly createdAt: Timestamp;
}

/**
 * Registers a user. With a key the claim comes first and fixes id and time; the user's row follows from it, so that
 * a repeat completes whatever a crash left undone. Throws `email-taken`, `user-conflict`, `idempotency-conflict`
 * (permanent) and `shard-unavailable` (retryable).
 */
export async function registerUser(services: Services, command: RegisterUser): Promise<Registered> {
  const deadline = startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS);
  const createdAt = timestampOf(services.clock.nowMs());
  if (createdAt === undefined) throw new BugError('the clock is outside 1970 … 9999');
  const identity = { userId: command.userId ?? (await services.ids.nextUserId()), createdAt };
  if (command.idempotencyKey === undefined) {
    const mayBeOurs = command.userId === undefined ? 'always' : 'after-a-lost-answer';
    const user = await writeUser(services, { identity, command, mayBeOurs, deadline });
    return { kind: 'created', user };
  }
  const claimed = await claimRegistration(services, { identity, command, deadline });
  const user = await writeUser(services, {
    identity: { userId: claimed.resourceId as UserId, createdAt: claimed.createdAt },
    command,
    mayBeOurs: 'always',
    deadline,
  });
  return { kind: claimed.isNew ? 'created' : 'replayed', user };
}

/** The record lives in the bucket of the key itself: a repeat may name another user id, and must be found all the same. */
async function claimRegistration(
  services: Services,
  claiming: {
    readonly identity: Identity;
    readonly command: RegisterUser;
    readonly deadline: Deadline;
  },
): Promise<Claimed> {
  const { identity, command, deadline } = claiming;
  const hash = keyHash('users', command.idempotencyKey ?? '');
  const bucket = bucketOfKey(hash);
  const memory = createWriteMemory();
  const claim: Claim = {
    bucket,
    scope: 'users',
    keyHash: hash,
    requestHash: requestHash([command.email.address, command.userId ?? null]),
    resourceId: identity.userId,
    createdAt: identity.createdAt,
  };
  const claimed = await services.database.onOwner<Claimed>(
    bucket,
    async (shard) => {
      const outcome = await memory.watch(() => claimKey(shard, claim));
      return outcome.kind === 'refused' ? outcome : { kind: 'answered', value: outcome };
    },
    { deadlineMs: deadline.remainingMs() },
  );
  // A claim with our own id and time, met after a try whose answer was lost, was written by that try.
  const isOurs =
    memory.mayHaveWritten &&
    claimed.resourceId === identity.userId &&
    claimed.createdAt === identity.createdAt;
  return { ...claimed, isNew: claimed.isNew || isOurs };
}

interface WritingUser {
  readonly identity: Identity;
  readonly command: RegisterUser;
  /** Whether a row found with our id, email and time is our own work: made by a claim, or by a try whose answer was lost. */
  readonly mayBeOurs: 'always' | 'after-a-lost-answer';
  readonly deadline: Deadline;
}

async function writeUser(services: Services, writing: WritingUser): Promise<User> {
  const { identity, command, mayBeOurs, deadline } = writing;
  const row: UserRow = {
    ...identity,
    bucket: bucketOf(identity.userId),
    email: command.email,
  };
  const memory = createWriteMemory();
  await services.database.onOwner<InsertedUser>(
    row.bucket,
    async (shard) => {
      const inserted = await memory.watch(async () => {
        await services.probe.reach('users.beforeInsert');
        const outcome = await insertUser(shard, row);
        await services.probe.reach('users.afterInsert');
        return outcome;
      });
      if (inserted.kind === 'refused') return inserted;
      const isOurs = mayBeOurs === 'always' || memory.mayHaveWritten;
      if (inserted.value === 'id-taken' && isOurs) {
        // The user of this very registration may have changed the email since.
        const stored = await readUser(shard, row);
        if (stored.kind === 'refused') return stored;
        if (stored.value?.createdAt === row.createdAt) return { kind: 'answered', value: 'same' };
      }
      return { kind: 'answered', value: accept(inserted.value, row, isOurs) };
    },
    { deadlineMs: deadline.remainingMs() },
  );
  return { userId: row.userId, email: row.email.address, createdAt: row.createdAt };
}

/** Throws the refusal that an outcome stands for. */
function accept(outcome: InsertedUser, row: UserRow, isOurs: boolean): InsertedUser {
  switch (outcome) {
    case 'new':
      return outcome;
    case 'same':
      if (isOurs) return outcome;
      throw emailTaken();
    case 'known':
    case 'email-taken':
      throw emailTaken();
    case 'id-taken':
      throw new PermanentError(
        'user-conflict',
        `User ${row.userId} is registered with another email. Leave the id out to get a new one, or change the email of that user.`,
      );
    default:
      return assertNever(outcome);
  }
}
