/**
 * host.json's `maxConcurrentRequests` and `maxOutstandingRequests`: how many HTTP functions run at
 * once, and how many may run or wait before the host answers 429. -1 means unlimited.
 */
export class RequestGate {
  readonly #maxConcurrent: number;
  readonly #maxOutstanding: number;
  readonly #waiting: (() => void)[] = [];
  readonly #onIdle: (() => void)[] = [];
  #running = 0;
  #isClosed = false;

  constructor(limits: {
    readonly maxConcurrentRequests: number;
    readonly maxOutstandingRequests: number;
  }) {
    const unlimited = (value: number): number => (value < 0 ? Number.POSITIVE_INFINITY : value);
    this.#maxConcurrent = unlimited(limits.maxConcurrentRequests);
    this.#maxOutstanding = unlimited(limits.maxOutstandingRequests);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Lets nobody in any more, and resolves when all who are in or waiting have left. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#running > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  /** Waits for a place and returns the function that frees it; undefined when closed or too many wait. */
  async enter(): Promise<(() => void) | undefined> {
    const isFull = this.#running + this.#waiting.length >= this.#maxOutstanding;
    if (this.#isClosed || isFull) return undefined;
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
    if (next !== undefined) return next();
    this.#running -= 1;
    if (this.#running === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
