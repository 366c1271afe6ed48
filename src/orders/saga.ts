import { defineSaga } from '../durable/saga/definition.ts';
import {
  ARRIVAL_STEP,
  confirmTarget,
  DEPARTURE_STEP,
  insertPending,
  lockSource,
  removeSource,
  transferredSchema,
  transferSchema,
} from './contracts.ts';

/**
 * Gives an order to a user on another shard (ADR 0015). It is seen and counted at its source until the pivot, and at its
 * target from the confirmation on: never at both. In between the crossing that both steps record counts it.
 */
export const transferOrderSaga = defineSaga({
  kind: 'transfer-order',
  input: transferSchema,
  output: transferredSchema,
})
  .compensatable('lock-source', lockSource, ({ input }) => input)
  .compensatable('insert-pending', insertPending, ({ input, results }) => ({
    ...input,
    ...results['lock-source'],
  }))
  .pivot(DEPARTURE_STEP, removeSource, ({ input }) => input)
  .retriable(ARRIVAL_STEP, confirmTarget, ({ input, results }) => ({
    ...input,
    crossing: results[DEPARTURE_STEP],
  }))
  .returns(({ input, results }) => ({
    orderId: input.orderId,
    userId: input.toUserId,
    ...results['lock-source'],
  }));
