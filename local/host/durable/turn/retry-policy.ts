import type { RetryOptions } from './actions.ts';
import type { FailureFields } from './history-events.ts';

/** One task with retries, across its attempts and back-off timers. */
export interface RetryState {
  /** Id of the first attempt; names the chain. */
  readonly retryId: number;
  readonly kind: 'activity' | 'subOrchestration';
  readonly name: string;
  /** The callee's input as stored text, the same for every attempt. */
  readonly input: string | null;
  /** Instance id given by the app; otherwise each attempt gets its own. */
  readonly instanceId: string | null;
  readonly version: string | null;
  readonly options: RetryOptions;
  readonly firstAttemptMs: number;
  /** Failed attempts so far. */
  failures: number;
}

/** What follows a failed attempt. */
export type RetryVerdict =
  /** Wait, then try again. */
  | { readonly kind: 'retry'; readonly delayMs: number }
  /** That was the last attempt: the failure surfaces. */
  | { readonly kind: 'exhausted' }
  /**
   * No further attempt may run (timeout passed, or the failure says so), but the SDK counts on
   * `remaining` more attempts before it lets the failure surface.
   */
  | { readonly kind: 'given-up'; readonly remaining: number };

/**
 * Decides what follows a failure, once counted in `retry.failures`.
 *
 * The delay after the k-th failure is `first * backoff^(k-1)`, at most the maximum interval; the
 * timeout is measured from the first attempt and looked at when an attempt fails
 * (DurableTask.Core `RetryInterceptor`).
 */
export function retryVerdict(
  retry: RetryState,
  failure: FailureFields,
  nowMs: number,
): RetryVerdict {
  const { options, failures } = retry;
  if (failures >= options.maxNumberOfAttempts) return { kind: 'exhausted' };
  const timeoutMs = options.retryTimeoutInMilliseconds;
  const expired = timeoutMs !== undefined && nowMs >= retry.firstAttemptMs + timeoutMs;
  if (expired || failure.FailureDetails?.IsNonRetriable === true) {
    return { kind: 'given-up', remaining: options.maxNumberOfAttempts - failures };
  }
  const growth = (options.backoffCoefficient ?? 1) ** (failures - 1);
  const maxMs = options.maxRetryIntervalInMilliseconds ?? Number.POSITIVE_INFINITY;
  const delayMs = Math.min(options.firstRetryIntervalInMilliseconds * growth, maxMs);
  // A century stands for "for ever": a larger value would not be a valid date.
  return { kind: 'retry', delayMs: Math.min(delayMs, 100 * 365 * 86_400_000) };
}
