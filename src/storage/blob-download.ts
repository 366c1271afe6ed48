import { Readable } from 'node:stream';
import { PermanentError, RetryableError } from '../kernel/errors.ts';
import { NOT_THERE } from './blob-container.ts';
import type { BlobContainer } from './blob-container.ts';
import type { BlobSpan } from './contracts.ts';
import { failedWith } from './storage-errors.ts';

/** One range is in memory at a time; a reader who pauses holds no connection open. */
const RANGE_BYTES = 4 * 1024 * 1024;

interface Range {
  readonly bytes: Buffer;
  readonly totalBytes: number;
  readonly etag: string;
}

const WHOLE: BlobSpan = { from: 0, bytes: Infinity };

/**
 * A stream of the blob, or of a part that begins within it; undefined when there is none. It is read range by range,
 * each with the usual retries: a broken connection costs at most one range, which is what "resumes by itself" means
 * here. All ranges are of one version: a blob overwritten meanwhile ends the stream with a retryable `conflict`.
 */
export async function openStream(
  container: BlobContainer,
  name: string,
  span: BlobSpan = WHOLE,
): Promise<Readable | undefined> {
  const first = await readRange(container, name, span, undefined);
  if (first === undefined) return undefined;
  return Readable.from(ranges(container, name, first, span), { objectMode: false });
}

/**
 * The whole of a small blob, or undefined when there is none. Throws `payload-too-large` past `maxBytes`,
 * before reading more than the first range.
 */
export async function readWhole(
  container: BlobContainer,
  name: string,
  maxBytes: number,
): Promise<{ readonly text: string; readonly etag: string } | undefined> {
  const first = await readRange(container, name, WHOLE, undefined);
  if (first === undefined) return undefined;
  if (first.totalBytes > maxBytes) {
    throw new PermanentError(
      'payload-too-large',
      `The blob is ${first.totalBytes} bytes long; at most ${maxBytes} are read at once.`,
      { details: { blob: name } },
    );
  }
  const parts: Buffer[] = [];
  for await (const part of ranges(container, name, first, WHOLE)) parts.push(part);
  return { text: Buffer.concat(parts).toString('utf8'), etag: first.etag };
}

async function* ranges(
  container: BlobContainer,
  name: string,
  first: Range,
  span: BlobSpan,
): AsyncGenerator<Buffer> {
  const end = Math.min(first.totalBytes, span.from + span.bytes);
  let from = span.from + first.bytes.length;
  if (first.bytes.length > 0) yield first.bytes;
  while (from < end) {
    const next = await readRange(container, name, { from, bytes: end - from }, first.etag);
    if (next === undefined || next.bytes.length === 0) throw changed(name);
    from += next.bytes.length;
    yield next.bytes;
  }
}

async function readRange(
  container: BlobContainer,
  name: string,
  span: BlobSpan,
  etag: string | undefined,
): Promise<Range | undefined> {
  try {
    return await downloadRange(container, name, {
      offset: span.from,
      bytes: span.bytes,
      conditions: etag === undefined ? {} : { ifMatch: etag },
    });
  } catch (error) {
    if (failedWith(error, ...NOT_THERE)) return undefined;
    if (failedWith(error, 'InvalidRange')) return readEmpty(container, name);
    if (failedWith(error, 'ConditionNotMet')) throw changed(name);
    throw error;
  }
}

/** One range, read to its end within one try. Missing blobs, empty ones and unmet conditions are thrown as the SDK threw them. */
export async function downloadRange(
  container: BlobContainer,
  name: string,
  range: {
    readonly offset: number;
    /** Wanted; at most {@link RANGE_BYTES} come. */
    readonly bytes?: number;
    readonly conditions: { readonly ifMatch?: string; readonly ifNoneMatch?: string };
  },
): Promise<Range> {
  const count = Math.min(RANGE_BYTES, range.bytes ?? RANGE_BYTES);
  return container.read(
    'blob.read',
    async (client, abortSignal) => {
      const response = await client.getBlobClient(name).download(range.offset, count, {
        abortSignal,
        conditions: range.conditions,
      });
      const bytes = await collect(response.readableStreamBody as Readable, abortSignal);
      return { bytes, totalBytes: totalOf(response), etag: response.etag ?? '' };
    },
    [...NOT_THERE, 'InvalidRange', 'ConditionNotMet'],
    range.offset === 0 ? 'request' : 'stream',
  );
}

/** A range of an empty blob is an error to the service; its properties still tell that it is there. */
async function readEmpty(container: BlobContainer, name: string): Promise<Range> {
  const properties = await container.read('blob.properties', (client, abortSignal) =>
    client.getBlobClient(name).getProperties({ abortSignal }),
  );
  if (properties.contentLength !== 0) throw changed(name);
  return { bytes: Buffer.alloc(0), totalBytes: 0, etag: properties.etag ?? '' };
}

/** `Content-Range: bytes 0-99/1234`; absent when the whole blob came. */
function totalOf(response: { contentRange?: string; contentLength?: number }): number {
  const total = response.contentRange?.split('/')[1];
  return total === undefined ? (response.contentLength ?? 0) : Number(total);
}

/** Reads the body to its end or until the try's time is over: a stalled body must not hang the call. */
async function collect(body: Readable, signal: AbortSignal): Promise<Buffer> {
  const stop = (): void => {
    body.destroy(signal.reason as Error);
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    const parts: Buffer[] = [];
    for await (const part of body) parts.push(part as Buffer);
    return Buffer.concat(parts);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function changed(name: string): RetryableError {
  return new RetryableError('conflict', 'The blob changed while it was read; read it again.', {
    details: { blob: name },
  });
}
