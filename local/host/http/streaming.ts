import { randomUUID } from 'node:crypto';
import {
  Agent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IndexedFunction, InvocationResult, Invoker, TypedData } from '../contracts.ts';
import {
  BodyTooLargeError,
  bodyLimit,
  requestHeaders,
  requestQuery,
  sendEmpty,
} from './messages.ts';

export interface StreamedRequest {
  readonly fn: IndexedFunction;
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly params: Readonly<Record<string, string>>;
  readonly traceParent: string | undefined;
}

/** Headers of one hop; `expect` was already answered by this server, `host` travels as forwarded. */
const DROPPED = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'upgrade',
  'expect',
  'host',
]);
const HIDDEN_IN_RESPONSE = new Set(['x-ms-invocation-id', 'connection', 'keep-alive']);

/**
 * A connection of its own for each request. One that is kept may be closed by the library's server in the moment
 * it is used again; the request is lost then, and the invocation waits for it for ever. The server is still asked to
 * keep it open, or it would cut an upload that it answered early, and the answer with it.
 */
const agent = new Agent({ keepAlive: true });
// Not an option of the constructor: it takes 0 for "not given" and keeps 256.
agent.maxFreeSockets = 0;

/** A caller that was answered before its upload ended may go on for so long; then the connection is cut. */
const LINGER_MS = 5_000;
/** An invocation whose request was lost never ends; one that fails for its own sake does so at once. */
const OWN_FAILURE_MS = 1_000;

/**
 * Runs an HTTP function of an app that enabled streaming: the invocation carries only metadata, and
 * the raw request goes to the library's own server at `streamingUri`, matched by invocation id.
 * Rejects when the handler fails; the caller answers 500 if no header has been sent.
 */
export async function streamInvocation(
  invoker: Invoker,
  streamingUri: string,
  request: StreamedRequest,
): Promise<void> {
  const invocationId = randomUUID();
  const proxied = openProxy(streamingUri, request, invocationId);
  const { response } = request;
  // The first is told by relayResponse; one that follows must not end the host.
  proxied.on('error', () => undefined);
  response.once('close', () => {
    if (!response.writableFinished) proxied.destroy();
  });
  const invocation = invoker.invoke({
    fn: request.fn,
    triggerData: { http: {} },
    triggerMetadata: streamMetadata(request),
    invocationId,
    ...(request.traceParent === undefined ? {} : { traceParent: request.traceParent }),
  });
  try {
    const relayed = relayResponse(proxied, request);
    await Promise.all([
      forwardBody(request.incoming, proxied, response),
      relayed,
      endWithoutAnswer(invocation, response, proxied),
    ]);
  } catch (error) {
    proxied.destroy();
    // The handler's own failure is the better message when there is one.
    await Promise.race([invocation, sleep(OWN_FAILURE_MS)]).catch((failure: unknown) => {
      throw error instanceof BodyTooLargeError ? error : failure;
    });
    if (!response.destroyed && !response.writableEnded) throw error;
  }
}

function openProxy(
  streamingUri: string,
  request: StreamedRequest,
  invocationId: string,
): ClientRequest {
  const { incoming, url } = request;
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined && !DROPPED.has(name)) headers[name] = value;
  }
  headers['x-ms-invocation-id'] = invocationId;
  headers['x-forwarded-host'] = url.host;
  headers['x-forwarded-proto'] = url.protocol.replace(':', '');
  const target = new URL(streamingUri);
  return httpRequest({
    agent,
    // The library says `localhost`, which would be looked up for each request; it listens on this (app/loopback.ts).
    hostname: '127.0.0.1',
    port: target.port,
    method: incoming.method,
    path: `${url.pathname}${url.search}`,
    headers,
  });
}

function streamMetadata(request: StreamedRequest): Record<string, TypedData> {
  const params = Object.entries(request.params).map(([name, value]) => [name, { string: value }]);
  return {
    ...(Object.fromEntries(params) as Record<string, TypedData>),
    Headers: { json: JSON.stringify(requestHeaders(request.incoming)) },
    Query: { json: JSON.stringify(requestQuery(request.url)) },
  };
}

/** Lets a handler that counts bytes itself see the excess, and answer in its own words. */
const LIMIT_MARGIN_BYTES = 1_048_576;

async function* limited(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const limit = bodyLimit() + LIMIT_MARGIN_BYTES;
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > limit) throw new BodyTooLargeError(limit);
    yield chunk;
  }
}

/**
 * Passes the body on until the answer is complete; what comes then is taken from the caller and dropped, since nobody
 * reads it and a caller that cannot go on writing may never look at its answer.
 */
async function forwardBody(
  incoming: IncomingMessage,
  proxied: ClientRequest,
  response: ServerResponse,
): Promise<void> {
  const answered = new Promise<void>((resolve) => {
    proxied.once('response', (answer: IncomingMessage) => answer.once('end', resolve));
    proxied.once('close', resolve);
  });
  let isAnswered = false;
  void answered.then(() => {
    isAnswered = true;
  });
  try {
    for await (const chunk of limited(incoming)) {
      if (isAnswered || proxied.write(chunk)) continue;
      await Promise.race([answered, new Promise((resolve) => proxied.once('drain', resolve))]);
    }
    proxied.end();
  } catch (error) {
    // The caller went away, or sent more than anybody would read, after it had its answer.
    if (!response.headersSent) throw error;
  }
}

async function relayResponse(proxied: ClientRequest, request: StreamedRequest): Promise<void> {
  const { response, incoming } = request;
  const answer = await new Promise<IncomingMessage | undefined>((resolve, reject) => {
    proxied.once('response', resolve);
    proxied.once('error', reject);
    proxied.once('close', () => resolve(undefined));
  });
  if (answer === undefined) return;
  const headers = Object.entries(answer.headers).filter(
    ([name, value]) => value !== undefined && !HIDDEN_IN_RESPONSE.has(name),
  );
  // An early answer ends the connection: the next request must not queue behind the rest of this upload.
  const isEarly = !incoming.complete;
  if (isEarly) headers.push(['connection', 'close']);
  response.writeHead(answer.statusCode ?? 500, Object.fromEntries(headers));
  response.flushHeaders();
  await pipeline(answer, response, { end: !isEarly });
  if (!isEarly) return;
  // Ended now, the connection would be closed under the upload, and a caller that is still writing would see a broken
  // pipe instead of the answer.
  await uploadEnded(incoming);
  response.end();
  if (!incoming.complete) proxied.destroy();
}

/** Resolves when the upload has ended in whatever way, or after {@link LINGER_MS}. */
async function uploadEnded(incoming: IncomingMessage): Promise<void> {
  if (incoming.complete || incoming.destroyed) return;
  const settled = new AbortController();
  const ended = new Promise<void>((resolve) => {
    incoming.once('end', resolve);
    incoming.once('close', resolve);
  });
  await Promise.race([
    ended,
    sleep(LINGER_MS, undefined, { signal: settled.signal }).catch(() => undefined),
  ]);
  settled.abort();
}

/** The library answers through its server; a handler that returns nothing never makes it answer. */
async function endWithoutAnswer(
  invocation: Promise<InvocationResult>,
  response: ServerResponse,
  proxied: ClientRequest,
): Promise<void> {
  const result = await invocation;
  if (result.rawResult !== null && result.rawResult !== undefined) return;
  if (!response.headersSent) sendEmpty(response, 204);
  proxied.destroy();
}
