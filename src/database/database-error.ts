import { AppError } from '../kernel/errors.ts';
import type { ErrorCode, ErrorOptions } from '../kernel/errors.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import { classifyDriverError, driverErrorFields, failurePolicy } from './mysql-errors.ts';
import type { FailureKind, FailurePhase, FailurePolicy } from './mysql-errors.ts';

/**
 * A failure of one statement or connection, classified. `ShardedDatabase` retries the retryable kinds by
 * itself; what reaches a store is either caught there by kind ({@link isFailure}) or passed on.
 */
export class DatabaseError extends AppError {
  readonly retryable: boolean;
  readonly failure: FailureKind;
  readonly policy: FailurePolicy;

  constructor(failure: FailureKind, options: ErrorOptions = {}) {
    super(codeOf(failure), messageOf(failure), {
      ...options,
      details: { ...options.details, failure },
    });
    this.failure = failure;
    this.policy = failurePolicy(failure);
    this.retryable = this.policy.retryable;
  }

  /** Classifies what the driver threw; an error of ours passes unchanged. */
  static from(error: unknown, phase: FailurePhase): AppError {
    if (error instanceof AppError) return error;
    const { errno, code, sqlState } = driverErrorFields(error);
    return new DatabaseError(classifyDriverError(error, phase), {
      cause: error,
      details: { errno, sqlCode: code, sqlState },
    });
  }
}

/** True for a {@link DatabaseError} of this kind: `isFailure(error, 'duplicate')`. */
export function isFailure(error: unknown, kind: FailureKind): error is DatabaseError {
  return error instanceof DatabaseError && error.failure === kind;
}

function codeOf(failure: FailureKind): ErrorCode {
  if (failure === 'misconfigured') return 'configuration-invalid';
  return failurePolicy(failure).retryable ? 'shard-unavailable' : 'internal';
}

function messageOf(failure: FailureKind): string {
  switch (failure) {
    case 'contention':
      return 'Other work held the same rows; nothing was changed. Try again.';
    case 'hindered':
      return 'The shard stopped the statement before it had an effect. Try again later.';
    case 'unreachable':
    case 'crowded':
      return 'The shard gives no connection at the moment; nothing was changed. Try again shortly.';
    case 'lost':
      return 'The connection to the shard broke; whether the change was made is unknown. Sending the same request again is safe.';
    case 'timeout':
    case 'deadline':
      return 'The shard did not answer in time; whether the change was made is unknown. Sending the same request again is safe.';
    case 'read-only':
      return 'The shard takes no writes at the moment; nothing was changed. Try again shortly.';
    case 'misconfigured':
      return 'The shard refuses this application: user, password, privileges, schema name or TLS in SHARDS do not fit the server.';
    case 'duplicate':
      return 'A row with this unique key is there already.';
    case 'assertion':
      return 'A condition that the statement asserts does not hold.';
    case 'too-large':
      return 'The statement is larger than the server takes.';
    case 'rejected':
      return 'The database refused a statement.';
    default:
      return assertNever(failure);
  }
}
