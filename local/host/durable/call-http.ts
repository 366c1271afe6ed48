import { setTimeout as delay } from 'node:timers/promises';
import type { HttpRequestOptions } from './turn/actions.ts';
import type { FailureFields } from './turn/history-events.ts';

/** Pause between polls when a 202 answer has no `Retry-After` (Azure's default). */
const DEFAULT_POLL_MS = 30_000;

/** Longest wait for one answer: the default of the .NET client that Azure uses. */
const REQUEST_TIMEOUT_MS = 100_000;

/**
 * Performs a durable HTTP call, given as the JSON text of its request.
 *
 * With the asynchronous pattern on (the default), 202 answers with a `Location` are polled here, with
 * the same headers except the function key, and only the final answer is returned. Not exactly once:
 * after a restart the call begins anew. Never rejects; an HTTP error status is a result, a network
 * error is a failure.
 */
export async function runHttpActivity(
  requestText: string,
  closed: AbortSignal,
): Promise<{ readonly result: string } | { readonly failure: FailureFields }> {
  try {
    const request = JSON.parse(requestText) as HttpRequestOptions;
    if (request.tokenSource !== undefined && request.tokenSource !== null) {
      throw new Error('callHttp with a tokenSource (managed identity) is not available locally');
    }
    return { result: JSON.stringify(await callAndPoll(request, closed)) };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const message = cause instanceof Error ? cause.message : String(cause);
    const stack = error instanceof Error ? (error.stack ?? '') : '';
    return { failure: { Reason: `Durable HTTP call failed: ${message}`, Details: stack } };
  }
}

interface Answer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly content: string;
}

async function callAndPoll(request: HttpRequestOptions, closed: AbortSignal): Promise<Answer> {
  const headers = new Headers(request.headers ?? {});
  let url = new URL(request.uri);
  let answer = await call(url, closed, {
    method: request.method,
    headers: withContentType(headers, request.content),
    ...(request.content === undefined ? {} : { body: request.content }),
  });
  const polls = request.asynchronousPatternEnabled !== false;
  headers.delete('x-functions-key');
  while (polls && answer.statusCode === 202 && answer.headers['location'] !== undefined) {
    await delay(retryAfterMs(answer.headers['retry-after']), undefined, { signal: closed });
    url = new URL(answer.headers['location'], url);
    answer = await call(url, closed, { method: 'GET', headers });
  }
  return answer;
}

function withContentType(headers: Headers, content: string | undefined): Headers {
  const all = new Headers(headers);
  if (content !== undefined && !all.has('content-type')) all.set('content-type', 'text/plain');
  return all;
}

function retryAfterMs(value: string | undefined): number {
  const seconds = Number(value);
  return value === undefined || !(seconds >= 0) ? DEFAULT_POLL_MS : seconds * 1000;
}

async function call(url: URL, closed: AbortSignal, init: RequestInit): Promise<Answer> {
  const signal = AbortSignal.any([closed, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]);
  const response = await fetch(url, { ...init, signal });
  return {
    statusCode: response.status,
    headers: Object.fromEntries(response.headers),
    content: await response.text(),
  };
}
