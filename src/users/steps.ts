import type { SqlRunner } from '../database/contracts.ts';
import type { ActivityImplementation } from '../durable/implement.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import { PermanentError, RetryableError } from '../kernel/errors.ts';
import { implementCompensatableStep, implementStep } from '../sagas/implement-step.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import {
  confirmEmail,
  createUser,
  releaseOldEmail,
  reserveEmail,
  updateUser,
  type EmailChange,
} from './contracts.ts';
import {
  confirmReservation,
  emailTaken,
  releaseEmail,
  releaseReservation,
  takeEmail,
  type TakenEmail,
} from './directory.ts';
import { emailKey, normalizeEmail, type NormalizedEmail } from './email.ts';
import type { User } from './model.ts';
import { insertUser, lockUser, userConflict, writeEmail } from './store.ts';

/**
 * What a user who changes to an email makes of the look at it. `held`: the user has it already, or is just losing it.
 * Throws `email-taken`: permanent when it is somebody else's, retryable while another saga of the user is about to have it.
 */
export function heldForChange(taken: TakenEmail): { readonly held: boolean } {
  switch (taken) {
    case 'taken':
      return { held: false };
    case 'held':
      return { held: true };
    case 'awaited':
      throw new RetryableError(
        'email-taken',
        'Another request is just changing the email of this user to this one. Try again shortly.',
        { retryAfterSeconds: 1 },
      );
    case 'elsewhere':
      throw emailTaken();
    default:
      return assertNever(taken);
  }
}

/** The same for one who registers: whoever has it, `email-taken` (permanent). */
export function heldForRegistration(taken: TakenEmail): { readonly held: boolean } {
  if (taken !== 'taken') throw emailTaken();
  return { held: false };
}

/**
 * Gives a user the email that the directory holds for it; `old` is what it replaced. Behind the fence of the user's
 * bucket. Throws `user-not-found` and `conflict` (permanent).
 */
export async function moveToEmail(
  tx: SqlRunner,
  { userId, email, held }: EmailChange & { readonly held: boolean },
): Promise<{ readonly old: NormalizedEmail | null; readonly user: User }> {
  const user = await lockUser(tx, userId);
  const isSame = user.emailKey === emailKey(email.normalized);
  if (held && !isSame) {
    throw new PermanentError(
      'conflict',
      'The email of this user is just being changed by another request. Look at the user, and try again.',
    );
  }
  return {
    old: isSame ? null : normalizeEmail(user.email),
    user: await writeEmail(tx, user, email),
  };
}

/** The code of the steps of both sagas; each runs behind the ledger and the fence of its one bucket. */
export const userSteps: readonly ActivityImplementation<Services>[] = [
  implementCompensatableStep(reserveEmail, {
    bucket: (input) => bucketOf(input.email),
    run: async (tx, { purpose, ...input }, run) => {
      const taken = await takeEmail(tx, { ...input, ...run, state: 'reserved' });
      if (taken.kind === 'refused') return taken;
      const heldFor = purpose === 'change' ? heldForChange : heldForRegistration;
      return { kind: 'answered', value: heldFor(taken.value) };
    },
    undo: async (tx, { email, userId }, { result, sagaId, nowMs }) => {
      if (!result.held) await releaseReservation(tx, { email, userId, sagaId, nowMs });
    },
  }),
  implementStep(createUser, {
    bucket: (input) => bucketOf(input.userId),
    run: async (tx, input) => {
      const inserted = await insertUser(tx, input);
      if (inserted.kind === 'refused') return inserted;
      if (inserted.value === 'in-use') throw userConflict(input.userId);
      return { kind: 'answered', value: null };
    },
  }),
  implementStep(updateUser, {
    bucket: (input) => bucketOf(input.userId),
    run: async (tx, input) => ({ kind: 'answered', value: await moveToEmail(tx, input) }),
  }),
  implementStep(confirmEmail, {
    bucket: (input) => bucketOf(input.email),
    run: async (tx, input, run) => {
      await confirmReservation(tx, { ...input, ...run });
      return { kind: 'answered', value: null };
    },
  }),
  implementStep(releaseOldEmail, {
    bucket: ({ userId, old }) => bucketOf(old ?? userId),
    run: async (tx, { userId, old }, run) => {
      if (old !== null) await releaseEmail(tx, { email: old, userId, ...run });
      return { kind: 'answered', value: null };
    },
  }),
];
