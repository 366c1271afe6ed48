import type { OrchestrationClient } from '../durable/client.ts';
import { keyHash } from '../idempotency/keys.ts';
import { startDeadline, type Deadline } from '../kernel/deadline.ts';
import { sagaIdAt, type SagaId } from '../sagas/saga-id.ts';
import { sagaToJoin } from '../sagas/saga-of-key.ts';
import { submitSaga } from '../sagas/submit.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import { lookUpEmail, readStoredUser } from './accounts.ts';
import type { Registration } from './contracts.ts';
import { emailTaken } from './directory.ts';
import { claimIdentity, newIdentity, type Registrant } from './identity.ts';
import { localRegistration } from './local-writes.ts';
import type { User } from './model.ts';
import { registerUserSaga } from './saga.ts';

export interface RegisterUser extends Registrant {
  readonly idempotencyKey?: string | undefined;
}

/** `replayed`: registered by an earlier request with the same idempotency key. `running`: not known yet. */
export type Registered =
  | { readonly kind: 'created' | 'replayed'; readonly user: User }
  | { readonly kind: 'running'; readonly sagaId: SagaId };

/**
 * Registers a user, as one local transaction or a saga. With a key the claim comes first and fixes id, time and saga, so
 * that a repeat completes whatever a crash left undone. Throws `email-taken`, `user-conflict`, `idempotency-conflict`
 * (permanent) and `shard-unavailable` (retryable).
 */
export async function registerUser(
  services: Services,
  client: OrchestrationClient,
  { idempotencyKey, ...registrant }: RegisterUser,
): Promise<Registered> {
  const deadline = startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS);
  const home = bucketOf(registrant.email.normalized);
  if (idempotencyKey === undefined) {
    const identity = await newIdentity(services, registrant);
    const isMade = registrant.userId === undefined;
    const unique = isMade ? identity.userId : await services.ids.nextUserId();
    return await submitFirst(services, client, {
      sagaId: sagaIdAt(home, unique),
      identified: false,
      registration: { ...identity, email: registrant.email },
      deadline,
    });
  }
  const key = { namespace: 'users', key: idempotencyKey, deadline } as const;
  const { isNew, ...identity } = await claimIdentity(services, registrant, key);
  const submission = {
    sagaId: sagaIdAt(home, keyHash('users', idempotencyKey)),
    identified: true,
    registration: { ...identity, email: registrant.email },
    deadline,
  };
  if (isNew) return await submitFirst(services, client, submission);
  return await repeat(services, client, submission);
}

interface Submission {
  readonly sagaId: SagaId;
  readonly identified: boolean;
  readonly registration: Registration;
  readonly deadline: Deadline;
}

async function submitFirst(
  services: Services,
  client: OrchestrationClient,
  submission: Submission,
): Promise<Registered> {
  await refuseTaken(services, submission);
  return await submit(services, client, submission);
}

async function submit(
  services: Services,
  client: OrchestrationClient,
  { sagaId, identified, registration, deadline }: Submission,
): Promise<Registered> {
  const submitted = await submitSaga(services, client, {
    saga: registerUserSaga,
    sagaId,
    input: registration,
    identified,
    conflictCode: 'idempotency-conflict',
    local: localRegistration,
    waitMs: deadline.remainingMs(),
  });
  return submitted.kind === 'running'
    ? { kind: 'running', sagaId }
    : { kind: 'created', user: submitted.value };
}

/** A request whose key was used before: the first answer, once it is known. */
async function repeat(
  services: Services,
  client: OrchestrationClient,
  submission: Submission,
): Promise<Registered> {
  const { registration, sagaId: first, deadline } = submission;
  const { userId, createdAt, email } = registration;
  const stored = await readStoredUser(services, userId, deadline.remainingMs());
  // Id and time were made for this key: the row is its work, whatever became of the email since.
  if (stored?.createdAt === createdAt) {
    return { kind: 'replayed', user: { userId, email: email.address, createdAt } };
  }
  const sagaId = await sagaToJoin(services, first, deadline);
  const registered = await submit(services, client, { ...submission, sagaId });
  return registered.kind === 'running' ? registered : { ...registered, kind: 'replayed' };
}

/** Spares most of those who come too late a saga: one look at the directory, where it is not part of a local transaction. */
async function refuseTaken(
  services: Services,
  { sagaId, registration, deadline }: Submission,
): Promise<void> {
  const { database } = services;
  const [first, ...others] = localRegistration.buckets(registration);
  const { shard } = await database.route(first);
  const routes = await Promise.all(others.map((bucket) => database.route(bucket)));
  if (routes.every((route) => route.shard === shard)) return;
  const { email } = registration;
  const holder = await lookUpEmail(services, email.normalized, deadline.remainingMs());
  if (holder === undefined || holder.state === 'released' || holder.sagaId === sagaId) return;
  throw emailTaken();
}
