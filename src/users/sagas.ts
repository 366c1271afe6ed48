import { z } from 'zod';
import type { DurableModule } from '../durable/register.ts';
import { implementSaga } from '../durable/saga/run-saga.ts';
import { startDeadline } from '../kernel/deadline.ts';
import { PermanentError } from '../kernel/errors.ts';
import { userIdSchema } from '../kernel/schemas.ts';
import { sagaIdInUse } from '../sagas/journal.ts';
import type { OrphanSettler, SagaModule } from '../sagas/modules.ts';
import type { SagaId } from '../sagas/saga-id.ts';
import { submitSaga } from '../sagas/submit.ts';
import type { Services } from '../services.ts';
import {
  confirmEmail,
  createUser,
  releaseOldEmail,
  reserveEmail,
  updateUser,
  type Registration,
} from './contracts.ts';
import { claimIdentity } from './identity.ts';
import { localEmailChange, localRegistration } from './local-writes.ts';
import { emailSchema, registerUserSchema } from './model.ts';
import { changeEmailSaga, registerUserSaga } from './saga.ts';
import { reservationSettler } from './settle-reservations.ts';
import { userSteps } from './steps.ts';

/** Nobody waits for a saga that a message asked for. */
const NO_WAIT_MS = 0;

const registerUserModule: SagaModule = {
  definition: registerUserSaga,
  local: localRegistration,
  message: registerUserSchema,
  submit: async (services, client, { sagaId, message }) => {
    // Checked by the schema above.
    const registrant = message as z.infer<typeof registerUserSchema>;
    await submitSaga(services, client, {
      saga: registerUserSaga,
      sagaId,
      input: await registrationOf(services, sagaId, registrant),
      identified: true,
      local: localRegistration,
      waitMs: NO_WAIT_MS,
    });
  },
};

/** The same for each delivery of the message: id and time are claimed under the saga's id, as under a key. */
async function registrationOf(
  services: Services,
  sagaId: SagaId,
  registrant: z.infer<typeof registerUserSchema>,
): Promise<Registration> {
  const deadline = startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS);
  const key = { namespace: 'sagas', key: sagaId, deadline } as const;
  try {
    const { userId, createdAt } = await claimIdentity(services, registrant, key);
    return { userId, email: registrant.email, createdAt };
  } catch (cause) {
    if (!(cause instanceof PermanentError) || cause.code !== 'idempotency-conflict') throw cause;
    throw sagaIdInUse({ sagaId });
  }
}

const changeEmailMessage = z.strictObject({ userId: userIdSchema, email: emailSchema });

const changeEmailModule: SagaModule = {
  definition: changeEmailSaga,
  local: localEmailChange(),
  message: changeEmailMessage,
  submit: async (services, client, { sagaId, message }) => {
    // Checked by the schema above.
    const input = message as z.infer<typeof changeEmailMessage>;
    await submitSaga(services, client, {
      saga: changeEmailSaga,
      sagaId,
      input,
      identified: true,
      local: localEmailChange(),
      waitMs: NO_WAIT_MS,
    });
  },
};

export const usersSagaModules: readonly SagaModule[] = [registerUserModule, changeEmailModule];
export const usersSettlers: readonly OrphanSettler[] = [reservationSettler];

export const usersDurable: DurableModule<Services> = {
  contracts: [
    ...[reserveEmail, createUser, confirmEmail, updateUser, releaseOldEmail].map(
      (step) => step.activity,
    ),
    registerUserSaga.orchestration,
    changeEmailSaga.orchestration,
  ],
  activities: userSteps,
  orchestrations: [implementSaga(registerUserSaga), implementSaga(changeEmailSaga)],
};
