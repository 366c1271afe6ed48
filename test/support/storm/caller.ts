import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpReply } from '../http.ts';

/** Counts what callers were told, and keeps what they should not have been told. */
export interface Caller {
  readonly counts: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
  /**
   * Sends once. Undefined when the outcome is unknown (503 or a broken connection, where these are allowed) or when the
   * answer was wrong, which is kept as a failure.
   */
  once(what: string, send: () => Promise<HttpReply>, wanted: readonly number[]): Promise<Answer>;
  /** As `once`, but what may be repeated is repeated until the outcome is known. */
  insist(what: string, send: () => Promise<HttpReply>, wanted: readonly number[]): Promise<Answer>;
  fail(what: string, detail: string): void;
}

export type Answer =
  | { readonly kind: 'as-wanted'; readonly reply: HttpReply }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'wrong' };

/** Longer than the longest outage and restart of a storm together. */
const PATIENCE_MS = 180_000;
const PAUSE_MS = 300;
/** Enough to see what went wrong. */
const MOST_FAILURES = 50;

/** `mayBreak`: 503 and broken connections are no failures, as the host is killed and servers are stopped. */
export function createCaller(options: { readonly mayBreak: boolean }): Caller {
  const counts: Record<string, number> = {};
  const failures: string[] = [];
  const fail = (what: string, detail: string): void => {
    if (failures.length < MOST_FAILURES) failures.push(`${what}: ${detail.slice(0, 1_500)}`);
  };
  const count = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const once: Caller['once'] = async (what, send, wanted) => {
    const reply = await send().catch((error: unknown) => String(error));
    const status = typeof reply === 'string' ? 'broken' : reply.status;
    count(`${what} ${status}`);
    if (typeof reply !== 'string' && wanted.includes(reply.status)) {
      return { kind: 'as-wanted', reply };
    }
    if (options.mayBreak && (status === 'broken' || status === 503)) return { kind: 'unknown' };
    fail(what, typeof reply === 'string' ? reply : `${reply.status} ${reply.text}`);
    return { kind: 'wrong' };
  };
  return {
    counts,
    failures,
    once,
    fail,
    insist: async (what, send, wanted) => {
      const deadline = performance.now() + PATIENCE_MS;
      for (;;) {
        const answer = await once(what, send, wanted);
        if (answer.kind !== 'unknown') return answer;
        if (performance.now() > deadline) {
          fail(what, `no outcome within ${PATIENCE_MS} ms`);
          return { kind: 'wrong' };
        }
        await sleep(PAUSE_MS);
      }
    },
  };
}
