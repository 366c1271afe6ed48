import { AppError, RetryableError } from '../kernel/errors.ts';

/** What the storage service (or the way to it) said: its HTTP status, if it answered, and its error code. */
export interface StorageFailure {
  readonly statusCode: number | undefined;
  /** `BlobNotFound`, `LeaseAlreadyPresent`, …, or a socket's `ECONNREFUSED`. */
  readonly code: string | undefined;
}

/**
 * Codes that `fetch`-like clients and sockets use when no answer came at all. Listed by code, never by
 * message; an abort is our own time limit for one try.
 */
const BROKEN_WAY = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ESOCKETTIMEDOUT',
  'REQUEST_SEND_ERROR',
  'PARSE_ERROR',
]);

const THROTTLED_OR_BROKEN = new Set([408, 429, 500, 502, 503, 504]);

/** Reads the status and code of anything the storage SDK throws, wherever the SDK put them. */
export function storageFailure(error: unknown): StorageFailure {
  if (typeof error !== 'object' || error === null)
    return { statusCode: undefined, code: undefined };
  const thrown = error as { statusCode?: unknown; code?: unknown; details?: unknown };
  const details = (thrown.details ?? {}) as { errorCode?: unknown };
  const code = details.errorCode ?? thrown.code;
  const statusCode = typeof thrown.statusCode === 'number' ? thrown.statusCode : undefined;
  return {
    statusCode,
    code: typeof code === 'string' ? code : codeOfBodilessAnswer(statusCode),
  };
}

/** Answers to HEAD and 304 have no body to carry a code, and not every server sends it as a header. */
function codeOfBodilessAnswer(statusCode: number | undefined): string | undefined {
  if (statusCode === 304 || statusCode === 412) return 'ConditionNotMet';
  return statusCode === 404 ? 'ResourceNotFound' : undefined;
}

/** True when the service answered with one of `codes`, so that the caller can treat it as an answer. */
export function failedWith(error: unknown, ...codes: readonly string[]): boolean {
  const { code } = storageFailure(error);
  return code !== undefined && codes.includes(code);
}

/** True when the same call, sent again a moment later, may get through. */
export function isTransientStorageError(error: unknown): boolean {
  if (error instanceof AppError) return false;
  if (error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError')) {
    return true;
  }
  const { statusCode, code } = storageFailure(error);
  if (statusCode !== undefined) return THROTTLED_OR_BROKEN.has(statusCode);
  return code !== undefined && BROKEN_WAY.has(code);
}

/**
 * The error a caller sees for a storage call that got no usable answer: always `storage-unavailable` and
 * retryable. A refusal (401, 403) is no exception: a role assignment takes minutes to arrive, and
 * `details` says which it was. Our own errors pass through.
 */
export function toStorageError(operation: string, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { statusCode, code } = storageFailure(error);
  return RetryableError.storageUnavailable({
    cause: error,
    details: { operation, statusCode, storageCode: code },
  });
}
