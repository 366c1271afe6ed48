import { implement, type ActivityImplementation } from '../durable/implement.ts';
import type { DurableModule } from '../durable/register.ts';
import { recordSaga } from '../durable/saga/record.ts';
import type { Services } from '../services.ts';
import { recordSagaState } from './journal.ts';
import type { SagaId } from './saga-id.ts';
import { tellSagaState } from './saga-telemetry.ts';

const recordSagaActivity: ActivityImplementation<Services> = implement(
  recordSaga,
  (services: Services) => async (state) => {
    await recordSagaState(services, { ...state, sagaId: state.sagaId as SagaId });
    tellSagaState(services.telemetry, state.view);
    await services.probe.reach('sagas.afterRecord', `${state.sagaId}/record/${state.view.status}`);
    return null;
  },
);

/** What sagas of all kinds share; the slices bring their steps and tables. */
export const sagasDurable: DurableModule<Services> = {
  contracts: [recordSaga],
  activities: [recordSagaActivity],
  orchestrations: [],
};
