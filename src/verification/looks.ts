import type { Attempt, SqlRow } from '../database/contracts.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { BugError } from '../kernel/errors.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { timestampOf, toSqlDatetime, type Timestamp } from '../kernel/time.ts';
import { bucketOf } from '../sharding/hash.ts';
import { normalizeEmail } from '../users/email.ts';
import { holdingOf, ORDER_STATE, startWalk, walkOn, type Holding } from './order-holding.ts';
import { areBothVisible } from './order-passes.ts';
import { readOwnership } from './ownership.ts';
import type { VerificationServices } from './pass.ts';
import {
  FIND_UNFINISHED_CHANGE,
  LOOK_AT_EMAIL,
  LOOK_AT_ORDER,
  LOOK_AT_USER,
} from './statements.ts';
import type { Suspect } from './suspects.ts';
import type { Violation } from './model.ts';

/** Suspects looked at together. */
const LOOKS_AT_ONCE = 8;

/** A suspect that is wrong at this look, too. */
export interface Confirmed {
  readonly suspect: Suspect;
  readonly violation: Violation;
}

/**
 * Reads each suspect afresh at its owners, whoever they are by now, and gives those that are still wrong. Both sides of a
 * pair are read one after the other; when the first has changed meanwhile, they were not of one moment and nothing is
 * wrong with them. Throws `shard-unavailable` (retryable) when an owner does not answer.
 */
export async function lookAtAll(
  services: VerificationServices,
  suspects: readonly Suspect[],
): Promise<Confirmed[]> {
  const buckets = suspects.some(({ kind }) => kind === 'bucket')
    ? await lookAtBuckets(services)
    : new Map<number, Violation>();
  const found = await mapBounded(suspects, LOOKS_AT_ONCE, async (suspect) => {
    const violation =
      suspect.kind === 'bucket' ? buckets.get(suspect.bucket) : await lookAtRow(services, suspect);
    return violation && { suspect, violation };
  });
  return found.filter((confirmed) => confirmed !== undefined);
}

async function lookAtBuckets(services: VerificationServices): Promise<Map<number, Violation>> {
  const wrong = new Map<number, Violation>();
  for (const { bucket, problem } of await readOwnership(services)) {
    if (problem === null) continue;
    const { name, detail } = problem;
    const subject = `bucket ${bucket}`;
    wrong.set(bucket, { check: 'ownership', shard: null, bucket, subject, problem: name, detail });
  }
  return wrong;
}

function lookAtRow(
  services: VerificationServices,
  suspect: Exclude<Suspect, { kind: 'bucket' }>,
): Promise<Violation | undefined> {
  switch (suspect.kind) {
    case 'user':
      return lookAtUser(services, suspect);
    case 'email':
      return lookAtEmail(services, suspect);
    case 'transfer':
      return lookAtTransfer(services, suspect);
    case 'finished-transfer':
      return lookAtFinished(services, suspect);
    default:
      return assertNever(suspect);
  }
}

type Of<Kind extends Suspect['kind']> = Extract<Suspect, { kind: Kind }>;

/** The email of a user's row is theirs in the directory at every moment, reserved or confirmed (ADR 0012). */
async function lookAtUser(
  services: VerificationServices,
  { bucket, userId }: Of<'user'>,
): Promise<Violation | undefined> {
  const user = await readUser(services, userId, bucket);
  if (user === undefined) return undefined;
  const held = await readEmail(services, bucketOf(normalizeEmail(user.email)), user.key);
  if (held?.userId === userId && held.state !== 'released') return undefined;
  const again = await readUser(services, userId, bucket);
  if (again?.key !== user.key) return undefined;
  return {
    ...pair('emails', bucket, `users ${bucket}/${userId}`),
    problem: held === undefined ? 'email-not-in-directory' : 'email-not-held-for-user',
    ...(held !== undefined && { detail: `${held.state} for user ${held.userId}` }),
  };
}

/** A confirmed email is its user's, unless a change of email is about to free it. */
async function lookAtEmail(
  services: VerificationServices,
  { bucket, key }: Of<'email'>,
): Promise<Violation | undefined> {
  const mismatch = async (): Promise<{ userId: string; exists: boolean } | undefined> => {
    const held = await readEmail(services, bucket, key);
    if (held?.state !== 'confirmed') return undefined;
    const user = await readUser(services, held.userId, bucketOf(held.userId));
    return user?.key === key ? undefined : { userId: held.userId, exists: user !== undefined };
  };
  const first = await mismatch();
  if (first === undefined) return undefined;
  if (await isChanging(services, first.userId)) return undefined;
  // The change may have ended between the first look and that question.
  const second = await mismatch();
  if (second === undefined) return undefined;
  return {
    ...pair('emails', bucket, `email_directory ${bucket}/${key}`),
    problem: second.exists ? 'confirmed-but-user-has-another' : 'confirmed-without-user',
    detail: `user ${second.userId}`,
  };
}

async function lookAtTransfer(
  services: VerificationServices,
  { bucket, orderId }: Of<'transfer'>,
): Promise<Violation | undefined> {
  const start = await readHolding(services, bucket, orderId);
  const problem = await follow(services, start);
  if (problem === undefined) return undefined;
  const again = await readHolding(services, bucket, orderId);
  if (!isUnchanged(start, again)) return undefined;
  if (problem === 'successor-missing' && isPurged(services, start)) return undefined;
  return {
    ...pair('orders', bucket, `order_transfers ${bucket}/${orderId}`),
    problem,
    detail: `transfer to or from user ${start.transfer?.peerUserId}, saga ${start.transfer?.sagaId}`,
  };
}

