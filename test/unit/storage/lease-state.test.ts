import '../../support/seed.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readSnowflake, SEQUENCE_LIMIT } from '../../../src/sharding/snowflake.ts';
import {
  decideTakeover,
  issue,
  leaseTerms,
  MAX_CLOCK_WAIT_MS,
  MAX_TAKEOVER_WAIT_MS,
  nextPromise,
  probeOrder,
  takenOver,
} from '../../../src/storage/lease-state.ts';
import type { HeldWorker } from '../../../src/storage/lease-state.ts';

const TERMS = leaseTerms(30);
const T0 = Date.UTC(2026, 0, 1);
const M0 = 5_000;

/** Worker 7, leased at T0 after a holder who promised not to pass T0 - 1. */
function held(changes: Partial<HeldWorker> = {}): HeldWorker {
  const taken = takenOver({
    worker: 7,
    promisedMs: T0 - 1,
    renewedAtMs: M0,
    issuedUntilMs: T0 + TERMS.leaseMs,
  });
  return { ...taken, ...changes };
}

const at = (ms: number) => ({ nowMs: T0 + ms, monotonicMs: M0 + ms });

describe('terms', () => {
  test.each([
    [15, 15_000, 1_500],
    [30, 30_000, 3_000],
    [60, 60_000, 6_000],
  ])('a lease of %i s counts as over a tenth early', (seconds, leaseMs, safetyMs) => {
    expect(leaseTerms(seconds)).toEqual({ leaseMs, safetyMs });
  });
});

describe('issuing', () => {
  test('an id carries the time and the worker', () => {
    const step = issue(held(), at(3), TERMS);
    expect(step.kind).toBe('issued');
    if (step.kind !== 'issued') return;
    expect(readSnowflake(step.id)).toEqual({ timeMs: T0 + 3, worker: 7, sequence: 0 });
  });

  test('stops when the lease may be over, counted from the start of the last renewal', () => {
    const last = TERMS.leaseMs - TERMS.safetyMs - 1;
    expect(issue(held(), at(last), TERMS).kind).toBe('issued');
    expect(issue(held(), at(last + 1), TERMS)).toEqual({ kind: 'abandon', reason: 'lease-over' });
  });

  test('stops at the promise, also when the wall clock ran ahead of the lease', () => {
    const ahead = { nowMs: T0 + TERMS.leaseMs, monotonicMs: M0 + 1 };
    expect(issue(held(), ahead, TERMS).kind).toBe('issued');
    expect(issue(held(), { ...ahead, nowMs: ahead.nowMs + 1 }, TERMS)).toEqual({ kind: 'renew' });
  });

  test('a machine that slept, its monotonic clock with it, finds its promise passed', () => {
    const awake = { nowMs: T0 + 3_600_000, monotonicMs: M0 + 1 };
    expect(issue(held(), awake, TERMS)).toEqual({ kind: 'renew' });
  });

  test('a small step back is waited out, a large one gives the number up', () => {
    const first = issue(held(), at(1_000), TERMS);
    if (first.kind !== 'issued') throw new Error('expected an id');
    const back = (ms: number) =>
      issue(first.held, { nowMs: T0 + 1_000 - ms, monotonicMs: M0 + 1_001 }, TERMS);
    expect(back(MAX_CLOCK_WAIT_MS)).toEqual({ kind: 'wait', waitMs: MAX_CLOCK_WAIT_MS });
    expect(back(MAX_CLOCK_WAIT_MS + 1)).toEqual({ kind: 'abandon', reason: 'clock-behind' });
  });

  test('4096 ids per millisecond, then the next one', () => {
    let state = held();
    const ids = new Set<bigint>();
    for (let n = 0; n < SEQUENCE_LIMIT; n += 1) {
      const step = issue(state, at(5), TERMS);
      if (step.kind !== 'issued') throw new Error(`refused at ${n}`);
      state = step.held;
      ids.add(step.id);
    }
    expect(ids.size).toBe(SEQUENCE_LIMIT);
    expect(issue(state, at(5), TERMS)).toEqual({ kind: 'wait', waitMs: 1 });
    expect(issue(state, at(6), TERMS).kind).toBe('issued');
  });

  test('the first id is later than all that the last holder may have issued', () => {
    const taken = held({ snowflake: { lastMs: T0 + 10, sequence: SEQUENCE_LIMIT - 1 } });
    expect(issue(taken, at(10), TERMS)).toEqual({ kind: 'wait', waitMs: 1 });
    expect(issue(taken, at(11), TERMS).kind).toBe('issued');
  });
});

