import { z } from 'zod';
import { verificationSchema, type Verification } from '../src/verification/model.ts';

/** The command could not do what it was asked to; `message` says what to do next. */
export class CannotVerify extends Error {}

export interface ClientOptions {
  /** Origin of the app. */
  readonly url: string;
  readonly key: string | undefined;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly sleep: (ms: number) => Promise<void>;
  /** Milliseconds, from anywhere. */
  readonly now: () => number;
}

const POLL_MS = 500;
const REQUEST_LIMIT_MS = 30_000;

const accepted = z.object({ verificationId: z.string() });
const problem = z.object({ detail: z.string() });

/** Starts a verification, or joins the one that runs; gives its id. Throws {@link CannotVerify}. */
export async function startOrJoin(
  options: ClientOptions,
): Promise<{ readonly verificationId: string; readonly joined: boolean }> {
  const reply = await send(options, 'POST', '', {});
  if (reply.status === 202) {
    return { verificationId: accepted.parse(reply.body).verificationId, joined: false };
  }
  if (reply.status !== 409) throw refused(options, reply);
  const latest = await send(options, 'GET', '/latest');
  if (latest.status !== 200) throw refused(options, latest);
  return { verificationId: accepted.parse(latest.body).verificationId, joined: true };
}

/**
 * Waits for the end of a verification. An app that does not answer for a while (it restarts) is asked again until the time
 * is up. Throws {@link CannotVerify}.
 */
export async function waitForEnd(
  options: ClientOptions,
  wait: {
    readonly verificationId: string;
    readonly timeoutMs: number;
    readonly onProgress: (progress: Verification['progress']) => void;
  },
): Promise<Verification> {
  const { verificationId, timeoutMs, onProgress } = wait;
  const endMs = options.now() + timeoutMs;
  for (;;) {
    const found = await ask(options, verificationId);
    if (found !== undefined && found.status !== 'running') return found;
    if (found !== undefined) onProgress(found.progress);
    if (options.now() >= endMs) {
      throw new CannotVerify(
        `Verification ${verificationId} is not through after ${Math.round(timeoutMs / 1_000)} s. It goes on; run this command again to join it, or give it longer with --timeout.`,
      );
    }
    await options.sleep(POLL_MS);
  }
}

/** Undefined when there was no answer that says anything. */
async function ask(options: ClientOptions, id: string): Promise<Verification | undefined> {
  let reply: Reply;
  try {
    reply = await send(options, 'GET', `/${id}`);
  } catch (error) {
    if (error instanceof CannotVerify) return undefined;
    throw error;
  }
  if (reply.status === 200) return verificationSchema.parse(reply.body);
  if (isPassing(reply.status)) return undefined;
  throw refused(options, reply);
}

function isPassing(status: number): boolean {
  return status === 429 || status >= 500;
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

async function send(
  options: ClientOptions,
  method: string,
  path: string,
  json?: unknown,
): Promise<Reply> {
  const url = `${options.url.replace(/\/+$/, '')}/api/ops/verifications${path}`;
  try {
    const response = await options.fetch(url, {
      method,
      headers: {
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(options.key === undefined ? {} : { 'x-functions-key': options.key }),
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
    });
    return { status: response.status, body: parse(await response.text()) };
  } catch (cause) {
    throw new CannotVerify(
      `Nothing answers at ${options.url}. Start the app (npm start), or say where it is with --url.`,
      { cause },
    );
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refused({ url, key }: ClientOptions, { status, body }: Reply): CannotVerify {
  const told = problem.safeParse(body).data?.detail;
  if (status === 401 || status === 403) {
    return new CannotVerify(
      key === undefined
        ? 'The app asks for an admin key: give it with --key or SHARDLINE_ADMIN_KEY.'
        : 'The app does not take this key. An admin key (on Azure the _master key) is needed.',
    );
  }
  if (status === 404) {
    return new CannotVerify(`There are no verifications at ${url}: is this the Shardline app?`);
  }
  return new CannotVerify(`The app answered ${status}${told === undefined ? '' : `: ${told}`}`);
}
