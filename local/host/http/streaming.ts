import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import type { IndexedFunction, InvocationResult, Invoker, TypedData } from '../contracts.ts';
import { BodyTooLargeError, bodyLimit, requestHeaders, requestQuery } from './messages.ts';
import { StreamedAnswer, type LibraryServer } from './streamed-answer.ts';
import { takeWhole } from './whole-body.ts';

export interface StreamedRequest {
  readonly fn: IndexedFunction;
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly params: Readonly<Record<string, string>>;
  readonly traceParent: string | undefined;
}

/**
 * Runs an HTTP function of an app that enabled streaming: the invocation carries only metadata, and the library gets the
 * request and the answer as its own server would get them, matched by invocation id. In Azure a proxy sends them there;
 * here both are in one process. Rejects when the handler fails; the caller answers 500 if no header has been sent.
 */
export async function streamInvocation(
  invoker: Invoker,
  library: LibraryServer,
  request: StreamedRequest,
): Promise<void> {
  const { incoming, response } = request;
  const invocationId = randomUUID();
  const whole = takeWhole(incoming);
  const answer = new StreamedAnswer(incoming, response, whole !== undefined);
  const body = whole ?? openBody();
  // Each function waits for the request of its own id; the library makes it the body of a `Request`, stream or bytes.
  library.emit('request', Object.assign(body, proxiedHead(request, invocationId)), answer);
  const invocation = invoker.invoke({
    fn: request.fn,
    triggerData: { http: {} },
    triggerMetadata: streamMetadata(request),
    invocationId,
    ...(request.traceParent === undefined ? {} : { traceParent: request.traceParent }),
  });
  try {
    await Promise.all([
      body instanceof PassThrough ? forwardBody(incoming, body, answer) : undefined,
      answer.sent,
      endWithoutAnswer(invocation, answer),
    ]);
  } catch (error) {
    if (!response.destroyed || error instanceof BodyTooLargeError) throw error;
    // The caller has gone, and nobody is to be told; the function still counts until it ends.
    await invocation.catch(() => undefined);
  } finally {
    answer.abandon();
    if (body instanceof PassThrough) body.destroy();
  }
}

function openBody(): PassThrough {
  const body = new PassThrough();
  // Told by whoever reads it; a body that nobody reads must not end the host.
  body.on('error', () => undefined);
  return body;
}

/** What the library reads of the request besides its body; the rest comes with the invocation. */
function proxiedHead({ incoming, url }: StreamedRequest, invocationId: string) {
  return {
    method: incoming.method,
    url: `${url.pathname}${url.search}`,
    headers: {
      'x-ms-invocation-id': invocationId,
      'x-forwarded-host': url.host,
      'x-forwarded-proto': url.protocol.replace(':', ''),
    },
  };
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

/**
 * Passes the upload on until the answer is complete; what comes then is taken from the caller and dropped, since nobody
 * reads it and a caller that cannot go on writing may never look at its answer. Resolves when the upload has ended;
 * rejects when that was too early or too late, and no status has gone out yet.
 */
async function forwardBody(
  incoming: IncomingMessage,
  body: PassThrough,
  answer: StreamedAnswer,
): Promise<void> {
  const limit = bodyLimit() + LIMIT_MARGIN_BYTES;
  let size = 0;
  const failure = await new Promise<Error | undefined>((resolve) => {
    incoming.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) resolve(new BodyTooLargeError(limit));
    });
    incoming.once('end', () => resolve(undefined));
    incoming.once('error', resolve);
    const gone = (): void => {
      // Every request closes in the end, and an error, with its stack, costs more than all else here.
      if (!incoming.readableEnded) resolve(new Error('The caller went away.'));
    };
    incoming.once('close', gone);
    // Nothing more is told of one that went while the request waited for its turn.
    if (incoming.destroyed) gone();
    const drop = (): void => {
      incoming.unpipe(body);
      incoming.resume();
      // Who still reads must not take a part for the whole.
      if (!incoming.readableEnded) body.destroy();
    };
    body.once('close', drop);
    void answer.over.then(drop);
    incoming.pipe(body);
  });
  if (failure === undefined) return;
  body.destroy(failure);
  // After its answer a caller may go, or send more than anybody would read.
  if (!answer.hasBegun) throw failure;
}

/** The library answers by itself, unless a handler returns nothing. */
async function endWithoutAnswer(
  invocation: Promise<InvocationResult>,
  answer: StreamedAnswer,
): Promise<void> {
  const { rawResult } = await invocation;
  if (rawResult === null || rawResult === undefined) answer.sendNothing();
}
