/** W3C Trace Context, level 1: version, trace id, parent id, flags. Later versions may append fields. */
const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/;

/** The trace id of a `traceparent`; undefined when it is not a valid one, which is ignored as a whole. */
export function traceOf(header: string | null | undefined): string | undefined {
  const match = TRACEPARENT.exec(header ?? '');
  // Version 00 has exactly four fields.
  if (match === null || (match[1] === '00' && match[3] !== undefined)) return undefined;
  return match[2];
}

export function isTraceparent(header: string | null | undefined): header is string {
  return traceOf(header) !== undefined;
}
