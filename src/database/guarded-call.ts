import { backoffMs } from '../kernel/backoff.ts';
import type { BackoffPolicy } from '../kernel/backoff.ts';
import type { Clock } from '../kernel/clock.ts';
import { RetryableError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { LogFields, Logger } from '../kernel/logger.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import { DatabaseError } from './database-error.ts';

/** Others hold the rows for milliseconds: come back soon. */
const CONTENTION_BACKOFF: BackoffPolicy = { firstMs: 5, factor: 2, maxMs: 250 };
/** The server is away or overwhelmed: give it room. */
const UNAVAILABLE_BACKOFF: BackoffPolicy = { firstMs: 50, factor: 2, maxMs: 500 };
/**
 * A shard that has been failing a caller for this long is reported unavailable, whatever deadline the caller has: a
 * client is better told 503 at once than kept waiting for a server that may be away for minutes.
 */
export const GIVE_UP_AFTER_MS = 2_000;

export interface GuardOptions {
  readonly shardId: ShardId;
  readonly breaker: CircuitBreaker;
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly random: () => number;
  readonly logger: Logger;
  /** Monotonic milliseconds. */
  readonly deadlineAtMs: number;
  /** Told of each failed attempt that may be tried again, with its kind. */
  readonly onFailure?: ((failure: string) => void) | undefined;
}

/**
 * Calls one shard under its circuit breaker and tries transient failures again, until the deadline. `call` must be
 * idempotent: after a lost connection its outcome is unknown. Throws `shard-unavailable` when the circuit is open, when
 * the server stays away for {@link GIVE_UP_AFTER_MS}, or when the deadline passes; all else passes unchanged.
 *
 * `probe` is a short question that is asked first when the circuit was open, so that not the caller's statement, with
 * its longer limit, finds out whether the server is back.
 */
export async function guardedCall<T>(
  options: GuardOptions,
  call: () => Promise<T>,
  probe: () => Promise<void>,
): Promise<T> {
  const { breaker, clock } = options;
  let failingSinceMs: number | undefined;
  for (let attempt = 1; ; attempt++) {
    const startedAtMs = clock.monotonicMs();
    const admission = breaker.admit();
    if (admission.kind === 'refused') throw circuitOpen(options, admission.retryInMs);
    let failure: DatabaseError;
    try {
      if (admission.kind === 'probe') {
        await probe();
        breaker.answered();
      }
      const value = await call();
      breaker.answered();
      return value;
    } catch (error) {
      tellBreaker(breaker, error);
      if (!(error instanceof DatabaseError) || !error.retryable) throw error;
      failure = error;
      options.onFailure?.(error.failure);
    }
    // Contention says that the server is there: it ends a streak of failures to reach it.
    failingSinceMs = failure.failure === 'contention' ? undefined : (failingSinceMs ?? startedAtMs);
    await pause(options, failure, attempt, failingSinceMs);
  }
}

/** Failures that the breaker knows: the callers of a group share one, and a lost connection is one, however many used it. */
const told = new WeakSet<DatabaseError>();

function tellBreaker(breaker: CircuitBreaker, error: unknown): void {
  // Thrown by the caller's own code or by a full pool: it says nothing about the server. A probe that ends this way
  // times out in the breaker, and the next caller probes.
  if (!(error instanceof DatabaseError) || told.has(error)) return;
  told.add(error);
  if (error.policy.opensCircuit) breaker.failed();
  else if (error.failure !== 'deadline') breaker.answered();
}

async function pause(
  options: GuardOptions,
  failure: DatabaseError,
  attempt: number,
  failingSinceMs: number | undefined,
): Promise<void> {
  const { clock, random, logger, shardId, deadlineAtMs } = options;
  const policy = failure.failure === 'contention' ? CONTENTION_BACKOFF : UNAVAILABLE_BACKOFF;
  const waitMs = backoffMs(policy, attempt, random);
  const wakeAtMs = clock.monotonicMs() + waitMs;
  const fields = failureFields(shardId, attempt, failure);
  if (
    wakeAtMs >= deadlineAtMs ||
    (failingSinceMs !== undefined && wakeAtMs >= failingSinceMs + GIVE_UP_AFTER_MS)
  ) {
    logger.log('warn', 'database.attempts_given_up', fields);
    throw RetryableError.shardUnavailable(shardId, {
      cause: failure,
      details: { failure: failure.failure, attempts: attempt },
    });
  }
  const level = failure.failure === 'contention' ? 'debug' : 'warn';
  logger.log(level, 'database.attempt_failed', {
    ...fields,
    waitMs,
    errorDetails: failure.details,
  });
  await clock.sleep(waitMs);
}

/** The driver's message only where no connection was made: others may quote the values of a statement. */
function failureFields(shardId: ShardId, attempt: number, failure: DatabaseError): LogFields {
  const { cause, details } = failure;
  const told = failure.failure === 'unreachable' && cause instanceof Error;
  return {
    shardId,
    attempt,
    errorCode: failure.failure,
    errorDetails: details,
    ...(told ? { errorCause: cause.message } : {}),
  };
}

function circuitOpen(options: GuardOptions, retryInMs: number): RetryableError {
  return RetryableError.shardUnavailable(options.shardId, {
    details: { reason: 'circuit open' },
    retryAfterSeconds: Math.max(1, Math.ceil(retryInMs / 1000)),
  });
}
