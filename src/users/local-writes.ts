import { FENCE_LIFTED } from '../database/refusals.ts';
import type { BucketId } from '../kernel/ids.ts';
import type { LocalSaga } from '../sagas/local.ts';
import { bucketOf } from '../sharding/hash.ts';
import type { EmailChange, Registration } from './contracts.ts';
import { releaseEmail, takeEmail } from './directory.ts';
import { emailKey, normalizeEmail, type NormalizedEmail } from './email.ts';
import type { User } from './model.ts';
import { heldForChange, heldForRegistration, moveToEmail } from './steps.ts';
import { insertUser, lockOwnership, lockUser, userConflict, writeEmail } from './store.ts';

/**
 * Both sagas as one transaction, for when one shard has all their buckets. Rows are locked in one order, the user's, the
 * new email's, the old one's: what waits for an old email holds no row that its owner could want.
 */
export const localRegistration: LocalSaga<Registration, User> = {
  buckets: ({ email, userId }) => [bucketOf(email.normalized), bucketOf(userId)],
  run: async (tx, input, run) => {
    const inserted = await insertUser(tx, input);
    if (inserted.kind === 'refused') return inserted;
    const { userId, email, createdAt } = input;
    const claim = { email: email.normalized, userId, state: 'confirmed', ...run } as const;
    const taken = await takeEmail(tx, claim);
    if (taken.kind === 'refused') return taken;
    // The saga, which looks at the email first, would tell the same of the two.
    heldForRegistration(taken.value);
    if (inserted.value === 'in-use') throw userConflict(userId);
    return { kind: 'answered', value: { userId, email: email.address, createdAt } };
  },
};

/** `expected`: the email that the user is believed to have, when it is known. */
export function localEmailChange(expected?: NormalizedEmail): LocalSaga<EmailChange, User> {
  return {
    buckets: ({ email, userId }) => {
      const buckets: [BucketId, ...BucketId[]] = [bucketOf(email.normalized), bucketOf(userId)];
      if (expected !== undefined) buckets.push(bucketOf(expected));
      return buckets;
    },
    run: async (tx, input, run) => {
      const { userId, email } = input;
      const before = await lockUser(tx, userId);
      // The directory holds it for this user, since the user's row has it.
      if (before.emailKey === emailKey(email.normalized)) {
        return { kind: 'answered', value: await writeEmail(tx, before, email) };
      }
      // It may be another one than expected, and then of a bucket that is elsewhere.
      const fence = await lockOwnership(tx, bucketOf(normalizeEmail(before.email)));
      if (fence.kind === 'refused') return fence;
      const claim = { email: email.normalized, userId, state: 'confirmed', ...run } as const;
      const taken = await takeEmail(tx, claim);
      if (taken.kind === 'refused') return taken;
      // The other saga of this user is to be waited for, which the long way does.
      if (taken.value === 'awaited') return FENCE_LIFTED;
      const { old, user } = await moveToEmail(tx, { ...input, ...heldForChange(taken.value) });
      if (old !== null) await releaseEmail(tx, { email: old, userId, ...run });
      return { kind: 'answered', value: user };
    },
  };
}
