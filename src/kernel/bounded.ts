import type { Clock } from './clock.ts';

/**
 * Runs `run` for each item, at most `limit` at a time, and gives the results in the order of the items.
 * The first throw ends it: no further item is begun, and the throw is passed on once those under way have settled.
 */
export async function mapBounded<T, R>(
  items: readonly T[],
  limit: number,
  run: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    while (!failed && next < items.length) {
      const index = next++;
      try {
        results[index] = await run(items[index] as T);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(
    Array.from({ length: Math.min(limit, items.length) }, worker),
  );
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return results;
}

/** Work that goes on while its caller does: at most `limit` pieces at once, and nothing begun after one has failed. */
export class Background {
  readonly #limit: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Begins the work as soon as there is room for it, and does not wait for its end. Throws what an earlier one threw. */
  async begin(work: () => Promise<void>): Promise<void> {
    while (this.#running.size >= this.#limit) await Promise.race(this.#running);
    this.#throwFailure();
    const running = work()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Waits until all has ended. Throws what the first that failed has thrown. */
  async end(): Promise<void> {
    await Promise.all(this.#running);
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** What `work` gives, or `late` when it takes longer than `limitMs`. Work that is late goes on unobserved. */
export async function within<T, L>(
  clock: Clock,
  limit: { readonly limitMs: number; readonly late: L },
  work: Promise<T>,
): Promise<T | L> {
  const stop = new AbortController();
  const timer = clock.sleep(limit.limitMs, stop.signal).then(
    () => limit.late,
    () => limit.late,
  );
  try {
    return await Promise.race([work, timer]);
  } finally {
    stop.abort(new Error('not needed any more'));
  }
}
