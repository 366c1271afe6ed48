/**
 * host.json's `maxConcurrentRequests` and `maxOutstandingRequests`: how many HTTP functions run at
 * once, and how many may run or wait before the host answers 429. -1 means unlimited.
 */
export class RequestGate {
  readonly #maxConcurrent: number;
  readonly #maxOutstanding: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limits: {
    readonly maxConcurrentRequests: number;
    readonly maxOutstandingRequests: number;
  }) {
    const unlimited = (value: number): number => (value < 0 ? Number.POSITIVE_INFINITY : value);
    this.#maxConcurrent = unlimited(limits.maxConcurrentRequests);
    this.#maxOutstanding = unlimited(limits.maxOutstandingRequests);
  }

  /** Waits for a place and returns the function that frees it; undefined when too many are waiting. */
  async enter(): Promise<(() => void) | undefined> {
    if (this.#running + this.#waiting.length >= this.#maxOutstanding) return undefined;
    if (this.#running >= this.#maxConcurrent) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running += 1;
    }
    return () => this.#leave();
  }

  #leave(): void {
    const next = this.#waiting.shift();
    // The place passes on directly, so `running` stays the same.
    if (next === undefined) this.#running -= 1;
    else next();
  }
}
