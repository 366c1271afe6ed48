const MIN_MS = 100;

/** Randomised exponential waiting between empty polls: 100 ms doubling to `maxMs`, ±20 %. */
export class PollingBackoff {
  readonly #maxMs: number;
  readonly #random: () => number;
  #exponent = 0;

  constructor(maxMs: number, random: () => number = Math.random) {
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** The next wait in milliseconds; never above `maxMs`. */
  next(): number {
    const base = Math.min(this.#maxMs, MIN_MS * 2 ** this.#exponent);
    if (base < this.#maxMs) this.#exponent += 1;
    return Math.min(this.#maxMs, base * (0.8 + 0.4 * this.#random()));
  }

  reset(): void {
    this.#exponent = 0;
  }
}
