import type { Deadline } from '../kernel/deadline.ts';
import { isRetryable } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import { readSaga } from './journal.ts';
import { errorOfRecord } from './model.ts';
import type { SagaId } from './saga-id.ts';

/** A key may stand for this many sagas, all but the last ended for want of a shard: an hour of outage and repeats. */
const MOST_SAGAS_PER_KEY = 64;

/**
 * The saga that a request with an `Idempotency-Key` joins: the first one of the key, and a new one in place of each that
 * was compensated because a shard was away, which is no answer. Throws `shard-unavailable` (retryable).
 */
export async function sagaToJoin(
  services: Services,
  first: SagaId,
  deadline: Deadline,
): Promise<SagaId> {
  for (let number = 1; ; number += 1) {
    const sagaId = (number === 1 ? first : `${first}-${number}`) as SagaId;
    const saga = await readSaga(services, sagaId, { deadlineMs: deadline.remainingMs() });
    const failed = saga?.outcome?.kind === 'compensated' ? saga.outcome.error : undefined;
    const mayBeDone = failed !== undefined && isRetryable(errorOfRecord(failed));
    if (!mayBeDone || number >= MOST_SAGAS_PER_KEY) return sagaId;
  }
}
