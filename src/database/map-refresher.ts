import type { Clock } from '../kernel/clock.ts';
import type { BucketMapSource } from '../storage/contracts.ts';

/** A shard that is away makes every request ask for a newer map; the store is asked this often at most. */
const MIN_INTERVAL_MS = 200;

/**
 * A function that has the map read anew, unless that was begun less than {@link MIN_INTERVAL_MS} ago; then it waits for
 * that read. Throws what the store throws.
 */
export function createMapRefresher(
  source: Pick<BucketMapSource, 'refresh'>,
  clock: Pick<Clock, 'monotonicMs'>,
): () => Promise<void> {
  let last: { readonly atMs: number; readonly done: Promise<void> } | undefined;
  return () => {
    const nowMs = clock.monotonicMs();
    if (last === undefined || nowMs - last.atMs >= MIN_INTERVAL_MS) {
      last = { atMs: nowMs, done: source.refresh().then(() => undefined) };
    }
    return last.done;
  };
}
