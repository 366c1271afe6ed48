import '../../support/seed.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBucketMap } from '../../../src/sharding/bucket-map.ts';
import type { BucketMap } from '../../../src/sharding/bucket-map.ts';
import {
  createBucketMapStore,
  historyBlob,
  MAP_BLOB,
} from '../../../src/storage/bucket-map-store.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createMemoryControl } from '../../support/memory-control.ts';
import type { MemoryControl } from '../../support/memory-control.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

let clusters = 0;

function storeOn(control: MemoryControl, shardNames: readonly string[] = ['s0', 's1', 's2']) {
  return createBucketMapStore({
    blobs: control.blobs,
    list: control.list,
    shardNames,
    clock: createFakeClock({ autoSleep: true }),
    random: () => 0,
    logger: createRecordingLogger(),
    newClusterId: () => `cluster-${(clusters += 1)}`,
  });
}

/** A next version that no other writer proposes. */
function nextOf(map: BucketMap, by: string): BucketMap {
  return { ...map, version: map.version + 1, updatedAt: `2026-01-01 by ${by}` };
}

const live = (control: MemoryControl): BucketMap =>
  parseBucketMap(control.texts.get(MAP_BLOB) as string);

describe('the first start', () => {
  test('creates the map of the configured shards, and its history', async () => {
    const control = createMemoryControl();
    const { map } = await storeOn(control).load();
    expect(map).toMatchObject({
      version: 1,
      shards: [{ name: 's0' }, { name: 's1' }, { name: 's2' }],
    });
    expect(map.assignment.slice(0, 4)).toEqual([0, 1, 2, 0]);
    expect(parseBucketMap(control.texts.get(historyBlob(1)) as string)).toEqual(map);
  });

  test('is one however many instances make it', async () => {
    const control = createMemoryControl();
    const all = await Promise.all(Array.from({ length: 32 }, () => storeOn(control).load()));
    expect(new Set(all.map(({ map }) => map.clusterId)).size).toBe(1);
    expect(new Set(all.map(({ etag }) => etag)).size).toBe(1);
  });

  test('does not replace a map that was deleted', async () => {
    const control = createMemoryControl();
    await storeOn(control).load();
    control.texts.delete(MAP_BLOB);
    await expect(storeOn(control).load()).rejects.toMatchObject({
      code: 'configuration-invalid',
      message: expect.stringContaining('history') as string,
    });
    expect(control.texts.has(MAP_BLOB)).toBe(false);
  });

  test('says so when the stored map is damaged', async () => {
    const control = createMemoryControl();
    await control.blobs.swap(MAP_BLOB, '{"formatVersion":1', undefined);
    await expect(storeOn(control).load()).rejects.toMatchObject({ code: 'configuration-invalid' });
  });
});

describe('SHARDS against the map', () => {
  test('new shards at the end extend the map once, however many instances bring them', async () => {
    const control = createMemoryControl();
    await storeOn(control).load();
    const names = ['s0', 's1', 's2', 's3'];
    const all = await Promise.all(Array.from({ length: 8 }, () => storeOn(control, names).load()));
    for (const { map } of all) expect(map.version).toBe(2);
    expect(live(control).shards.map(({ name, state }) => `${name} ${state}`)).toEqual([
      's0 active',
      's1 active',
      's2 active',
      's3 new',
    ]);
    expect(control.texts.has(historyBlob(1)) && control.texts.has(historyBlob(2))).toBe(true);
  });

  test.each([
    [['s0', 's2', 's1'], 'keep their name and position'],
    [['s0', 's1'], 'missing from SHARDS'],
  ])('%j stops the app and says why', async (names, why) => {
    const control = createMemoryControl();
    await storeOn(control).load();
    await expect(storeOn(control, names).load()).rejects.toMatchObject({
      code: 'configuration-invalid',
      message: expect.stringContaining(why) as string,
    });
    expect(live(control).version).toBe(1);
  });
});

describe('replacing', () => {
  test('the older of two writers wins, the other is told', async () => {
    const control = createMemoryControl();
    const [a, b] = [storeOn(control), storeOn(control)];
    const current = await a.load();
    const results = await Promise.all([
      a.replace(current, nextOf(current.map, 'a')),
      b.replace(current, nextOf(current.map, 'b')),
    ]);
    expect(results.filter((result) => result !== undefined)).toHaveLength(1);
    expect(live(control).version).toBe(2);
  });

  test('a version may not be skipped', async () => {
    const control = createMemoryControl();
    const store = storeOn(control);
    const current = await store.load();
    const skipped = { ...nextOf(current.map, 'a'), version: 3 };
    await expect(store.replace(current, skipped)).rejects.toMatchObject({ code: 'internal' });
  });

  test('reload returns the same value while nothing changed, and the new map after', async () => {
    const control = createMemoryControl();
    const store = storeOn(control);
    const current = await store.load();
    expect(await store.reload(current)).toBe(current);
    const next = await store.replace(current, nextOf(current.map, 'a'));
    expect(await storeOn(control).reload(current)).toEqual(next);
  });

  test('every version can be read again', async () => {
    const control = createMemoryControl();
    const store = storeOn(control);
    let current = await store.load();
    const seen = [current.map];
    for (let round = 0; round < 5; round += 1) {
      current = (await store.replace(current, nextOf(current.map, `${round}`))) as typeof current;
      seen.push(current.map);
    }
    for (const map of seen) expect(await store.version(map.version)).toEqual(map);
    expect(await store.version(99)).toBeUndefined();
  });

  test('wherever writers crash or lose, each version that was live is kept as it was', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.boolean()), { maxLength: 12 }),
        async (rounds) => {
          const control = createMemoryControl();
          const wasLive = new Map<number, string>();
          const note = (): void => {
            const text = control.texts.get(MAP_BLOB) as string;
            wasLive.set(parseBucketMap(text).version, text);
          };
          await storeOn(control).load();
          note();
          for (const [writers, crash] of rounds) {
            let swapsLeft = crash ? writers : Number.POSITIVE_INFINITY;
            control.beforeSwap = () => {
              swapsLeft -= 1;
              if (swapsLeft < 0) throw new Error('crashed');
            };
            await Promise.allSettled(
              Array.from({ length: writers }, async (_, index) => {
                const store = storeOn(control);
                const current = await store.load();
                await store.replace(current, nextOf(current.map, `${index}`));
              }),
            );
            control.beforeSwap = () => undefined;
            note();
          }
          const store = storeOn(control);
          for (const [version, text] of wasLive) {
            expect(JSON.stringify(await store.version(version))).toBe(text);
          }
          for (let version = 1; version < live(control).version; version += 1) {
            expect(control.texts.has(historyBlob(version))).toBe(true);
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});
