import { Readable } from 'node:stream';
import type { ReadableStream, ReadableStreamDefaultReader } from 'node:stream/web';
import type { z } from 'zod';
import type { Config } from '../config.ts';
import { PermanentError } from '../kernel/errors.ts';

/** A body that the handler streams itself ({@link RawBody}) instead of getting parsed JSON. */
export interface RawBodySpec {
  readonly kind: 'raw';
  readonly contentTypes: readonly string[];
  readonly maxBytes: (config: Config) => number;
  /** Shape of the body per media type, for OpenAPI only. */
  readonly schemas: Readonly<Record<string, z.ZodType>>;
}

/** Tells a raw body from a JSON schema. */
export function isRawBody(body: z.ZodType | RawBodySpec): body is RawBodySpec {
  return 'kind' in body && body.kind === 'raw';
}

/** A request body as it comes, for routes that stream it. */
export interface RawBody {
  /** Media type in lower case, without parameters; one of those the route takes. */
  readonly contentType: string;
  /**
   * The bytes. Reading past the route's limit throws `payload-too-large`. May be left or destroyed at any point:
   * what remains is then read and thrown away, so that the answer reaches a caller who is still sending.
   */
  readonly stream: Readable;
}

/** The part of a request that bodies are read from. */
export interface BodySource {
  readonly headers: { get(name: string): string | null };
  readonly body: ReadableStream | null;
}

/** A caller who is still sending after our answer is listened to for this many bytes more. */
const DISCARD_BYTES = 64 * 1024 * 1024;

/** Media type of the body when it is one of `accepted`; throws `unsupported-media-type` otherwise. */
export function requireContentType(source: BodySource, accepted: readonly string[]): string {
  const header = source.headers.get('content-type') ?? '';
  const [type = '', ...parameters] = header.split(';').map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith('charset='));
  const isUtf8 = charset === undefined || /^charset="?utf-?8"?$/.test(charset);
  const encoding = source.headers.get('content-encoding')?.trim().toLowerCase() ?? 'identity';
  if (accepted.includes(type) && isUtf8 && encoding === 'identity') return type;
  throw new PermanentError(
    'unsupported-media-type',
    `The body must be ${accepted.join(' or ')}, in UTF-8 and not compressed; see the Content-Type and Content-Encoding headers.`,
  );
}

/** The body as text. Throws `payload-too-large` past `maxBytes` and `validation-failed` when it is not UTF-8. */
export async function readText(source: BodySource, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of cappedChunks(source, maxBytes)) chunks.push(chunk);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw new PermanentError('validation-failed', 'The body is not valid UTF-8.', { cause });
  }
}

/** The body as JSON. Throws as {@link readText}, and `validation-failed` when it is not JSON. */
export async function readJson(source: BodySource, maxBytes: number): Promise<unknown> {
  const text = await readText(source, maxBytes);
  if (text === '') {
    throw new PermanentError('validation-failed', 'The body is empty; JSON is expected.');
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new PermanentError('validation-failed', 'The body is not valid JSON.', { cause });
  }
}

/** The body as a stream that ends with `payload-too-large` past `maxBytes`. */
export function openRawBody(
  source: BodySource,
  options: { readonly contentTypes: readonly string[]; readonly maxBytes: number },
): RawBody {
  const contentType = requireContentType(source, options.contentTypes);
  refuseLongLength(source, options.maxBytes);
  return {
    contentType,
    stream: Readable.from(cappedChunks(source, options.maxBytes), { objectMode: false }),
  };
}

/** Reads and throws away what was not read, in the background; see {@link RawBody.stream}. */
export function discardBody(source: BodySource): void {
  if (source.body === null || source.body.locked) return;
  void discard(source.body.getReader() as ReadableStreamDefaultReader<Uint8Array>);
}

async function* cappedChunks(source: BodySource, maxBytes: number): AsyncGenerator<Uint8Array> {
  refuseLongLength(source, maxBytes);
  if (source.body === null) return;
  const reader = source.body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  let bytes = 0;
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await readChunk(reader);
      if (done) {
        ended = true;
        return;
      }
      bytes += value.byteLength;
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      yield value;
    }
  } finally {
    // Not cancelled: with HTTP streaming that would tear the connection down before the answer is sent.
    if (!ended) void discard(reader);
  }
}

async function readChunk(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<
  { readonly done: true; readonly value: undefined } | { done: false; value: Uint8Array }
> {
  try {
    const result = await reader.read();
    return result.done ? { done: true, value: undefined } : { done: false, value: result.value };
  } catch (cause) {
    throw new PermanentError('validation-failed', 'The body ended before it was complete.', {
      cause,
    });
  }
}

function refuseLongLength(source: BodySource, maxBytes: number): void {
  const length = Number(source.headers.get('content-length') ?? 0);
  if (length > maxBytes) throw tooLarge(maxBytes);
}

function tooLarge(maxBytes: number): PermanentError {
  return new PermanentError('payload-too-large', `The body may have at most ${maxBytes} bytes.`);
}

async function discard(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    for (let bytes = 0; bytes < DISCARD_BYTES;) {
      const { done, value } = await reader.read();
      if (done) return;
      bytes += value.byteLength;
    }
  } catch {
    // The caller has gone: there is nobody left to answer.
  }
}
