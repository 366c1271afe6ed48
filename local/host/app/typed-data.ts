import type { TypedData } from '../contracts.ts';

/** What a function returned through a binding, as far as a host can tell from the wire. */
export type DecodedValue =
  | { readonly kind: 'none' }
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'json'; readonly value: unknown };

/** Takes a worker value apart. `string` stays text (it is not parsed); numbers count as JSON. */
export function decodeTypedData(data: TypedData | null | undefined): DecodedValue {
  // The library fills this in, so what the type says is checked here.
  const fields: Readonly<Record<string, unknown>> = data ?? {};
  const { string, json, bytes, int, double } = fields;
  if (typeof string === 'string') return { kind: 'text', text: string };
  if (typeof json === 'string') return { kind: 'json', value: JSON.parse(json) };
  if (bytes !== undefined) return { kind: 'bytes', bytes: toBuffer(bytes) };
  if (int !== undefined) return { kind: 'json', value: int };
  if (double !== undefined) return { kind: 'json', value: double };
  return { kind: 'none' };
}

function toBuffer(value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value;
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  throw new TypeError('Expected bytes from the app.');
}
