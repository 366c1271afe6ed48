/** Repeatable randomness for tests: the seed is printed by the test and taken from `SEED`. */
export interface Random {
  readonly seed: number;
  /** [0, 1) */
  next(): number;
  /** Whole number in [0, limit). */
  below(limit: number): number;
}

/** mulberry32, a small well-known generator with 32 bits of state; quality is enough to scatter test moments. */
export function createRandom(seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { seed, next, below: (limit) => Math.floor(next() * limit) };
}
