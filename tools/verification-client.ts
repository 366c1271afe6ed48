import { z } from 'zod';
import { verificationSchema, type Verification } from '../src/verification/model.ts';
import {
  CannotDo,
  keyRefused,
  sendToApp,
  type AppClientOptions,
  type Reply,
} from './app-client.ts';

export interface ClientOptions extends AppClientOptions {
  readonly sleep: (ms: number) => Promise<void>;
  /** Milliseconds, from anywhere. */
  readonly now: () => number;
}

const POLL_MS = 500;

const accepted = z.object({ verificationId: z.string() });
const problem = z.object({ detail: z.string() });

/** Starts a verification, or joins the one that runs; gives its id. Throws {@link CannotDo}. */
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
 * is up. Throws {@link CannotDo}.
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
      throw new CannotDo(
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
    if (error instanceof CannotDo) return undefined;
    throw error;
  }
  if (reply.status === 200) return verificationSchema.parse(reply.body);
  if (isPassing(reply.status)) return undefined;
  throw refused(options, reply);
}

function isPassing(status: number): boolean {
  return status === 429 || status >= 500;
}

function send(
  options: ClientOptions,
  method: string,
  path: string,
  json?: unknown,
): Promise<Reply> {
  return sendToApp(options, { method, path: `verifications${path}`, json });
}

function refused(options: ClientOptions, reply: Reply): CannotDo {
  const ofKey = keyRefused(options, reply);
  if (ofKey !== undefined) return ofKey;
  const { status, body } = reply;
  const told = problem.safeParse(body).data?.detail;
  if (status === 404) {
    return new CannotDo(`There are no verifications at ${options.url}: is this the Shardline app?`);
  }
  return new CannotDo(`The app answered ${status}${told === undefined ? '' : `: ${told}`}`);
}
