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
