import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage, errorStack, isRecord } from './errors.ts';

/** A function's `retry` option; delays in milliseconds. */
export interface RetryPolicy {
  /** -1 retries for ever. */
  readonly maxRetryCount: number;
  /** The wait before retry `attempt` (from 1). */
  delayMs(attempt: number): number;
}

function durationMs(value: unknown, fallbackMs: number): number {
  const seconds = isRecord(value) ? Number(value['seconds'] ?? 0) : Number.NaN;
  const nanos = isRecord(value) ? Number(value['nanos'] ?? 0) : 0;
  return Number.isFinite(seconds) ? seconds * 1000 + nanos / 1e6 : fallbackMs;
}

/** Reads the retry options as the library registers them; undefined when the function has none. */
export function parseRetryPolicy(options: unknown): RetryPolicy | undefined {
  if (!isRecord(options)) return undefined;
  const maxRetryCount = Number(options['maxRetryCount'] ?? 0);
  if (options['retryStrategy'] === 'exponentialBackoff') {
    const min = durationMs(options['minimumInterval'], 100);
    const max = durationMs(options['maximumInterval'], 60_000);
    return { maxRetryCount, delayMs: (attempt) => Math.min(max, min * 2 ** (attempt - 1)) };
  }
  const delay = durationMs(options['delayInterval'], 0);
  return { maxRetryCount, delayMs: () => delay };
}

/**
 * Runs `attempt` again as the policy says; the last error is thrown. `retryContext` is undefined at
 * the first try. An aborted `signal` ends the waiting and throws the error at hand.
 */
export async function withRetries<T>(
  policy: RetryPolicy | undefined,
  signal: AbortSignal,
  attempt: (retryContext: unknown) => Promise<T>,
): Promise<T> {
  let retryContext: unknown;
  for (let retryCount = 1; ; retryCount += 1) {
    try {
      return await attempt(retryContext);
    } catch (error) {
      const isExhausted =
        policy === undefined ||
        (policy.maxRetryCount !== -1 && retryCount > policy.maxRetryCount) ||
        signal.aborted;
      if (isExhausted) throw error;
      const exception = { message: errorMessage(error), source: '', stackTrace: errorStack(error) };
      retryContext = { retryCount, maxRetryCount: policy.maxRetryCount, exception };
      await sleep(policy.delayMs(retryCount), undefined, { signal }).catch(() => {
        throw error;
      });
    }
  }
}
