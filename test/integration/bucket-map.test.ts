import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import type { BucketMap } from '../../src/sharding/bucket-map.ts';
import { createBlobStore } from '../../src/storage/blob-store.ts';
import { createBucketMapCache } from '../../src/storage/bucket-map-cache.ts';
import { createBucketMapStore } from '../../src/storage/bucket-map-store.ts';
import type { BucketMapStore } from '../../src/storage/bucket-map-store.ts';
import { createVersionedBlobs } from '../../src/storage/versioned-blobs.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import { createTestStorage } from '../support/storage.ts';

let databases: TestDatabases;

beforeAll(async () => {
  databases = await createTestDatabases();
});
afterEach(() => databases.recover());
afterAll(() => databases.drop());

/** The store of one instance; `scene` names a cluster of its own. */
function storeOf(scene: string, shardNames: readonly string[] = ['a', 'b', 'c']): BucketMapStore {
  const clients = createTestStorage({ ...databases, prefix: `${databases.prefix}-${scene}` });
  const blobs = createBlobStore(clients);
  return createBucketMapStore({
    blobs: createVersionedBlobs(clients, 'control'),
    list: (...args) => blobs.list(...args),
    shardNames,
    clock: systemClock,
    random: Math.random,
    logger: createRecordingLogger(),
    newClusterId: randomUUID,
  });
}

function nextOf(map: BucketMap): BucketMap {
  return { ...map, version: map.version + 1, updatedAt: randomUUID() };
}

test('32 instances that start together make one map', async () => {
  const loaded = await Promise.all(Array.from({ length: 32 }, () => storeOf('start').load()));
  const [first] = loaded;
  for (const each of loaded) expect(each).toEqual(first);
  expect(await storeOf('start').version(1)).toEqual(first?.map);
});

test('8 instances that bring a new shard together make one next version', async () => {
  await storeOf('grow').load();
  const names = ['a', 'b', 'c', 'd'];
  const loaded = await Promise.all(Array.from({ length: 8 }, () => storeOf('grow', names).load()));
  for (const { map } of loaded) expect(map).toEqual(loaded[0]?.map);
  expect(loaded[0]?.map).toMatchObject({ version: 2, shards: { 3: { name: 'd', state: 'new' } } });
  expect((await storeOf('grow').version(1))?.shards).toHaveLength(3);
});

test('of writers that race one wins each version, and the history has every one of them', async () => {
  const history: BucketMap[] = [(await storeOf('race').load()).map];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const store = storeOf('race');
      for (let won = 0; won < 3;) {
        const current = await store.load();
        const replaced = await store.replace(current, nextOf(current.map));
        if (replaced === undefined) continue;
        history.push(replaced.map);
        won += 1;
      }
    }),
  );
  const store = storeOf('race');
  expect((await store.load()).map.version).toBe(25);
  expect(history.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 25 }, (_, index) => index + 1),
  );
  for (const map of history) expect(await store.version(map.version)).toEqual(map);
});

test('a version that was replaced by another is not replaced again', async () => {
  const store = storeOf('cas');
  const first = await store.load();
  const second = await store.replace(first, nextOf(first.map));
  expect(second?.map.version).toBe(2);
  expect(await store.replace(first, nextOf(first.map))).toBeUndefined();
  expect(await store.reload(first)).toEqual(second);
});

describe('the cache of an instance', () => {
  test('sees a change by another instance', async () => {
    const cache = createBucketMapCache({
      store: storeOf('seen'),
      cacheMs: 100,
      clock: systemClock,
      logger: createRecordingLogger(),
    });
    expect((await cache.current()).version).toBe(1);
    const other = storeOf('seen');
    const first = await other.load();
    await other.replace(first, nextOf(first.map));
    expect((await cache.refresh()).version).toBe(2);
    const second = await other.load();
    await other.replace(second, nextOf(second.map));
    await systemClock.sleep(150);
    expect((await cache.current()).version).toBe(3);
  });

  test('serves the old map while the storage is away, but never starts without one', async () => {
    const logger = createRecordingLogger();
    const cacheOf = () =>
      createBucketMapCache({ store: storeOf('away'), cacheMs: 0, clock: systemClock, logger });
    const cache = cacheOf();
    const { clusterId } = await cache.current();
    await databases.stack.stopStorage();
    expect((await cache.current()).clusterId).toBe(clusterId);
    await systemClock.sleep(1_000);
    const startMs = performance.now();
    expect((await cache.current()).clusterId).toBe(clusterId);
    expect(performance.now() - startMs).toBeLessThan(100);
    expect(logger.events.map(({ event }) => event)).toContain('sharding.bucket_map_refresh_failed');
    await expect(cacheOf().current()).rejects.toMatchObject({ code: 'storage-unavailable' });
    await databases.stack.startStorage();
    expect((await cacheOf().current()).clusterId).toBe(clusterId);
  });
});
