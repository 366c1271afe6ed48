export interface BackoffPolicy {
  /** Wait after the first failure, milliseconds. */
  readonly firstMs: number;
  readonly factor: number;
  /** Longest wait, milliseconds. */
  readonly maxMs: number;
}

/**
 * Wait before try number `attempt + 1` (attempts count from 1): exponential with full jitter between
 * half and the whole of the step, so that callers who failed together do not come back together.
 * `random` is in [0, 1).
 */
export function backoffMs(policy: BackoffPolicy, attempt: number, random: () => number): number {
  const step = Math.min(policy.maxMs, policy.firstMs * policy.factor ** (attempt - 1));
  return Math.round(step / 2 + (random() * step) / 2);
}
