import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Attempt, Shard } from '../../src/database/contracts.ts';
import { fenceBucket, findRefusal, unfenceBucket } from '../../src/database/ownership.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createTestInstance, createTestMap, withBucketOn } from '../support/test-database.ts';
import type { TestInstance } from '../support/test-database.ts';

const PATIENT = { deadlineMs: 30_000 };
/** Of the user 1001; on shard 0 by the first map. */
const BUCKET = 195 as BucketId;
const SQL_NOW = '2026-01-01 00:00:00.000';

let databases: TestDatabases;
let instance: TestInstance;

beforeAll(async () => {
  databases = await createTestDatabases();
  instance = createTestInstance(databases);
});

beforeEach(() => {
  const names = databases.shards.map((shard) => shard.name);
  instance.map.held = createTestMap(names).held;
  instance.map.stored = instance.map.held;
  instance.map.refreshes = 0;
  instance.logger.events.length = 0;
});

afterEach(async () => {
  for (const shard of instance.database.shardIds()) {
    if (shard === 0) await setOwnership(shard, 'owned', 1, null);
    else
      await onShard(shard, (on) =>
        on.execute('DELETE FROM bucket_ownership WHERE bucket = ?', [BUCKET]),
      );
  }
});

afterAll(async () => {
  await instance.database.close();
  await databases.drop();
});

function onShard<T>(shard: number, run: (shard: Shard) => Promise<T>): Promise<T> {
  return instance.database.onShard(shard as ShardId, run, PATIENT);
}

async function setOwnership(
  shard: number,
  state: string,
  epoch: number,
  movedTo: number | null,
): Promise<void> {
  await onShard(shard, (on) =>
    on.execute(
      'REPLACE INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (?, ?, ?, ?, ?)',
      [BUCKET, state, epoch, movedTo, SQL_NOW],
    ),
  );
}

/** The id of the shard that answers as owner. */
async function whoOwns(shard: Shard): Promise<Attempt<number>> {
  return (await findRefusal(shard, BUCKET)) ?? { kind: 'answered', value: shard.id };
}

function askOwner(deadlineMs = 10_000): Promise<number> {
  return instance.database.onOwner(BUCKET, whoOwns, { deadlineMs });
}

describe('a new shard', () => {
  it('owns the buckets that the first map gives it, and knows who it is', async () => {
    for (const shard of instance.database.shardIds()) {
      const rows = await onShard(shard, (on) =>
        on.query(
          "SELECT bucket FROM bucket_ownership WHERE state = 'owned' AND epoch = 1 ORDER BY bucket",
          [],
        ),
      );
      const expected = Array.from({ length: 1024 }, (_, bucket) => bucket).filter(
        (bucket) => bucket % 3 === shard,
      );
      expect(rows.map((row) => row['bucket'])).toEqual(expected);
      const [identity] = await onShard(shard, (on) => on.query('SELECT * FROM shard_identity', []));
      expect(identity).toMatchObject({
        cluster_id: 'test',
        shard_id: shard,
        shard_name: databases.shards[shard]?.name,
      });
    }
  });

  it('is not given buckets that have moved before', async () => {
    const fresh = await createTestDatabases();
    const map = createTestMap(fresh.shards.map((shard) => shard.name));
    map.held = withBucketOn(withBucketOn(map.held, BUCKET, 1), 7, 0);
    const other = createTestInstance(fresh, { map });
    try {
      const owned = await other.database.onShard(
        0 as ShardId,
        (on) => on.query('SELECT bucket FROM bucket_ownership', []),
        PATIENT,
      );
      const buckets = new Set(owned.map((row) => row['bucket']));
      expect(buckets.has(BUCKET)).toBe(false); // Went from here.
      expect(buckets.has(7)).toBe(false); // Came by a move: the mover writes that row.
      expect(buckets.size).toBe(341);
    } finally {
      await other.database.close();
      await fresh.drop();
    }
  });
});

