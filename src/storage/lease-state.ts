import { nextSnowflake, SEQUENCE_LIMIT } from '../sharding/snowflake.ts';
import type { SnowflakeState } from '../sharding/snowflake.ts';

/**
 * The rules by which ids are issued under a leased worker number; pure.
 *
 * Two things keep ids of successive holders of one number apart. The *lease*: the storage service gives the
 * number to one holder at a time, and a holder that cannot be sure of its lease stops. The *promise*: before it
 * issues, a holder writes down a time past which it will not issue under that renewal, and the next holder starts
 * above what it finds there. The promise is what makes it safe for clocks that differ between machines, for a
 * machine that slept, and for an id on its way to the caller while the lease ran out.
 */
export interface HeldWorker {
  /** 0 … 1023. */
  readonly worker: number;
  /** Monotonic time at which the last successful renewal *began*: the service's lease cannot end earlier than counted from here. */
  readonly renewedAtMs: number;
  /** Wall clock, milliseconds: no id carries a later time, by the promise that is stored. */
  readonly issuedUntilMs: number;
  readonly snowflake: SnowflakeState;
}

export interface LeaseTerms {
  readonly leaseMs: number;
  /** How long before its end the lease counts as over. */
  readonly safetyMs: number;
}

/** A lease of `seconds`; it counts as over a tenth (at least a second) early, more than any clock drifts in a minute. */
export function leaseTerms(seconds: number): LeaseTerms {
  return { leaseMs: seconds * 1_000, safetyMs: Math.max(1_000, seconds * 100) };
}

export type IssueStep =
  | { readonly kind: 'issued'; readonly id: bigint; readonly held: HeldWorker }
  /** The millisecond is used up, or the clock is a little behind: again after `waitMs`. */
  | { readonly kind: 'wait'; readonly waitMs: number }
  /** The clock ran past the promise: renew, then again. */
  | { readonly kind: 'renew' }
  /** The number may belong to somebody else, or the clock stepped back far: give it up and take another. */
  | { readonly kind: 'abandon'; readonly reason: 'lease-over' | 'clock-behind' };

/** A clock further behind than this is not waited out by a caller: another number has no such past. */
export const MAX_CLOCK_WAIT_MS = 250;

export interface Instant {
  /** Wall clock, milliseconds. */
  readonly nowMs: number;
  readonly monotonicMs: number;
}

/** One id, or why not now. */
export function issue(held: HeldWorker, at: Instant, terms: LeaseTerms): IssueStep {
  if (at.monotonicMs - held.renewedAtMs >= terms.leaseMs - terms.safetyMs) {
    return { kind: 'abandon', reason: 'lease-over' };
  }
  if (at.nowMs > held.issuedUntilMs) return { kind: 'renew' };
  const step = nextSnowflake(held.snowflake, at.nowMs, held.worker);
  if (step.kind === 'issued') {
    return { kind: 'issued', id: step.id, held: { ...held, snowflake: step.state } };
  }
  if (step.waitMs > MAX_CLOCK_WAIT_MS) return { kind: 'abandon', reason: 'clock-behind' };
  return step;
}

/** The promise to store with a renewal that began at `nowMs`; never lower than one already given. */
export function nextPromise(previousMs: number, nowMs: number, terms: LeaseTerms): number {
  return Math.max(previousMs, nowMs + terms.leaseMs);
}

/** The state of a number just taken over: its first id is later than all that the last holder may have issued. */
export function takenOver(taken: {
  readonly worker: number;
  readonly promisedMs: number;
  readonly renewedAtMs: number;
  readonly issuedUntilMs: number;
}): HeldWorker {
  return {
    worker: taken.worker,
    renewedAtMs: taken.renewedAtMs,
    issuedUntilMs: taken.issuedUntilMs,
    snowflake: { lastMs: taken.promisedMs, sequence: SEQUENCE_LIMIT - 1 },
  };
}

/** Longest wait for a clock that is behind the number's last holder; past it the number is refused. */
export const MAX_TAKEOVER_WAIT_MS = 30_000;
/** While there may be better numbers, one whose past would make us wait longer than this is passed over. */
const PATIENT_AFTER_TRIES = 16;

export type Takeover =
  | { readonly kind: 'take'; readonly waitMs: number }
  /** Our clock is too far behind the promise of the number's last holder. */
  | { readonly kind: 'refuse'; readonly behindMs: number };

/**
 * Whether to take a number over from its last holder, who promised not to issue past `promisedMs` (0: never
 * held). `tries` counts the numbers passed over so far: at first only one that needs next to no wait is taken.
 */
export function decideTakeover(promisedMs: number, nowMs: number, tries: number): Takeover {
  const behindMs = promisedMs + 1 - nowMs;
  if (behindMs <= 0) return { kind: 'take', waitMs: 0 };
  const patienceMs = tries < PATIENT_AFTER_TRIES ? MAX_CLOCK_WAIT_MS : MAX_TAKEOVER_WAIT_MS;
  if (behindMs > patienceMs) return { kind: 'refuse', behindMs };
  return { kind: 'take', waitMs: behindMs };
}

/** What the next holder must start above: the last time used, or where this holder itself had to start. */
export function lastIssuedMs(held: HeldWorker): number {
  return held.snowflake.lastMs;
}

/**
 * The order in which numbers are tried: each of `count` exactly once, from a random start with a random odd
 * stride (`count` is a power of two), so that instances starting together do not walk in line.
 */
export function* probeOrder(count: number, random: () => number): Generator<number> {
  const start = Math.floor(random() * count);
  const stride = Math.floor((random() * count) / 2) * 2 + 1;
  for (let step = 0; step < count; step += 1) yield (start + step * stride) % count;
}
