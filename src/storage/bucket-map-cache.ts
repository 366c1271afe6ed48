import type { Clock } from '../kernel/clock.ts';
import { isRetryable } from '../kernel/errors.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Logger } from '../kernel/logger.ts';
import type { BucketMapStore, StoredBucketMap } from './bucket-map-store.ts';
import type { BucketMapSource } from './contracts.ts';

export interface BucketMapCacheOptions {
  readonly store: Pick<BucketMapStore, 'load' | 'reload'>;
  /** Age at which `current` reads again, milliseconds; 0 reads for each burst of calls. */
  readonly cacheMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Starts of two reads are at least this far apart, so that a burst of refusals is not a burst of reads. */
const MIN_READ_INTERVAL_MS = 50;
/** How long a caller with a stale map waits for the new one. The map is a hint: routing by an old one costs a redirect, waiting costs more. */
const STALE_WAIT_MS = 1_000;
/** While reads fail nobody waits for one; this often one is tried on the side. */
const FAILING_READ_INTERVAL_MS = 1_000;

interface Held {
  readonly stored: StoredBucketMap;
  /** When the read that gave it began: what it says was true at some moment after that. */
  readonly asOfMs: number;
}

/**
 * The map as one instance holds it. Reads are shared, spaced and never doubled. Once a map is there, a
 * storage account that does not answer is logged and the old map served; only the first load can throw
 * `storage-unavailable`. A map that contradicts `SHARDS` throws `configuration-invalid` whenever it appears.
 */
export function createBucketMapCache(options: BucketMapCacheOptions): BucketMapSource {
  const { clock } = options;
  let held: Held | undefined;
  let lastReadMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<StoredBucketMap> | undefined;
  let queued: Promise<StoredBucketMap> | undefined;
  let failing = false;

  const read = async (): Promise<StoredBucketMap> => {
    const waitMs = lastReadMs + MIN_READ_INTERVAL_MS - clock.monotonicMs();
    if (waitMs > 0) await clock.sleep(waitMs);
    lastReadMs = clock.monotonicMs();
    const known = held?.stored;
    try {
      const stored = await (known === undefined
        ? options.store.load()
        : options.store.reload(known));
      logChange(options.logger, known, stored);
      held = { stored, asOfMs: lastReadMs };
      failing = false;
      return stored;
    } catch (error) {
      failing = true;
      if (known === undefined || !isRetryable(error)) throw error;
      options.logger.log('warn', 'sharding.bucket_map_refresh_failed', {
        version: known.map.version,
        ageMs: Math.round(clock.monotonicMs() - (held?.asOfMs ?? lastReadMs)),
        ...errorFields(error),
      });
      return known;
    }
  };

  const startReading = (): Promise<StoredBucketMap> => {
    reading ??= read().finally(() => {
      reading = undefined;
    });
    return reading;
  };

  /** A read that begins after this call: the one under way may have seen the map before what the caller knows. */
  const readAfterNow = (): Promise<StoredBucketMap> => {
    if (reading === undefined) return startReading();
    queued ??= reading
      .catch(() => undefined)
      .then(() => {
        queued = undefined;
        return startReading();
      });
    return queued;
  };

  return {
    current: async () => {
      if (held === undefined) return (await startReading()).map;
      if (clock.monotonicMs() - held.asOfMs <= options.cacheMs) return held.stored.map;
      if (!failing) return (await firstOf(startReading(), held.stored, clock)).map;
      if (clock.monotonicMs() - lastReadMs > FAILING_READ_INTERVAL_MS)
        ignoreOutcome(startReading());
      return held.stored.map;
    },
    refresh: async () => (await readAfterNow()).map,
    cached: () =>
      held && { map: held.stored.map, ageMs: Math.round(clock.monotonicMs() - held.asOfMs) },
  };
}

/** What the read brings, or the stale map when it takes long; the read goes on for the next caller. */
async function firstOf(
  reading: Promise<StoredBucketMap>,
  stale: StoredBucketMap,
  clock: Clock,
): Promise<StoredBucketMap> {
  const enough = new AbortController();
  const giveUp = clock.sleep(STALE_WAIT_MS, enough.signal).then(
    () => stale,
    () => reading,
  );
  try {
    return await Promise.race([reading, giveUp]);
  } finally {
    enough.abort();
  }
}

/** For a read whose failure was logged and whose result is kept where the next caller looks. */
function ignoreOutcome(reading: Promise<StoredBucketMap>): void {
  reading.catch(() => undefined);
}

function logChange(
  logger: Logger,
  before: StoredBucketMap | undefined,
  after: StoredBucketMap,
): void {
  if (before?.map.version === after.map.version) return;
  logger.log('info', 'sharding.bucket_map_loaded', {
    version: after.map.version,
    previousVersion: before?.map.version,
    moves: after.map.moves.length,
  });
}