describe('a call to the owner of a bucket', () => {
  it('goes where the map says', async () => {
    expect(await askOwner()).toBe(0);
    expect(instance.map.refreshes).toBe(0);
  });

  it('follows a redirect at once and learns the new map', async () => {
    await setOwnership(0, 'gone', 1, 1);
    await setOwnership(1, 'owned', 2, null);
    instance.map.stored = withBucketOn(instance.map.held, BUCKET, 1);
    const startedAt = performance.now();
    expect(await askOwner()).toBe(1);
    expect(performance.now() - startedAt).toBeLessThan(500);
    expect(instance.map.refreshes).toBe(1);
    expect((await instance.database.route(BUCKET)).shard).toBe(1);
    instance.logger.events.length = 0;
    expect(await askOwner()).toBe(1);
    expect(instance.logger.events).toEqual([]);
  });

  it('waits while the bucket is fenced', async () => {
    const change = { bucket: BUCKET, epoch: 1, nowMs: systemClock.nowMs() };
    await onShard(0, (on) => fenceBucket(on, change));
    const asked = askOwner();
    const first = await Promise.race([asked, systemClock.sleep(300).then(() => 'waiting')]);
    expect(first).toBe('waiting');
    await onShard(0, (on) => unfenceBucket(on, change));
    expect(await asked).toBe(0);
  });

  it('is answered at its deadline when the fence stays', async () => {
    await setOwnership(0, 'fenced', 1, null);
    const startedAt = performance.now();
    await expect(askOwner(600)).rejects.toMatchObject({
      code: 'shard-unavailable',
      retryable: true,
      details: { state: 'fenced' },
    });
    expect(performance.now() - startedAt).toBeLessThan(700);
  });

  it('goes through a whole cutover without an error', async () => {
    const change = { bucket: BUCKET, epoch: 1, nowMs: systemClock.nowMs() };
    await setOwnership(2, 'receiving', 2, null);
    await onShard(0, (on) => fenceBucket(on, change));
    const asked = askOwner();
    await systemClock.sleep(100);
    await setOwnership(2, 'owned', 2, null);
    await setOwnership(0, 'gone', 1, 2);
    expect(await asked).toBe(2);
  });

  it.each([['absent'], ['receiving'], ['gone']])(
    'looks at the map when the shard it names is %s of the bucket',
    async (state) => {
      instance.map.held = withBucketOn(instance.map.held, BUCKET, 2);
      instance.map.stored = withBucketOn(instance.map.held, BUCKET, 0);
      if (state !== 'absent') await setOwnership(2, state, 2, null);
      expect(await askOwner()).toBe(0);
      expect(instance.map.refreshes).toBe(1);
    },
  );

  it('does not run in circles when shards point at each other', async () => {
    await setOwnership(0, 'gone', 1, 1);
    await setOwnership(1, 'gone', 2, 0);
    let attempts = 0;
    const asked = instance.database.onOwner<number>(
      BUCKET,
      (shard) => {
        attempts += 1;
        return whoOwns(shard);
      },
      { deadlineMs: 1_000 },
    );
    await expect(asked).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(attempts).toBeLessThan(300);
  });

  it('says at once that it does not know the shard a bucket went to', async () => {
    await setOwnership(0, 'gone', 1, 9);
    const startedAt = performance.now();
    await expect(askOwner()).rejects.toMatchObject({
      code: 'shard-unavailable',
      details: { reason: expect.stringContaining('missing from SHARDS') },
    });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it('passes on what the attempt throws, tried once', async () => {
    let attempts = 0;
    const asked = instance.database.onOwner(
      BUCKET,
      (shard) => {
        attempts += 1;
        return shard.execute('SELECT * FROM no_such_table', []).then(() => {
          throw new Error('not reached');
        });
      },
      PATIENT,
    );
    await expect(asked).rejects.toMatchObject({ failure: 'rejected', retryable: false });
    expect(attempts).toBe(1);
  });
});
