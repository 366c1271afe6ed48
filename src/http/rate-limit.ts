import { hash } from 'node:crypto';
import type { Clock } from '../kernel/clock.ts';
import { RetryableError } from '../kernel/errors.ts';

/** A token bucket: `perSecond` tokens come in, at most `burst` are kept, each request takes one. Both above 0. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

/** What a caller has left, as of a monotonic time in milliseconds. */
export interface TokenLevel {
  readonly tokens: number;
  readonly atMs: number;
}

/** What is left after one more request; `waitMs` above 0: the request was one too many, and nothing was taken. Pure. */
export function takeToken(
  before: TokenLevel | undefined,
  nowMs: number,
  { perSecond, burst }: RateLimit,
): { readonly level: TokenLevel; readonly waitMs: number } {
  const gained = before === undefined ? burst : ((nowMs - before.atMs) * perSecond) / 1_000;
  const tokens = Math.min(burst, (before?.tokens ?? 0) + gained);
  if (tokens >= 1) return { level: { tokens: tokens - 1, atMs: nowMs }, waitMs: 0 };
  return {
    level: { tokens, atMs: nowMs },
    waitMs: Math.ceil(((1 - tokens) * 1_000) / perSecond),
  };
}

/** Callers that are remembered, some 100 bytes each; beyond that the one that was heard of the longest ago is forgotten. */
const MAX_CALLERS = 10_000;
/** Seconds' worth of requests that may come at once. */
const BURST_SECONDS = 2;

/** Throws `too-many-requests` (retryable, with the time to wait) when the caller has used up its share. */
export type RateLimiter = (caller: string) => void;

/**
 * Limits each caller of this instance. Undefined when there is no limit (0). Per instance, because an exact limit over all
 * of them would cost a round trip to a shared store for each request; what protects the shards is the cap of their pools.
 */
export function createRateLimiter(
  perSecond: number,
  clock: Pick<Clock, 'monotonicMs'>,
): RateLimiter | undefined {
  if (perSecond === 0) return undefined;
  const limit = { perSecond, burst: perSecond * BURST_SECONDS };
  const levels = new Map<string, TokenLevel>();
  return (caller) => {
    const { level, waitMs } = takeToken(levels.get(caller), clock.monotonicMs(), limit);
    // Last in the order of insertion is who was heard of last.
    levels.delete(caller);
    levels.set(caller, level);
    if (levels.size > MAX_CALLERS) levels.delete(levels.keys().next().value as string);
    if (waitMs === 0) return;
    throw RetryableError.tooManyRequests(
      `More than ${perSecond} requests per second came from this caller; nothing was changed. Wait, then send it again.`,
      { retryAfterSeconds: Math.ceil(waitMs / 1_000) },
    );
  };
}

/**
 * Who calls: the function key where one is given (its digest: keys are not kept), else the address that the platform's
 * front end saw last, else all callers together.
 */
export function callerOf(request: { readonly url: string; readonly headers: Headers }): string {
  const key =
    request.headers.get('x-functions-key') ?? new URL(request.url).searchParams.get('code');
  if (key !== null) return `key ${hash('sha256', key, 'hex')}`;
  const forwarded = request.headers.get('x-forwarded-for')?.split(',').at(-1)?.trim();
  return forwarded === undefined || forwarded === ''
    ? 'anybody'
    : `address ${forwarded.slice(0, 64)}`;
}
