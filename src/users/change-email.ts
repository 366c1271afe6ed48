import type { OrchestrationClient } from '../durable/client.ts';
import { startDeadline } from '../kernel/deadline.ts';
import type { UserId } from '../kernel/ids.ts';
import { sagaIdAt, type SagaId } from '../sagas/saga-id.ts';
import { submitSaga } from '../sagas/submit.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import { lookUpEmail, readStoredUser } from './accounts.ts';
import type { EmailChange } from './contracts.ts';
import { emailTaken } from './directory.ts';
import { emailKey, normalizeEmail } from './email.ts';
import { localEmailChange } from './local-writes.ts';
import type { User } from './model.ts';
import { changeEmailSaga } from './saga.ts';
import { lockOwnership, lockUser, userNotFound, writeEmail } from './store.ts';

/** `running`: not known yet. */
export type EmailChanged =
  | { readonly kind: 'changed'; readonly user: User }
  | { readonly kind: 'running'; readonly sagaId: SagaId };

/**
 * Changes the email of a user, as one local transaction or a saga. Idempotent. Throws `user-not-found`, `email-taken`,
 * `conflict` (permanent: another request is just changing it away) and `shard-unavailable` (retryable).
 */
export async function changeEmail(
  services: Services,
  client: OrchestrationClient,
  change: EmailChange,
): Promise<EmailChanged> {
  const deadline = startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS);
  const { userId, email } = change;
  const before = await readStoredUser(services, userId, deadline.remainingMs());
  if (before === undefined) throw userNotFound(userId);
  if (before.emailKey === emailKey(email.normalized)) {
    const user = await respell(services, change, deadline.remainingMs());
    if (user !== undefined) return { kind: 'changed', user };
  }
  const holder = await lookUpEmail(services, email.normalized, deadline.remainingMs());
  if (holder !== undefined && holder.state !== 'released' && holder.userId !== userId) {
    throw emailTaken();
  }
  const sagaId = sagaIdAt(bucketOf(email.normalized), await services.ids.nextUserId());
  const submitted = await submitSaga(services, client, {
    saga: changeEmailSaga,
    sagaId,
    input: change,
    identified: false,
    local: localEmailChange(normalizeEmail(before.email)),
    waitMs: deadline.remainingMs(),
  });
  return submitted.kind === 'running'
    ? { kind: 'running', sagaId }
    : { kind: 'changed', user: submitted.value };
}

/** Writes the same email as it is to be shown now; undefined when the user has another one since. */
function respell(
  services: Services,
  { userId, email }: { readonly userId: UserId } & EmailChange,
  deadlineMs: number,
): Promise<User | undefined> {
  const bucket = bucketOf(userId);
  return services.database.onOwner<User | undefined>(
    bucket,
    (shard) =>
      shard.transaction(async (tx) => {
        const fence = await lockOwnership(tx, bucket);
        if (fence.kind === 'refused') return fence;
        const user = await lockUser(tx, userId);
        const isSame = user.emailKey === emailKey(email.normalized);
        return {
          kind: 'answered',
          value: isSame ? await writeEmail(tx, user, email) : undefined,
        };
      }),
    { deadlineMs },
  );
}
