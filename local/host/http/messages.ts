import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypedData } from '../contracts.ts';
import { decodeTypedData } from '../app/typed-data.ts';
import { isRecord } from '../app/errors.ts';

/** Azure's default limit of a request body (`FUNCTIONS_REQUEST_BODY_SIZE_LIMIT`), in bytes. */
const DEFAULT_BODY_LIMIT = 104_857_600;

/**
 * Refuses a request without a fitting key. Azure answers 401 with no body; a caller of the local host is also told
 * what is missing.
 */
export function sendUnauthorized(response: ServerResponse): void {
  const problem = {
    type: 'about:blank',
    title: 'Unauthorized',
    status: 401,
    code: 'unauthorized',
    detail:
      'A key is asked for: send it as header x-functions-key or as query parameter code. The host printed its keys when it started.',
  };
  response.writeHead(401, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify(problem));
}

/** Answers without a body; the length says so, instead of an empty chunked body. */
export function sendEmpty(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  const length = status === 204 ? {} : { 'content-length': '0' };
  response.writeHead(status, { ...headers, ...length }).end();
}

/** Raised while a request body is read; the server answers 413. */
export class BodyTooLargeError extends Error {
  constructor(limit: number) {
    super(`The request body is larger than ${limit} bytes.`);
    this.name = 'BodyTooLargeError';
  }
}

/** The limit in bytes, which the app's settings may change. */
export function bodyLimit(): number {
  const configured = Number(process.env['FUNCTIONS_REQUEST_BODY_SIZE_LIMIT']);
  return Number.isSafeInteger(configured) && configured > 0 ? configured : DEFAULT_BODY_LIMIT;
}

/** Reads the whole body. Throws {@link BodyTooLargeError} as soon as the limit is passed. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const limit = bodyLimit();
  if (Number(request.headers['content-length'] ?? 0) > limit) throw new BodyTooLargeError(limit);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw new BodyTooLargeError(limit);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Lower-case header names; repeated headers are joined with a comma, as .NET's StringValues are. */
export function requestHeaders({ rawHeaders }: IncomingMessage): Record<string, string> {
  // Without a prototype: a header may be named as one of its members.
  const headers = Object.create(null) as Record<string, string>;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] as string).toLowerCase();
    const value = rawHeaders[index + 1] as string;
    const before = headers[name];
    headers[name] =
      before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ','}${value}`;
  }
  return headers;
}

/** Query parameters; repeated ones are joined with a comma. */
export function requestQuery(url: URL): Record<string, string> {
  if (url.search === '') return {};
  const query = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    const before = query.get(name);
    query.set(name, before === undefined ? value : `${before},${value}`);
  }
  return Object.fromEntries(query);
}

function nullable(map: Readonly<Record<string, string>>): Record<string, { value: string }> {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, { value }]));
}

/** The `http` value a trigger receives when streaming is off. */
export function toHttpData(request: {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
  readonly body: Buffer;
}): TypedData {
  return {
    http: {
      method: request.method,
      url: request.url.href,
      nullableHeaders: nullable(request.headers),
      nullableQuery: nullable(requestQuery(request.url)),
      nullableParams: nullable(request.params),
      headers: {},
      query: {},
      params: {},
      ...(request.body.length === 0 ? {} : { body: { bytes: request.body } }),
    },
  };
}

function inner(field: unknown): unknown {
  return isRecord(field) ? field['value'] : undefined;
}

/** Builds a `Set-Cookie` value from the worker's cookie (`none` means: leave the attribute out). */
export function formatCookie(cookie: Readonly<Record<string, unknown>>): string {
  const { name, value } = cookie;
  const text = typeof value === 'string' ? value : '';
  const parts = [`${typeof name === 'string' ? name : ''}=${encodeURIComponent(text)}`];
  const expires = inner(cookie['expires']);
  const seconds = isRecord(expires) ? Number(expires['seconds']) : Number.NaN;
  const maxAge = inner(cookie['maxAge']);
  const domain = inner(cookie['domain']);
  const path = inner(cookie['path']);
  if (typeof maxAge === 'number') parts.push(`Max-Age=${Math.trunc(maxAge)}`);
  if (typeof domain === 'string') parts.push(`Domain=${domain}`);
  if (typeof path === 'string') parts.push(`Path=${path}`);
  if (Number.isFinite(seconds)) parts.push(`Expires=${new Date(seconds * 1000).toUTCString()}`);
  if (inner(cookie['httpOnly']) === true) parts.push('HttpOnly');
  if (inner(cookie['secure']) === true) parts.push('Secure');
  const sameSite: Readonly<Record<string, string>> = {
    lax: 'Lax',
    strict: 'Strict',
    explicitNone: 'None',
  };
  const policy = sameSite[String(cookie['sameSite'])];
  if (policy !== undefined) parts.push(`SameSite=${policy}`);
  return parts.join('; ');
}

/** Headers of one hop, which the server sets itself. */
const OWN_HEADERS = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length']);

function bodyBytes(body: unknown): Buffer {
  const decoded = decodeTypedData(body as TypedData | undefined);
  if (decoded.kind === 'bytes') return decoded.bytes;
  if (decoded.kind === 'text') return Buffer.from(decoded.text);
  return decoded.kind === 'none' ? Buffer.alloc(0) : Buffer.from(JSON.stringify(decoded.value));
}

/** Sends the function's return value: its `http` data, or 204 when it returned nothing. */
export function sendHttpData(
  response: ServerResponse,
  returnValue: TypedData | null | undefined,
): void {
  const value: unknown = returnValue;
  const http = isRecord(value) ? value['http'] : undefined;
  if (!isRecord(http)) {
    sendEmpty(response, 204);
    return;
  }
  const status = Number(http['statusCode'] ?? 200);
  if (!Number.isInteger(status) || status < 100 || status > 999) {
    throw new RangeError(`The function returned the HTTP status "${String(http['statusCode'])}".`);
  }
  const headers = isRecord(http['headers']) ? http['headers'] : {};
  for (const [name, value] of Object.entries(headers)) {
    if (!OWN_HEADERS.has(name.toLowerCase())) response.setHeader(name, String(value));
  }
  const cookies = Array.isArray(http['cookies']) ? http['cookies'].filter(isRecord) : [];
  if (cookies.length > 0) response.setHeader('set-cookie', cookies.map(formatCookie));
  const body = bodyBytes(http['body']);
  response.statusCode = status;
  const hasNoBody = status === 204 || status === 304;
  if (!hasNoBody) response.setHeader('content-length', body.length);
  response.end(hasNoBody ? undefined : body);
}
