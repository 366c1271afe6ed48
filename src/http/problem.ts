import { AppError, BugError, type ErrorCode, type FieldProblem } from '../kernel/errors.ts';

/** How an error code shows over HTTP (API.md). `detail` replaces the error's own words where those are not for callers. */
interface ProblemKind {
  readonly status: number;
  readonly title: string;
  readonly detail?: string;
}

const BROKEN =
  'Something is wrong on our side. The same request may work later; quote the request id when you report it.';

export const PROBLEM_KINDS: Readonly<Record<ErrorCode, ProblemKind>> = {
  'validation-failed': { status: 400, title: 'The request is not valid' },
  unauthorized: { status: 401, title: 'An access key is needed' },
  'not-found': { status: 404, title: 'There is nothing here' },
  'user-not-found': { status: 404, title: 'No such user' },
  'order-not-found': { status: 404, title: 'No such order' },
  'email-taken': { status: 409, title: 'The email belongs to a user already' },
  'user-conflict': { status: 409, title: 'The user id is in use' },
  'order-conflict': { status: 409, title: 'The order id is in use for another order' },
  'idempotency-conflict': {
    status: 409,
    title: 'The idempotency key was used for another request',
  },
  conflict: { status: 409, title: 'The request conflicts with the present state' },
  'payload-too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The media type is not supported' },
  'too-many-requests': { status: 429, title: 'Too many requests' },
  'shard-unavailable': { status: 503, title: 'A database shard is unavailable' },
  'storage-unavailable': { status: 503, title: 'The storage account is unavailable' },
  'configuration-invalid': { status: 500, title: 'Internal error', detail: BROKEN },
  internal: { status: 500, title: 'Internal error', detail: BROKEN },
};

/** RFC 9457, plus a stable `code`, the validation errors, and the id under which the log knows the request. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Path of the request. */
  readonly instance: string;
  readonly code: ErrorCode;
  readonly requestId: string;
  readonly errors?: readonly FieldProblem[];
}

export interface ProblemReply {
  readonly status: number;
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;
}

/** The answer for anything thrown. What is not an {@link AppError} shows as `internal`, with nothing of it told. */
export function problemReply(
  thrown: unknown,
  request: { readonly instance: string; readonly requestId: string },
): ProblemReply {
  const error =
    thrown instanceof AppError ? thrown : new BugError('unexpected error', { cause: thrown });
  // A configuration problem met while serving is nothing the caller could repair.
  const code = error.code === 'configuration-invalid' ? 'internal' : error.code;
  const kind = PROBLEM_KINDS[code];
  return {
    status: kind.status,
    problem: {
      type: problemType(code),
      title: kind.title,
      status: kind.status,
      detail: kind.detail ?? error.message,
      instance: request.instance,
      code,
      requestId: request.requestId,
      ...(error.problems.length > 0 && kind.detail === undefined && { errors: error.problems }),
    },
    headers:
      error.retryAfterSeconds === undefined
        ? {}
        : { 'retry-after': String(Math.max(1, Math.ceil(error.retryAfterSeconds))) },
  };
}

/** The problem type's URI: a name, not an address. */
export function problemType(code: ErrorCode): string {
  return `urn:shardline:problem:${code}`;
}
