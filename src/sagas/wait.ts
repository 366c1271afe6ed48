import { isRetryable } from '../kernel/errors.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import { readSaga } from './journal.ts';
import { isEnded, type EndedRecord } from './model.ts';
import type { SagaId } from './saga-id.ts';

/** From 15 ms (an undisturbed saga takes some tens) to 250 ms: about 45 point reads in the 10 s that a caller waits. */
const FIRST_PAUSE_MS = 15;
const PAUSE_FACTOR = 1.5;
const LONGEST_PAUSE_MS = 250;

/**
 * The saga's row once it has ended, or undefined when it has not by `untilMs` (monotonic). A journal that does not answer
 * is asked again: the saga goes on without it.
 */
export async function waitForEnd(
  services: Pick<Services, 'clock' | 'config' | 'database' | 'logger'>,
  sagaId: SagaId,
  untilMs: number,
): Promise<EndedRecord | undefined> {
  const { clock, logger } = services;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs *= PAUSE_FACTOR) {
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs <= 0) return undefined;
    await clock.sleep(Math.min(pauseMs, LONGEST_PAUSE_MS, leftMs));
    try {
      const deadlineMs = Math.max(1, untilMs - clock.monotonicMs());
      const record = await readSaga(services, sagaId, { deadlineMs });
      if (record !== undefined && isEnded(record)) return record;
    } catch (error) {
      if (!isRetryable(error)) throw error;
      logger.log('debug', 'sagas.journal_away', { sagaId, ...errorFields(error) });
    }
  }
}
