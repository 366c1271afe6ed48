import { execute } from './statements.ts';
import type { Faults } from './statements.ts';
import { freshToken, idle } from './state.ts';
import type { State, Statement, Worker } from './state.ts';

export interface Transition {
  readonly label: string;
  readonly state: State;
}

/** One worker's turn in a state. */
export interface Turn {
  readonly state: State;
  readonly index: number;
  readonly worker: Worker;
  readonly faults: Faults;
  readonly moves: number;
}

/** By the name of where a worker is: everything it may do there. */
export type Program = Readonly<Record<string, (turn: Turn) => readonly Transition[]>>;

export function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

export function idleAgain(worker: Worker): Worker {
  return idle(worker.kind);
}

/** The worker looks at something, or decides, and goes on. */
export function goOn(turn: Turn, does: string, change: Partial<Worker>): readonly Transition[] {
  const { state, worker } = turn;
  const next = withWorker(state, turn.index, { ...worker, ...change });
  return [{ label: `${nameOf(turn)} ${does}`, state: next }];
}

/**
 * The worker sends a statement: it runs now and the answer comes, or the worker gives up on it and tries again while
 * the statement may still run, at any time. `retried` is what the worker remembers of the try.
 */
export function send(
  turn: Turn,
  statement: Statement,
  then: (worker: Worker, affected: boolean, after: State) => Worker,
  retried: Partial<Worker> = {},
): readonly Transition[] {
  const { state, worker, index } = turn;
  const transitions: Transition[] = [];
  const effect = execute(state, statement, turn.faults);
  if (effect !== 'waits') {
    const next = then(worker, effect.affected, effect.state);
    const did = effect.affected ? '' : ' (nothing)';
    const label = `${nameOf(turn)}: ${statement.kind}${did}`;
    transitions.push({ label, state: withWorker(effect.state, index, next) });
  }
  if (state.adriftLeft > 0) {
    const adrift = [...state.adrift, statement];
    const lost = { ...state, adrift, adriftLeft: state.adriftLeft - 1 };
    const label = `${nameOf(turn)} loses sight of its ${statement.kind}`;
    transitions.push({ label, state: withWorker(lost, index, { ...worker, ...retried }) });
  }
  return transitions;
}

export function nameOf({ worker, index }: Turn): string {
  return `${worker.kind} ${index} (${worker.at})`;
}

export function withWorker(state: State, index: number, worker: Worker): State {
  return { ...state, workers: state.workers.with(index, worker) };
}

/** A token of its own for each try: one that comes late is then nobody's, and makes no earlier write valid again. */
export function claimToken({ state, worker, faults }: Turn): number {
  return (faults.has('one-claim-token') ? worker.next : null) ?? freshToken(state);
}
