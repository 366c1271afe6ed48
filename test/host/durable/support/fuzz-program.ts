/** A random orchestration, as data: one interpreter runs it durably, another evaluates it directly. */
export interface Program {
  /** Each round is one execution; between rounds the orchestration continues as new. */
  readonly rounds: readonly (readonly Statement[])[];
  /** Ends with an error instead of a result. */
  readonly throws: boolean;
}

/** Something that becomes one task. `n` makes its value differ from that of others. */
export type Leaf =
  | { readonly kind: 'activity'; readonly n: number; readonly delayMs: number }
  | {
      /** Fails `failures` times; succeeds if that is less than `attempts`. */
      readonly kind: 'retry';
      readonly n: number;
      readonly key: string;
      readonly failures: number;
      readonly attempts: number;
    }
  | { readonly kind: 'child'; readonly program: Program }
  | {
      readonly kind: 'childRetry';
      readonly n: number;
      readonly key: string;
      readonly failures: number;
      readonly attempts: number;
    }
  | { readonly kind: 'timer'; readonly delayMs: number }
  | { readonly kind: 'entity'; readonly n: number; readonly key: string };

export type Statement =
  | { readonly kind: 'yield'; readonly leaf: Leaf }
  | { readonly kind: 'all'; readonly leaves: readonly Leaf[] }
  /** `Task.all` inside `Task.all`. */
  | { readonly kind: 'nested'; readonly outer: readonly Leaf[]; readonly inner: readonly Leaf[] }
  /** `Task.any` over what is left, again and again. */
  | { readonly kind: 'anyLoop'; readonly leaves: readonly Leaf[] }
  /** `Task.any`, then `Task.all` over the others. */
  | { readonly kind: 'anyThenAll'; readonly leaves: readonly Leaf[] }
  /** An activity against a timer that is cancelled. */
  | { readonly kind: 'race'; readonly n: number }
  /** Raises an event at itself, then waits for it. */
  | { readonly kind: 'event'; readonly n: number; readonly name: string }
  /** Signals, then a call that must see them. */
  | { readonly kind: 'signals'; readonly count: number; readonly key: string }
  /** Two calls under a lock, together with another orchestration's entity. */
  | { readonly kind: 'lock'; readonly n: number; readonly key: string };

/** Value of a task that failed. */
export const FAILED = -1;

/** The function every activity computes. */
export function compute(input: number, n: number): number {
  return (input * 31 + n * 7 + 1) % 1_000_003;
}

/** Folds the value of a statement into the running value, so that every later input depends on it. */
export function fold(accumulator: number, value: number): number {
  return compute(accumulator, value + 2);
}

/** A seeded random source (mulberry32): numbers in [0, 1). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Builds a random program; `prefix` makes its keys unique. */
export function randomProgram(random: () => number, prefix: string, depth = 0): Program {
  let keys = 0;
  const int = (below: number): number => Math.floor(random() * below);
  const key = (): string => `${prefix}-${keys++}`;
  const many = <T>(least: number, most: number, make: () => T): T[] =>
    Array.from({ length: least + int(most - least + 1) }, make);
  const flaky = () => {
    const attempts = 1 + int(4);
    return { n: int(1000), key: key(), failures: int(attempts + 2), attempts };
  };

  function leaf(): Leaf {
    const dice = random();
    if (dice < 0.3) return { kind: 'activity', n: int(1000), delayMs: int(3) };
    if (dice < 0.6) return { kind: 'retry', ...flaky() };
    if (dice < 0.7) return { kind: 'timer', delayMs: int(6) };
    if (dice < 0.8) return { kind: 'entity', n: int(1000), key: key() };
    if (dice < 0.9) return { kind: 'childRetry', ...flaky() };
    if (depth >= 2) return { kind: 'activity', n: int(1000), delayMs: 0 };
    return { kind: 'child', program: randomProgram(random, key(), depth + 1) };
  }
  function statement(): Statement {
    const dice = random();
    if (dice < 0.25) return { kind: 'yield', leaf: leaf() };
    if (dice < 0.45) return { kind: 'all', leaves: many(1, 5, leaf) };
    if (dice < 0.55) return { kind: 'nested', outer: many(1, 3, leaf), inner: many(1, 3, leaf) };
    if (dice < 0.68) return { kind: 'anyLoop', leaves: many(1, 4, leaf) };
    if (dice < 0.8) return { kind: 'anyThenAll', leaves: many(2, 4, leaf) };
    if (dice < 0.85) return { kind: 'race', n: int(1000) };
    if (dice < 0.9) return { kind: 'event', n: int(1000), name: key() };
    if (dice < 0.95) return { kind: 'signals', count: 1 + int(4), key: key() };
    return { kind: 'lock', n: int(1000), key: key() };
  }
  const rounds = many(1, depth === 0 ? 2 : 1, () => many(1, depth === 0 ? 5 : 3, statement));
  return { rounds, throws: random() < 0.1 };
}

/** Evaluates a program without any durable machinery; {@link FAILED} when it throws. */
export function evaluate(program: Program, input: number): number {
  let value = input;
  for (const statement of program.rounds.flat()) value = fold(value, evaluateOne(statement, value));
  return program.throws ? FAILED : value;
}

function evaluateOne(statement: Statement, input: number): number {
  switch (statement.kind) {
    case 'yield':
      return evaluateLeaf(statement.leaf, input);
    case 'all':
      return sumOrFailed(statement.leaves, input);
    case 'nested':
      return sumOrFailed([...statement.outer, ...statement.inner], input);
    case 'anyLoop':
      return statement.leaves.reduce((sum, leaf) => sum + evaluateLeaf(leaf, input), 0);
    case 'anyThenAll':
      // Which leaf wins is open, so only this is certain: each value is right, or all is void.
      return sumOrFailed(statement.leaves, input);
    case 'race':
    case 'event':
      return compute(input, statement.n);
    case 'signals':
      return statement.count;
    case 'lock':
      return 2 * statement.n;
  }
}

/** The value of one leaf. */
export function evaluateLeaf(leaf: Leaf, input: number): number {
  switch (leaf.kind) {
    case 'activity':
      return compute(input, leaf.n);
    case 'retry':
    case 'childRetry':
      return leaf.failures < leaf.attempts ? compute(input, leaf.n) : FAILED;
    case 'child':
      return evaluate(leaf.program, input);
    case 'timer':
      return 0;
    case 'entity':
      return leaf.n;
  }
}

function sumOrFailed(leaves: readonly Leaf[], input: number): number {
  const values = leaves.map((leaf) => evaluateLeaf(leaf, input));
  return values.includes(FAILED) ? FAILED : values.reduce((sum, value) => sum + value, 0);
}
