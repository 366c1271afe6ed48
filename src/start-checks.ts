import { isRetryable } from './kernel/errors.ts';
import { errorFields } from './kernel/logger.ts';
import type { Services } from './services.ts';

/** How long a start waits for the storage account; the platform gives an instance 30 s to start. */
const START_LIMIT_MS = 5_000;

/**
 * Checks at start-up what would otherwise surprise the first request: a bucket map that contradicts `SHARDS` stops
 * the app here, with its explanation. A storage account that does not answer does not: it may come back, and requests
 * are told until then. Shards are connected on the side.
 */
export async function checkAtStart(services: Services): Promise<void> {
  const timeout = new AbortController();
  try {
    await Promise.race([
      services.bucketMap.current(),
      services.clock.sleep(START_LIMIT_MS, timeout.signal),
    ]);
  } catch (error) {
    if (!isRetryable(error)) throw error;
    services.logger.log('warn', 'app.started_without_storage', errorFields(error));
  } finally {
    timeout.abort();
  }
  void services.database.prewarm();
}
