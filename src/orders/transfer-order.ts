import type { OrchestrationClient } from '../durable/client.ts';
import { startDeadline } from '../kernel/deadline.ts';
import { sagaIdAt, sagaIdOfKey, type SagaId } from '../sagas/saga-id.ts';
import { sagaToJoin } from '../sagas/saga-of-key.ts';
import { submitSaga } from '../sagas/submit.ts';
import type { Services } from '../services.ts';
import type { Transfer } from './contracts.ts';
import { localTransfer } from './local-transfer.ts';
import type { Order } from './model.ts';
import { transferOrderSaga } from './saga.ts';
import { sourceOf } from './transfer-effects.ts';

/** `replayed`: an earlier request had the key. `running`: not known yet. */
export type Transferred =
  | {
      readonly kind: 'completed';
      readonly sagaId: SagaId;
      readonly order: Order;
      readonly replayed: boolean;
    }
  | { readonly kind: 'running'; readonly sagaId: SagaId };

/**
 * Gives an order to another user, as one local transaction or a saga, and waits for the end as long as a caller does.
 * Safe to repeat with a key; without one a repeat of what was done is answered `order-not-found`. Throws `user-not-found`,
 * `order-not-found`, `order-conflict`, `idempotency-conflict` (permanent) and `shard-unavailable` (retryable).
 */
export async function transferOrder(
  services: Services,
  client: OrchestrationClient,
  command: { readonly transfer: Transfer; readonly idempotencyKey?: string | undefined },
): Promise<Transferred> {
  const { transfer, idempotencyKey } = command;
  const deadline = startDeadline(services.clock, services.config.REQUEST_DEADLINE_MS);
  const identified = idempotencyKey !== undefined;
  const sagaId = identified
    ? await sagaToJoin(services, sagaIdOfKey('transfers', idempotencyKey), deadline)
    : sagaIdAt(sourceOf(transfer).bucket, await services.ids.nextOrderId());
  const submitted = await submitSaga(services, client, {
    saga: transferOrderSaga,
    sagaId,
    input: transfer,
    identified,
    conflictCode: 'idempotency-conflict',
    local: localTransfer,
    recorded: true,
    waitMs: deadline.remainingMs(),
  });
  return submitted.kind === 'running'
    ? { kind: 'running', sagaId }
    : { kind: 'completed', sagaId, order: submitted.value, replayed: submitted.replayed };
}
