import { randomBytes, randomUUID } from 'node:crypto';

/** What a caller may name a request: nothing that could break a log line or a header. */
const REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}$/;
/** W3C Trace Context, level 1: version, trace id, parent id, flags. Later versions may append fields. */
const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/;

/** The caller's `x-request-id` when it is a sane one, else a new one. */
export function requestIdOf(header: string | null): string {
  return header !== null && REQUEST_ID.test(header) ? header : randomUUID();
}

/** The trace id of the first valid `traceparent`, else a new one. */
export function traceIdOf(...headers: readonly (string | null | undefined)[]): string {
  for (const header of headers) {
    const match = TRACEPARENT.exec(header ?? '');
    // Version 00 has exactly four fields; an invalid header is ignored as a whole.
    if (match?.[2] !== undefined && (match[1] !== '00' || match[3] === undefined)) return match[2];
  }
  return randomBytes(16).toString('hex');
}
