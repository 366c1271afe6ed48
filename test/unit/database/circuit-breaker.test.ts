import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CLOSED,
  createCircuitBreaker,
  nextCircuit,
} from '../../../src/database/circuit-breaker.ts';
import type { CircuitState } from '../../../src/database/circuit-breaker.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const POLICY = { failures: 3, openMs: 1_000 };

function setUp() {
  const clock = createFakeClock();
  const changes: string[] = [];
  const breaker = createCircuitBreaker(POLICY, clock, (from, to) => changes.push(`${from}>${to}`));
  const fail = (times: number): void => {
    for (let count = 0; count < times; count++) breaker.failed();
  };
  return { clock, changes, breaker, fail };
}

describe('the circuit breaker', () => {
  it('opens after so many failures in a row', () => {
    const { breaker, fail } = setUp();
    fail(2);
    breaker.answered();
    fail(2);
    expect(breaker.admit()).toEqual({ kind: 'call' });
    fail(1);
    expect(breaker.admit()).toEqual({ kind: 'refused', retryInMs: 1_000 });
  });

  it('lets one caller probe when its time is over, and closes on an answer', async () => {
    const { breaker, fail, clock, changes } = setUp();
    fail(3);
    await clock.advance(999);
    expect(breaker.admit()).toEqual({ kind: 'refused', retryInMs: 1 });
    await clock.advance(1);
    expect(breaker.admit()).toEqual({ kind: 'probe' });
    expect(breaker.admit().kind).toBe('refused');
    breaker.answered();
    expect(breaker.admit()).toEqual({ kind: 'call' });
    expect(changes).toEqual(['closed>open', 'open>half-open', 'half-open>closed']);
  });

  it('opens again when the probe fails', async () => {
    const { breaker, fail, clock } = setUp();
    fail(3);
    await clock.advance(1_000);
    breaker.admit();
    fail(1);
    expect(breaker.state()).toBe('open');
    expect(breaker.admit()).toEqual({ kind: 'refused', retryInMs: 1_000 });
  });

  it('lets another caller probe when the first never came back', async () => {
    const { breaker, fail, clock } = setUp();
    fail(3);
    await clock.advance(1_000);
    expect(breaker.admit().kind).toBe('probe');
    await clock.advance(1_000);
    expect(breaker.admit().kind).toBe('probe');
    expect(breaker.admit().kind).toBe('refused');
  });

  it('is not kept open by stragglers', async () => {
    const { breaker, fail, clock } = setUp();
    fail(3);
    await clock.advance(900);
    fail(5);
    await clock.advance(100);
    expect(breaker.admit().kind).toBe('probe');
  });

  it('never refuses for longer than its time, and only after enough failures', () => {
    const anyEvent = fc.constantFrom('asked', 'answered', 'failed');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyEvent, fc.integer({ min: 0, max: 700 })), { maxLength: 100 }),
        (events) => {
          let state: CircuitState = CLOSED;
          let nowMs = 0;
          let failuresInRow = 0;
          for (const [kind, passedMs] of events) {
            nowMs += passedMs;
            state = nextCircuit(state, { kind } as never, nowMs, POLICY);
            if (kind === 'failed') failuresInRow += 1;
            if (kind === 'answered') failuresInRow = 0;
            const refusedForMs = state.kind === 'closed' ? 0 : state.untilMs - nowMs;
            expect(refusedForMs).toBeLessThanOrEqual(POLICY.openMs);
            expect(state.kind === 'closed').toBe(failuresInRow < POLICY.failures);
          }
        },
      ),
    );
  });
});
