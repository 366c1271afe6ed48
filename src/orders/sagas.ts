import type { DurableModule } from '../durable/register.ts';
import { implementSaga } from '../durable/saga/run-saga.ts';
import type { OrphanSettler, SagaModule } from '../sagas/modules.ts';
import { submitSaga } from '../sagas/submit.ts';
import type { Services } from '../services.ts';
import {
  confirmTarget,
  insertPending,
  lockSource,
  removeSource,
  type Transfer,
} from './contracts.ts';
import { localTransfer } from './local-transfer.ts';
import { transferMessageSchema } from './model.ts';
import { transferOrderSaga } from './saga.ts';
import { transferSettler } from './settle-transfers.ts';
import { transferSteps } from './transfer-steps.ts';

/** Nobody waits for a saga that a message asked for. */
const NO_WAIT_MS = 0;

const transferOrderModule: SagaModule = {
  definition: transferOrderSaga,
  local: localTransfer,
  message: transferMessageSchema,
  submit: async (services, client, { sagaId, message }) => {
    await submitSaga(services, client, {
      saga: transferOrderSaga,
      sagaId,
      // Checked by the schema above.
      input: message as Transfer,
      identified: true,
      local: localTransfer,
      waitMs: NO_WAIT_MS,
    });
  },
};

export const ordersSagaModules: readonly SagaModule[] = [transferOrderModule];
export const ordersSettlers: readonly OrphanSettler[] = [transferSettler];

export const ordersDurable: DurableModule<Services> = {
  contracts: [
    ...[lockSource, insertPending, removeSource, confirmTarget].map((step) => step.activity),
    transferOrderSaga.orchestration,
  ],
  activities: transferSteps,
  orchestrations: [implementSaga(transferOrderSaga)],
};
