import type { Attempt, Refusal, SqlRunner } from '../database/contracts.ts';
import { sqlNow } from '../database/ownership.ts';
import { refusalAfterNothing, refusalInRow } from '../database/refusals.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import type { BucketId, UserId } from '../kernel/ids.ts';
import { bucketOf } from '../sharding/hash.ts';
import {
  READ_EMAIL,
  RELEASE_EMAIL,
  SETTLE_RESERVATION,
  TAKE_EMAIL,
} from './directory-statements.ts';
import { emailKey, type NormalizedEmail } from './email.ts';

/**
 * The directory of emails: one row per normalised email, in the bucket of that email (ADR 0012).
 *
 * What holds at every moment, *H*: the email of a user's row is reserved or confirmed for that user. An email has one row
 * here, so no two users ever have it. Every write keeps H, whatever runs at once:
 *
 * - **A user's row gets email e** (create-user, update-user) only when its saga reserved e, or when the row has e already.
 *   A reservation ends by its own saga's confirmation, which keeps it; by its own saga's undo, which runs after the pivot
 *   was sealed and so never put e into the row; or as an orphan's, settled the same way. While it stands, no other saga
 *   of the user gets e: it waits.
 * - **A user's row loses e** only by the pivot of one change-email saga, which reads e under the row's lock. So each stay
 *   of e in a row ends with one saga S, and S alone frees e, once (ledger), afterwards. Until then e is held for the user,
 *   and no saga can bring e back into the row: it is told that e is held, and finds another email in the row. So what S
 *   frees is never in the row. S frees it in whatever state it is: the saga A that brought e may not have confirmed yet;
 *   A's confirmation then finds nothing that A reserved, and does nothing.
 * - **A reservation whose saga is gone** is confirmed when that saga's pivot was done, even when the user's row has moved
 *   on since: the saga that moved it on will free it. Freed instead, e could be taken and put into the row again, and
 *   then that saga's late release would free an email in use.
 *
 * A local transaction does all of this at once, on the same rows under the same locks.
 */

/** Who has an email. */
export interface EmailHolder {
  readonly userId: UserId;
  readonly state: 'reserved' | 'confirmed' | 'released';
  /** The saga that brought the row into its state. */
  readonly sagaId: string;
}

/**
 * What {@link takeEmail} found. `taken`: it is this saga's now, or was before; `held`: confirmed for the same user before;
 * `awaited`: reserved for the same user by another saga; `elsewhere`: somebody else's.
 */
export type TakenEmail = 'taken' | 'held' | 'awaited' | 'elsewhere';

const OUTCOMES: readonly TakenEmail[] = ['taken', 'taken', 'taken', 'held', 'awaited', 'elsewhere'];

export interface EmailClaim {
  readonly email: NormalizedEmail;
  readonly userId: UserId;
  readonly state: 'reserved' | 'confirmed';
  readonly sagaId: string;
  readonly nowMs: number;
}

/** Takes an email that is free. Idempotent. Takes the fence of the email's bucket, and the row's lock. */
export async function takeEmail(tx: SqlRunner, claim: EmailClaim): Promise<Attempt<TakenEmail>> {
  const { bucket, key } = place(claim.email);
  const { affectedRows, insertId } = await tx.execute(TAKE_EMAIL, [
    key,
    claim.email,
    claim.userId,
    claim.state,
    claim.sagaId,
    sqlNow(claim.nowMs),
    bucket,
  ]);
  if (affectedRows === 0) return await refusalAfterNothing(tx, bucket);
  const value = OUTCOMES[insertId];
  if (value === undefined) throw new BugError(`unexpected outcome ${insertId} of taking an email`);
  return { kind: 'answered', value };
}

export interface Settlement {
  readonly email: NormalizedEmail;
  readonly userId: UserId;
  readonly sagaId: string;
  readonly nowMs: number;
}

/**
 * Confirms what the saga reserved, and says whether it was still reserved. Idempotent. Only in a transaction that holds
 * the fence of the email's bucket.
 */
export function confirmReservation(tx: SqlRunner, settlement: Settlement): Promise<boolean> {
  return settle(tx, 'confirmed', settlement);
}

/** Takes a reservation of the saga back; otherwise as {@link confirmReservation}. */
export function releaseReservation(tx: SqlRunner, settlement: Settlement): Promise<boolean> {
  return settle(tx, 'released', settlement);
}

/**
 * Frees an email that a user's row has lost by this saga's pivot. Idempotent by the saga's ledger only: once the email is
 * free the user may take it again. Only in a transaction that holds the fence of the email's bucket.
 */
export async function releaseEmail(tx: SqlRunner, settlement: Settlement): Promise<void> {
  const { email, userId, sagaId, nowMs } = settlement;
  const { bucket, key } = place(email);
  await tx.execute(RELEASE_EMAIL, [sagaId, sqlNow(nowMs), bucket, key, userId]);
}

/** Who has an email; undefined when it was never taken. */
export async function readEmail(
  runner: SqlRunner,
  email: NormalizedEmail,
): Promise<Attempt<EmailHolder | undefined>> {
  const { bucket, key } = place(email);
  const [row] = await runner.select(READ_EMAIL, [key, bucket]);
  const refusal: Refusal | undefined = refusalInRow(row);
  if (refusal !== undefined) return refusal;
  if (row === undefined || row['user_id'] === null) return { kind: 'answered', value: undefined };
  return {
    kind: 'answered',
    value: {
      userId: String(row['user_id']) as UserId,
      state: row['held'] as EmailHolder['state'],
      sagaId: String(row['saga_id']),
    },
  };
}

export function emailTaken(): PermanentError {
  return new PermanentError(
    'email-taken',
    'A user with this email is registered already, or about to be. Emails are compared without regard to case.',
  );
}

async function settle(
  tx: SqlRunner,
  state: 'confirmed' | 'released',
  { email, userId, sagaId, nowMs }: Settlement,
): Promise<boolean> {
  const { bucket, key } = place(email);
  const values = [state, sqlNow(nowMs), bucket, key, sagaId, userId];
  return (await tx.execute(SETTLE_RESERVATION, values)).affectedRows === 1;
}

function place(email: NormalizedEmail): { readonly bucket: BucketId; readonly key: string } {
  return { bucket: bucketOf(email), key: emailKey(email) };
}
