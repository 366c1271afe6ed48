import { randomUUID } from 'node:crypto';
import { traceOf } from '../kernel/traceparent.ts';

/** What a caller may name a request: nothing that could break a log line or a header. */
const REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}$/;

/** The caller's `x-request-id` when it is a sane one, else a new one. */
export function requestIdOf(header: string | null): string {
  return header !== null && REQUEST_ID.test(header) ? header : randomUUID();
}

/** The trace id of the first valid `traceparent`, else a new one. */
export function traceIdOf(...headers: readonly (string | null | undefined)[]): string {
  for (const header of headers) {
    const traceId = traceOf(header);
    if (traceId !== undefined) return traceId;
  }
  // Of a store of random bytes that is filled for many at once; six of its 128 bits are fixed.
  return randomUUID().replaceAll('-', '');
}
