/**
 * The error vocabulary. Every failure that reaches a caller carries one of these codes; the HTTP
 * layer maps a code to its status (`http/problem.ts`), the durable layer looks only at `retryable`.
 */
export type ErrorCode =
  | 'validation-failed'
  | 'unauthorized'
  | 'user-not-found'
  | 'order-not-found'
  | 'not-found'
  | 'email-taken'
  | 'user-conflict'
  | 'order-conflict'
  | 'idempotency-conflict'
  | 'conflict'
  | 'payload-too-large'
  | 'unsupported-media-type'
  | 'too-many-requests'
  | 'shard-unavailable'
  | 'storage-unavailable'
  | 'configuration-invalid'
  | 'internal';

/** One thing wrong with an input: where (JSON pointer, `""` for the whole) and what is expected. */
export interface FieldProblem {
  readonly path: string;
  readonly message: string;
}

export interface ErrorOptions {
  readonly cause?: unknown;
  /** For logs and tests; never shown to a caller. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** For `validation-failed`: shown to the caller. */
  readonly problems?: readonly FieldProblem[];
  /** When a retry makes sense: the wait, in seconds, told to the caller (`Retry-After`). */
  readonly retryAfterSeconds?: number;
}

/**
 * Base of all errors we throw. `message` is written for the caller: what was expected, what came,
 * what to do next. It holds nothing internal (SQL, host names, stack).
 */
export abstract class AppError extends Error {
  readonly code: ErrorCode;
  abstract readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;
  readonly problems: readonly FieldProblem[];
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.details = options.details ?? {};
    this.problems = options.problems ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** The same call may succeed later without anybody changing it. */
export class RetryableError extends AppError {
  readonly retryable = true;

  static shardUnavailable(shardId: number, options: ErrorOptions = {}): RetryableError {
    return new RetryableError(
      'shard-unavailable',
      'The shard that holds this data does not answer at the moment. Nothing was changed by an answer of this kind unless an earlier try got through; sending the same request again is safe.',
      { retryAfterSeconds: 2, ...options, details: { shardId, ...options.details } },
    );
  }

  static storageUnavailable(options: ErrorOptions = {}): RetryableError {
    return new RetryableError(
      'storage-unavailable',
      'The storage account does not answer at the moment. Try again shortly.',
      { retryAfterSeconds: 2, ...options },
    );
  }

  static tooManyRequests(message: string, options: ErrorOptions = {}): RetryableError {
    return new RetryableError('too-many-requests', message, { retryAfterSeconds: 1, ...options });
  }
}

/** The same call will fail again until somebody changes something: it is the answer, not a hiccup. */
export class PermanentError extends AppError {
  readonly retryable = false;

  static validation(message: string, problems: readonly FieldProblem[]): PermanentError {
    return new PermanentError('validation-failed', message, { problems });
  }

  static configuration(problems: readonly FieldProblem[]): PermanentError {
    const lines = problems.map((problem) => `  ${problem.path}: ${problem.message}`);
    return new PermanentError(
      'configuration-invalid',
      `The application settings are not usable:\n${lines.join('\n')}\nlocal.settings.sample.json shows every setting.`,
      { problems },
    );
  }
}

/** An invariant of ours does not hold. Never caught on purpose; shows as `internal`. */
export class BugError extends AppError {
  readonly retryable = false;

  constructor(message: string, options: ErrorOptions = {}) {
    super('internal', message, options);
  }
}

/** True for errors after which the same call may be tried again unchanged. */
export function isRetryable(error: unknown): boolean {
  return error instanceof AppError && error.retryable;
}
