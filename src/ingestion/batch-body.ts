import { Readable } from 'node:stream';
import { PermanentError } from '../kernel/errors.ts';
import { JsonArraySplitter, isSpace } from './json-array.ts';

const LF = 0x0a;

export interface BatchLimits {
  readonly maxOrders: number;
}

/** NDJSON as it came. Errors: `validation-failed` when nothing came, `payload-too-large` past the limit of orders. */
export function ndjsonBody(source: Readable, limits: BatchLimits): Readable {
  return Readable.from(countLines(source, limits), { objectMode: false });
}

/**
 * A JSON array as NDJSON: one line per element, in order. Errors as {@link ndjsonBody}, and `validation-failed` when
 * the body is not one JSON array to its very end.
 */
export function jsonArrayBody(source: Readable, limits: BatchLimits): Readable {
  return Readable.from(splitArray(source, limits), { objectMode: false });
}

async function* countLines(source: Readable, limits: BatchLimits): AsyncGenerator<Buffer> {
  let orders = 0;
  let blank = true;
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk as Uint8Array);
    for (const byte of bytes) {
      if (byte === LF) blank = true;
      else if (blank && !isSpace(byte)) {
        blank = false;
        if (++orders > limits.maxOrders) throw tooMany(limits);
      }
    }
    yield bytes;
  }
  if (orders === 0) throw nothing();
}

async function* splitArray(source: Readable, limits: BatchLimits): AsyncGenerator<string> {
  const splitter = new JsonArraySplitter();
  let orders = 0;
  let bytes = 0;
  for await (const chunk of source) {
    const piece = Buffer.from(chunk as Uint8Array);
    bytes += piece.length;
    const found = splitter.write(piece);
    orders += found.length;
    if (orders > limits.maxOrders) throw tooMany(limits);
    if (found.length > 0) yield `${found.join('\n')}\n`;
  }
  if (bytes === 0) throw nothing();
  splitter.end();
  if (orders === 0) throw nothing();
}

function nothing(): PermanentError {
  return new PermanentError(
    'validation-failed',
    'The body holds no order; at least one is expected.',
  );
}

function tooMany(limits: BatchLimits): PermanentError {
  return new PermanentError(
    'payload-too-large',
    `The batch holds more than ${limits.maxOrders} orders, the most that is accepted; send it in parts.`,
  );
}