async function follow(services: VerificationServices, start: Holding): Promise<string | undefined> {
  let walk = start.order === undefined ? undefined : startWalk(start);
  // Ends: a walk visits no bucket twice.
  while (walk !== undefined) {
    const step = walkOn(walk, await readHolding(services, walk.bucket, start.orderId));
    if (step.kind === 'wrong') return step.problem;
    walk = step.kind === 'on' ? step.walk : undefined;
  }
  return undefined;
}

function isUnchanged(a: Holding, b: Holding): boolean {
  return (
    a.order?.state === b.order?.state &&
    a.transfer?.state === b.transfer?.state &&
    a.transfer?.sagaId === b.transfer?.sagaId
  );
}

/** Traces are purged by age: the next one may be gone before this one, which is older. */
function isPurged({ clock, config }: VerificationServices, { transfer }: Holding): boolean {
  const retentionMs = config.SAGA_RETENTION_HOURS * 3_600_000;
  return (
    transfer?.state === ORDER_STATE.moved &&
    transfer.updatedAt < timeOf(clock.nowMs() - retentionMs)
  );
}

async function lookAtFinished(
  services: VerificationServices,
  transfer: Of<'finished-transfer'>,
): Promise<Violation | undefined> {
  const { orderId, fromUserId, toUserId } = transfer;
  const bucket = bucketOf(fromUserId);
  const source = await readHolding(services, bucket, orderId);
  const target = await readHolding(services, bucketOf(toUserId), orderId);
  if (!areBothVisible(transfer, source, target)) return undefined;
  const again = await readHolding(services, bucket, orderId);
  if (!areBothVisible(transfer, again, target)) return undefined;
  return {
    ...pair('orders', bucket, `orders ${bucket}/${orderId}`),
    problem: 'visible-twice',
    detail: `at user ${fromUserId} and, after its transfer, at user ${toUserId}`,
  };
}

function pair(
  check: Violation['check'],
  bucket: number,
  subject: string,
): Omit<Violation, 'problem'> {
  return { check, shard: null, bucket, subject };
}

async function readUser(
  services: VerificationServices,
  userId: string,
  bucket: number,
): Promise<{ readonly email: string; readonly key: string } | undefined> {
  const row = await readAtOwner(services, bucket, LOOK_AT_USER, [userId, bucket]);
  if (row['user_id'] === null) return undefined;
  return { email: String(row['email']), key: String(row['k']) };
}

async function readEmail(
  services: VerificationServices,
  bucket: number,
  key: string,
): Promise<{ readonly userId: string; readonly state: string } | undefined> {
  const row = await readAtOwner(services, bucket, LOOK_AT_EMAIL, [key, bucket]);
  if (row['k'] === null) return undefined;
  return { userId: String(row['user_id']), state: String(row['held']) };
}

async function readHolding(
  services: VerificationServices,
  bucket: number,
  orderId: string,
): Promise<Holding> {
  const row = await readAtOwner(services, bucket, LOOK_AT_ORDER, [orderId, orderId, bucket]);
  return holdingOf(row, bucket, orderId);
}

/** One row from the bucket's owner; a fenced bucket is still its own, and may be fenced for longer than we can wait. */
function readAtOwner(
  { database, config }: VerificationServices,
  bucket: number,
  text: string,
  values: readonly (string | number)[],
): Promise<SqlRow> {
  return database.onOwner(
    bucket as BucketId,
    async (shard): Promise<Attempt<SqlRow>> => {
      const [row] = await shard.select(text, values);
      if (row === undefined) return { kind: 'refused', state: 'absent', movedTo: null };
      const { state, moved_to: movedTo } = row;
      if (state === 'owned' || state === 'fenced') return { kind: 'answered', value: row };
      return {
        kind: 'refused',
        state: state === 'gone' ? 'gone' : 'receiving',
        movedTo: typeof movedTo === 'number' ? (movedTo as ShardId) : null,
      };
    },
    { deadlineMs: config.VERIFY_DEADLINE_MS },
  );
}

/** An unfinished change of the user's email that is not too old; its journal row is written before its first step. */
async function isChanging(services: VerificationServices, userId: string): Promise<boolean> {
  const { database, config, clock } = services;
  const since = toSqlDatetime(timeOf(clock.nowMs() - 2 * config.SAGA_STALE_MS));
  const found = await mapBounded(
    database.shardIds(),
    config.VERIFY_MAX_SHARDS_AT_ONCE,
    async (shard) => {
      const rows = await database.onShard(
        shard,
        (each) => each.select(FIND_UNFINISHED_CHANGE, [since, `%"${userId}"%`]),
        { deadlineMs: config.VERIFY_DEADLINE_MS },
      );
      return rows.length > 0;
    },
  );
  return found.includes(true);
}

export function timeOf(ms: number): Timestamp {
  const time = timestampOf(ms);
  if (time === undefined) throw new BugError('the clock is outside 1970 … 9999');
  return time;
}
