import { AppError, PermanentError } from '../kernel/errors.ts';

/** A stable word for what was thrown: the driver's kind of failure, our code, or the class. Never its message. */
export function errorTypeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { failure } = error as { readonly failure?: unknown };
  if (typeof failure === 'string') return failure;
  return error instanceof AppError ? error.code : error.name;
}

/** Whether the caller, and not the service, is to blame: it was answered. */
export function isAnswer(error: unknown): boolean {
  return error instanceof PermanentError && error.code !== 'internal';
}
