import { describe, expect, test } from 'vitest';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import { initialBucketMap } from '../../../src/sharding/bucket-map.ts';
import { createBucketMapCache } from '../../../src/storage/bucket-map-cache.ts';
import type { StoredBucketMap } from '../../../src/storage/bucket-map-store.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

const FIRST = initialBucketMap({ clusterId: 'c', shardNames: ['a', 'b'], updatedAt: 'now' });

function stored(version: number): StoredBucketMap {
  return { map: { ...FIRST, version }, etag: `"${version}"` };
}

/** A store whose reads end when the test says so. */
function createScene(cacheMs = 5_000) {
  const clock = createFakeClock();
  const logger = createRecordingLogger();
  const waiting: ((result: StoredBucketMap | Error) => void)[] = [];
  const answer = () =>
    new Promise<StoredBucketMap>((resolve, reject) => {
      waiting.push((result) => {
        if (result instanceof Error) reject(result);
        else resolve(result);
      });
    });
  const scene = { loads: 0, reloads: 0 };
  const cache = createBucketMapCache({
    store: {
      load: () => {
        scene.loads += 1;
        return answer();
      },
      reload: () => {
        scene.reloads += 1;
        return answer();
      },
    },
    cacheMs,
    clock,
    logger,
  });
  return {
    cache,
    clock,
    logger,
    scene,
    /** Ends the oldest read under way. */
    end: async (result: StoredBucketMap | Error): Promise<void> => {
      await settle();
      const next = waiting.shift();
      if (next === undefined) throw new Error('no read is under way');
      next(result);
      await settle();
    },
    pending: () => waiting.length,
  };
}

/** A scene whose cache holds version 1. */
async function createLoaded(cacheMs?: number) {
  const loaded = createScene(cacheMs);
  const first = loaded.cache.current();
  await loaded.end(stored(1));
  await first;
  return loaded;
}

describe('the first load', () => {
  test('is one for all who ask, and later calls are served without a read', async () => {
    const { cache, scene, end } = createScene();
    const asked = Promise.all(Array.from({ length: 10 }, () => cache.current()));
    await end(stored(1));
    for (const map of await asked) expect(map.version).toBe(1);
    expect((await cache.current()).version).toBe(1);
    expect(scene).toMatchObject({ loads: 1, reloads: 0 });
  });

  test('throws while the storage is away, and works once it is back', async () => {
    const { cache, clock, end } = createScene();
    expect(cache.cached()).toBeUndefined();
    const failed = expect(cache.current()).rejects.toMatchObject({ code: 'storage-unavailable' });
    await end(RetryableError.storageUnavailable());
    await failed;
    const again = cache.current();
    await clock.advance(100);
    await end(stored(1));
    expect((await again).version).toBe(1);
  });
});

describe('a stale map', () => {
  test('is replaced by one shared conditional read', async () => {
    const { cache, clock, scene, end } = await createLoaded();
    await clock.advance(5_001);
    const asked = Promise.all(Array.from({ length: 10 }, () => cache.current()));
    await end(stored(2));
    for (const map of await asked) expect(map.version).toBe(2);
    expect(scene.reloads).toBe(1);
  });

  test('is served when the read takes long; the read still counts for the next caller', async () => {
    const { cache, clock, end } = await createLoaded();
    await clock.advance(5_001);
    const asked = cache.current();
    await clock.advance(1_000);
    expect((await asked).version).toBe(1);
    await end(stored(2));
    expect((await cache.current()).version).toBe(2);
  });

  test('is served at once, and logged, while the storage is away', async () => {
    const { cache, clock, logger, scene, end, pending } = await createLoaded();
    await clock.advance(5_001);
    const asked = cache.current();
    await end(RetryableError.storageUnavailable());
    expect((await asked).version).toBe(1);
    expect(logger.events.at(-1)).toMatchObject({
      level: 'warn',
      event: 'sharding.bucket_map_refresh_failed',
      fields: { errorCode: 'storage-unavailable', version: 1 },
    });
    expect((await cache.current()).version).toBe(1);
    expect(pending()).toBe(0);
    await clock.advance(1_001);
    expect((await cache.current()).version).toBe(1);
    expect(scene.reloads).toBe(2);
    await end(stored(2));
    expect((await cache.current()).version).toBe(2);
  });

  test('is not served when the new one contradicts SHARDS', async () => {
    const { cache, clock, end } = await createLoaded();
    await clock.advance(5_001);
    const asked = expect(cache.current()).rejects.toMatchObject({ code: 'configuration-invalid' });
    await end(PermanentError.configuration([{ path: 'SHARDS', message: 'renamed' }]));
    await asked;
  });
});

describe('refresh', () => {
  test('reads although the map is fresh', async () => {
    const { cache, clock, end } = await createLoaded();
    const asked = cache.refresh();
    await clock.advance(50);
    await end(stored(2));
    expect((await asked).version).toBe(2);
  });

  test('never takes the answer of a read that began before it', async () => {
    const { cache, clock, end } = await createLoaded();
    await clock.advance(5_001);
    const stale = cache.current();
    await settle();
    const refreshed = cache.refresh();
    await end(stored(2));
    expect((await stale).version).toBe(2);
    await clock.advance(50);
    await end(stored(3));
    expect((await refreshed).version).toBe(3);
  });

  test('a burst costs at most one read under way and one after it', async () => {
    const { cache, clock, scene, end } = await createLoaded();
    const burst = Promise.all(Array.from({ length: 100 }, () => cache.refresh()));
    await clock.advance(50);
    await end(stored(2));
    await clock.advance(50);
    await end(stored(3));
    expect((await burst).map(({ version }) => version)).toContain(2);
    expect(scene.reloads).toBe(2);
  });

  test('reads are at least 50 ms apart', async () => {
    const { cache, clock, scene, end } = await createLoaded();
    await clock.advance(10);
    const asked = cache.refresh();
    await clock.advance(39);
    expect(scene.reloads).toBe(0);
    await clock.advance(1);
    expect(scene.reloads).toBe(1);
    await end(stored(2));
    await asked;
  });

  test('serves what is there when the storage is away', async () => {
    const { cache, clock, end } = await createLoaded();
    const asked = cache.refresh();
    await clock.advance(50);
    await end(RetryableError.storageUnavailable());
    expect((await asked).version).toBe(1);
    expect(cache.cached()).toMatchObject({ map: { version: 1 }, ageMs: 50 });
  });
});
