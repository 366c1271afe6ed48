import type { Clock } from '../kernel/clock.ts';
import { assertNever } from '../kernel/exhaustive.ts';

/**
 * Circuit breaker of one shard (Nygard, "Release It!"): after `failures` connection-level failures in a row
 * callers are turned away at once for `openMs`, so that a dead server costs them neither time nor connections;
 * then one caller at a time probes it.
 */
export interface CircuitPolicy {
  readonly failures: number;
  readonly openMs: number;
}

/** Times are monotonic milliseconds. */
export type CircuitState =
  | { readonly kind: 'closed'; readonly failures: number }
  | { readonly kind: 'open'; readonly untilMs: number }
  /** One probe is under way; past `untilMs` it counts as gone and another may start. */
  | { readonly kind: 'half-open'; readonly untilMs: number };

export type CircuitEvent =
  /** Somebody wants to call. */
  | { readonly kind: 'asked' }
  /** The server answered, be it with an error. */
  | { readonly kind: 'answered' }
  /** The server could not be talked to. */
  | { readonly kind: 'failed' };

export const CLOSED: CircuitState = { kind: 'closed', failures: 0 };

/**
 * Next state; pure. `asked` changes the state only when it starts a probe: open and due → half-open. Answers of
 * calls that began before the circuit opened count too: an answer is proof that the server is back.
 */
export function nextCircuit(
  state: CircuitState,
  event: CircuitEvent,
  nowMs: number,
  policy: CircuitPolicy,
): CircuitState {
  switch (event.kind) {
    case 'asked':
      return state.kind !== 'closed' && nowMs >= state.untilMs
        ? { kind: 'half-open', untilMs: nowMs + policy.openMs }
        : state;
    case 'answered':
      return CLOSED;
    case 'failed':
      // A late failure must not prolong an open circuit, or stragglers would keep it open.
      if (state.kind === 'open') return state;
      if (state.kind === 'closed' && state.failures + 1 < policy.failures) {
        return { kind: 'closed', failures: state.failures + 1 };
      }
      return { kind: 'open', untilMs: nowMs + policy.openMs };
    default:
      return assertNever(event);
  }
}

export type Admission =
  | { readonly kind: 'call' }
  /** The circuit was open and is due: this caller, and no other, finds out whether the server is back. */
  | { readonly kind: 'probe' }
  | { readonly kind: 'refused'; readonly retryInMs: number };

export interface CircuitBreaker {
  /** Asks to call; each `call` or `probe` is followed by one {@link answered} or {@link failed}. */
  admit(): Admission;
  answered(): void;
  failed(): void;
  state(): CircuitState['kind'];
}

/** Holds the state of one shard's circuit. `onChange` is told of every change of kind. */
export function createCircuitBreaker(
  policy: CircuitPolicy,
  clock: Pick<Clock, 'monotonicMs'>,
  onChange: (from: CircuitState['kind'], to: CircuitState['kind']) => void,
): CircuitBreaker {
  let state = CLOSED;
  const apply = (event: CircuitEvent): CircuitState => {
    const previous = state;
    state = nextCircuit(previous, event, clock.monotonicMs(), policy);
    if (state.kind !== previous.kind) onChange(previous.kind, state.kind);
    return previous;
  };
  return {
    admit: () => {
      const previous = apply({ kind: 'asked' });
      if (state.kind === 'closed') return { kind: 'call' };
      if (state !== previous) return { kind: 'probe' };
      return { kind: 'refused', retryInMs: Math.max(0, state.untilMs - clock.monotonicMs()) };
    },
    answered: () => void apply({ kind: 'answered' }),
    failed: () => void apply({ kind: 'failed' }),
    state: () => state.kind,
  };
}