describe('promises', () => {
  test('reach a lease ahead and never go back', () => {
    expect(nextPromise(0, T0, TERMS)).toBe(T0 + 30_000);
    expect(nextPromise(T0 + 90_000, T0, TERMS)).toBe(T0 + 90_000);
  });
});

describe('taking over', () => {
  test('a number never held, or whose past is over, is taken at once', () => {
    expect(decideTakeover(0, T0, 0)).toEqual({ kind: 'take', waitMs: 0 });
    expect(decideTakeover(T0 - 1, T0, 0)).toEqual({ kind: 'take', waitMs: 0 });
  });

  test('a past a little ahead of our clock is waited for', () => {
    expect(decideTakeover(T0 + 99, T0, 0)).toEqual({ kind: 'take', waitMs: 100 });
  });

  test('a longer wait is taken only after sixteen better numbers were sought', () => {
    expect(decideTakeover(T0 + 999, T0, 15)).toEqual({ kind: 'refuse', behindMs: 1_000 });
    expect(decideTakeover(T0 + 999, T0, 16)).toEqual({ kind: 'take', waitMs: 1_000 });
  });

  test('more than 30 seconds are refused always', () => {
    const promised = T0 + MAX_TAKEOVER_WAIT_MS - 1;
    expect(decideTakeover(promised, T0, 1_000).kind).toBe('take');
    expect(decideTakeover(promised + 1, T0, 1_000).kind).toBe('refuse');
  });
});

interface Life {
  /** How far this machine's wall clock is from the true time. */
  readonly offsetMs: number;
  /** By how much its wall clock moves between two requests for an id. */
  readonly steps: readonly number[];
  /** Whether it gave the number back, or was killed. */
  readonly graceful: boolean;
}

/** One holder's life: the times of the ids it issued, and the promise that it leaves behind. */
function live(life: Life, promisedMs: number, trueMs: number) {
  let wallMs = T0 + trueMs + life.offsetMs;
  const takeover = decideTakeover(promisedMs, wallMs, 99);
  if (takeover.kind === 'refuse') return { times: [], promisedMs, trueMs };
  wallMs += takeover.waitMs;
  let nowMs = trueMs + takeover.waitMs;
  const issuedUntilMs = nextPromise(promisedMs, wallMs, TERMS);
  let state = takenOver({ worker: 1, promisedMs, renewedAtMs: nowMs, issuedUntilMs });
  const times: number[] = [];
  for (const stepMs of life.steps) {
    // The wall clock may jump; monotonic time only passes.
    wallMs += stepMs;
    nowMs += Math.max(0, Math.min(stepMs, 5_000));
    const step = issue(state, { nowMs: wallMs, monotonicMs: nowMs }, TERMS);
    if (step.kind === 'abandon') break;
    if (step.kind === 'issued') {
      times.push(readSnowflake(step.id).timeMs);
      state = step.held;
    }
    if (step.kind === 'renew') {
      const until = nextPromise(state.issuedUntilMs, wallMs, TERMS);
      state = { ...state, renewedAtMs: nowMs, issuedUntilMs: until };
    }
  }
  const left = life.graceful ? state.snowflake.lastMs : state.issuedUntilMs;
  return { times, promisedMs: left, trueMs: nowMs };
}

describe('successive holders of one number', () => {
  test('issue later and later times, however their clocks differ, jump and stop', () => {
    const life = fc.record({
      offsetMs: fc.integer({ min: -40_000, max: 40_000 }),
      steps: fc.array(fc.integer({ min: -500, max: 45_000 }), { minLength: 1, maxLength: 12 }),
      graceful: fc.boolean(),
    });
    let issued = 0;
    fc.assert(
      fc.property(fc.array(life, { minLength: 2, maxLength: 6 }), (lives) => {
        let latestMs = 0;
        let before = { times: [] as number[], promisedMs: 0, trueMs: 0 };
        for (const next of lives) {
          before = live(next, before.promisedMs, before.trueMs);
          issued += before.times.length;
          for (const timeMs of before.times.slice(0, 1)) expect(timeMs).toBeGreaterThan(latestMs);
          latestMs = Math.max(latestMs, ...before.times);
        }
      }),
      { numRuns: 500 },
    );
    expect(issued).toBeGreaterThan(1_000);
  });
});

describe('the order of probing', () => {
  test('names each number once', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
        const order = [...probeOrder(1024, () => random)];
        expect(new Set(order).size).toBe(1024);
        expect(Math.min(...order)).toBe(0);
        expect(Math.max(...order)).toBe(1023);
      }),
      { numRuns: 20 },
    );
  });
});
