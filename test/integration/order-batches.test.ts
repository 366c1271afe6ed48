import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isFailure } from '../../src/database/database-error.ts';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import type { AmountCents } from '../../src/kernel/money.ts';
import { createOrderBatchWriter } from '../../src/orders/batch-writer.ts';
import { rowSetOf } from '../../src/orders/row-set.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import {
  addUsers,
  anOrderRow,
  createBatchInstance,
  ordersOn,
  setOwnership,
  usersOnShard,
  type BatchInstance,
} from '../support/batch-orders.ts';
import { createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import { until } from '../support/http.ts';
import { createRandom } from '../support/random.ts';
import { withBucketOn } from '../support/test-database.ts';

const DEADLINE = { deadlineMs: 15_000 };
const S0 = 0 as ShardId;
const S1 = 1 as ShardId;

let databases: TestDatabases;
let instance: BatchInstance;
let users: string[];
let nextId = 1_000;
const ids = (count: number): number[] => Array.from({ length: count }, () => nextId++);

beforeAll(async () => {
  databases = await createTestDatabases();
  instance = createBatchInstance(databases);
  users = [0, 1, 2].flatMap((shard) => usersOnShard(instance, shard, 30));
  await addUsers(instance, users);
});
afterEach(() => databases.recover());
afterAll(async () => {
  await instance.database.close();
  await databases.drop();
});

describe('a batch over all shards', () => {
  it('tells inserted, duplicate, conflict and unknown user apart, in one call', async () => {
    const fresh = ids(40);
    const rows = fresh.map((id, index) => anOrderRow(users[(index * 7) % 90] ?? '', id));
    expect(await instance.writer.writeOrders(rows, DEADLINE)).toMatchObject({
      inserted: 40,
      duplicates: 0,
      conflicts: [],
      missing: [],
      unsettled: [],
    });
    const again = [
      ...rows.slice(0, 10),
      ...rows.slice(10, 15).map((row) => ({ ...row, amountCents: 999 as AmountCents })),
      ...ids(5).map((id) => anOrderRow(users[0] ?? '', id)),
      anOrderRow('987654321', 77),
    ];
    const outcome = await instance.writer.writeOrders(again, DEADLINE);
    expect(outcome).toMatchObject({ inserted: 5, duplicates: 10 });
    expect(outcome.conflicts.map((row) => row.orderId).toSorted()).toEqual(
      rows
        .slice(10, 15)
        .map((row) => row.orderId)
        .toSorted(),
    );
    expect(outcome.missing.map((row) => row.userId)).toEqual(['987654321']);
  });

  it('counts the second of two equal rows in one batch as duplicate, an unequal one as conflict', async () => {
    const [a = 0, b = 0] = ids(2);
    const user = users[3] ?? '';
    const outcome = await instance.writer.writeOrders(
      [
        anOrderRow(user, a),
        anOrderRow(user, a),
        anOrderRow(user, b),
        anOrderRow(user, b, { amountCents: 5 as AmountCents }),
      ],
      DEADLINE,
    );
    expect(outcome).toMatchObject({ inserted: 2, duplicates: 1 });
    expect(outcome.conflicts).toHaveLength(1);
  });

  it('compares the time of an order only when its sender gave one', async () => {
    const [id = 0] = ids(1);
    const user = users[4] ?? '';
    const later = '2026-03-01T00:00:00.000Z' as never;
    const write = (changes: object) =>
      instance.writer.writeOrders([anOrderRow(user, id, changes)], DEADLINE);
    expect(await write({})).toMatchObject({ inserted: 1 });
    expect(await write({ createdAt: later, createdAtGiven: false })).toMatchObject({
      duplicates: 1,
      conflicts: [],
    });
    expect((await write({ createdAt: later })).conflicts).toHaveLength(1);
  });

  it('stores each row under the bucket of its user', async () => {
    for (const shard of [0, 1, 2]) {
      const rows = await instance.database.onShard(
        shard as ShardId,
        (target) => target.query('SELECT bucket, user_id FROM orders', []),
        DEADLINE,
      );
      expect(rows.length).toBeGreaterThan(0);
      for (const row of rows) expect(row['bucket']).toBe(bucketOf(String(row['user_id'])));
    }
  });

  it('writes what the other shards own while one is stopped, and says what is left', async () => {
    await databases.stack.stopShard(1);
    const rows = [0, 1, 2].flatMap((shard) =>
      usersOnShard(instance, shard, 5).map((user) => anOrderRow(user, nextId++)),
    );
    const outcome = await instance.writer.writeOrders(rows, { deadlineMs: 2_000 });
    expect(outcome.inserted).toBe(10);
    expect(outcome.reason).toMatchObject({ code: 'shard-unavailable', retryable: true });
    expect(outcome.unsettled.map((row) => row.userId).toSorted()).toEqual(
      usersOnShard(instance, 1, 5).toSorted(),
    );
    await databases.stack.startShard(1);
    // The circuit stays open for a moment: calls fail at once rather than press a server that starts.
    const settled = await until(
      () => instance.writer.writeOrders(rows, DEADLINE),
      (again) => again.unsettled.length === 0,
      { timeoutMs: 20_000 },
    );
    expect(settled).toMatchObject({ inserted: 5, duplicates: 10 });
  });
});

describe('a bucket that is not where the map says', () => {
  /** A user of shard 0 of its own per test, and its bucket. */
  let from = 5_000;
  const aMovingUser = async (): Promise<{ user: string; bucket: BucketId }> => {
    const [user = ''] = usersOnShard(instance, 0, 1, from);
    from = Number(user) + 5_000;
    await addUsers(instance, [user]);
    return { user, bucket: bucketOf(user) };
  };
  const moveTo1 = async (user: string, bucket: BucketId): Promise<void> => {
    await setOwnership(instance, 0, { bucket, state: 'gone', movedTo: 1 });
    await instance.database.onShard(
      S1,
      (target) =>
        target.packet([
          `INSERT INTO users (bucket, user_id, email, email_key, created_at) VALUES (${bucket}, ${user}, 'm${user}', UNHEX(SHA2('${user}', 256)), '2026-01-01')`,
        ]),
      DEADLINE,
    );
    await setOwnership(instance, 1, { bucket, state: 'owned' });
  };

  it('is followed to where the shard says it went', async () => {
    const { user, bucket } = await aMovingUser();
    await moveTo1(user, bucket);
    const [moved = 0, stays = 0] = ids(2);
    const outcome = await instance.writer.writeOrders(
      [anOrderRow(user, moved), anOrderRow(users[0] ?? '', stays)],
      DEADLINE,
    );
    expect(outcome).toMatchObject({ inserted: 2, unsettled: [] });
    expect((await ordersOn(instance, 1)).has(String(moved))).toBe(true);
    expect((await ordersOn(instance, 0)).has(String(moved))).toBe(false);
  });

  it('is waited for while it is fenced', async () => {
    const { user, bucket } = await aMovingUser();
    await setOwnership(instance, 0, { bucket, state: 'fenced' });
    const [id = 0] = ids(1);
    const writing = instance.writer.writeOrders([anOrderRow(user, id)], DEADLINE);
    await new Promise((resolve) => setTimeout(resolve, 400));
    await setOwnership(instance, 0, { bucket, state: 'owned' });
    expect(await writing).toMatchObject({ inserted: 1, unsettled: [] });
  });

  it('leaves the rows unsettled when the fence outlasts the deadline', async () => {
    const { user, bucket } = await aMovingUser();
    await setOwnership(instance, 0, { bucket, state: 'fenced' });
    const outcome = await instance.writer.writeOrders([anOrderRow(user, ids(1)[0] ?? 0)], {
      deadlineMs: 500,
    });
    expect(outcome).toMatchObject({ inserted: 0, reason: { code: 'shard-unavailable' } });
    expect(outcome.unsettled).toHaveLength(1);
    await setOwnership(instance, 0, { bucket, state: 'owned' });
  });

  it('is left out of a recorded chunk, the same at every delivery, even when it comes back', async () => {
    const { user, bucket } = await aMovingUser();
    await moveTo1(user, bucket);
    const [moved = 0, stays = 0] = ids(2);
    const rows = [anOrderRow(user, moved), anOrderRow(users[0] ?? '', stays)];
    const key = { ingestionId: 'moved', chunk: '0/0' };
    const first = await instance.writer.writeChunk(S0, key, rowSetOf(rows), DEADLINE);
    expect(first).toMatchObject({ inserted: 1, duplicates: 0 });
    expect([...first.refused.entries()]).toEqual([
      [bucket, { kind: 'refused', state: 'gone', movedTo: 1 }],
    ]);
    await setOwnership(instance, 0, { bucket, state: 'owned' });
    const second = await instance.writer.writeChunk(S0, key, rowSetOf(rows), DEADLINE);
    expect(second).toMatchObject({ inserted: 1, duplicates: 0 });
    expect([...second.refused.keys()]).toEqual([bucket]);
    await setOwnership(instance, 0, { bucket, state: 'gone', movedTo: 1 });
  });

  it('makes a recorded chunk wait when the shard does not know where it went', async () => {
    const { user, bucket } = await aMovingUser();
    await setOwnership(instance, 0, { bucket, state: 'receiving' });
    const key = { ingestionId: 'waits', chunk: '0/0' };
    const writing = instance.writer.writeChunk(
      S0,
      key,
      rowSetOf([anOrderRow(user, nextId++)]),
      DEADLINE,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    await setOwnership(instance, 0, { bucket, state: 'owned' });
    expect(await writing).toMatchObject({ inserted: 1 });
  });

  it('goes by the refreshed map when a shard has no row for it', async () => {
    const { user, bucket } = await aMovingUser();
    await moveTo1(user, bucket);
    await setOwnership(instance, 0, { bucket, state: 'gone' });
    instance.map.stored = withBucketOn(instance.map.stored, bucket, 1);
    const outcome = await instance.writer.writeOrders([anOrderRow(user, nextId++)], DEADLINE);
    expect(outcome).toMatchObject({ inserted: 1, unsettled: [] });
  });
});

describe('a recorded chunk', () => {
  it('is counted once however often it is delivered, also twice at once', async () => {
    const rows = ids(300).map((id, index) => anOrderRow(users[index % 30] ?? '', id));
    const key = { ingestionId: 'again', chunk: '0/1' };
    const deliver = () => instance.writer.writeChunk(S0, key, rowSetOf(rows), DEADLINE);
    const outcomes = await Promise.all([deliver(), deliver(), deliver()]);
    outcomes.push(await deliver());
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ inserted: 300, duplicates: 0, conflicts: 0 });
    }
  });

  it('is counted once when the process dies between the commit and the answer', async () => {
    for (const [point, deaths] of [
      ['orders.beforeBatchCommit', 3],
      ['orders.afterBatchCommit', 1],
    ] as const) {
      const rows = ids(50).map((id) => anOrderRow(users[0] ?? '', id));
      const key = { ingestionId: 'dies', chunk: point };
      let left: number = deaths;
      const dying = createOrderBatchWriter({
        ...instance.services,
        probe: {
          reach: (at) => {
            if (at === point && left-- > 0) throw new Error('killed');
          },
        },
      });
      for (let run = 0; run < deaths; run++) {
        await expect(dying.writeChunk(S0, key, rowSetOf(rows), DEADLINE)).rejects.toThrow('killed');
      }
      expect(await dying.writeChunk(S0, key, rowSetOf(rows), DEADLINE)).toMatchObject({
        inserted: 50,
        duplicates: 0,
      });
    }
  });

  it('keeps its finding of unknown users when they have come to exist since', async () => {
    const [late = ''] = usersOnShard(instance, 0, 1, 90_000);
    const rows = [anOrderRow(late, nextId++), anOrderRow(users[0] ?? '', nextId++)];
    const key = { ingestionId: 'late', chunk: '0/0' };
    const first = await instance.writer.writeChunk(S0, key, rowSetOf(rows), DEADLINE);
    await addUsers(instance, [late]);
    const second = await instance.writer.writeChunk(S0, key, rowSetOf(rows), DEADLINE);
    for (const outcome of [first, second]) {
      expect(outcome).toMatchObject({ inserted: 1, missing: [{ userId: late }] });
    }
  });
});

describe('writers at once', () => {
  it('with overlapping batches lose nothing, double nothing and do not deadlock', async () => {
    const random = createRandom();
    const pool = ids(400);
    let inserted = 0;
    let deadlocks = 0;
    const watched = createOrderBatchWriter({
      ...instance.services,
      database: {
        ...instance.database,
        onShard: (shard, run, options) =>
          instance.database.onShard(
            shard,
            async (target) => {
              try {
                return await run(target);
              } catch (error) {
                if (isFailure(error, 'contention')) deadlocks++;
                throw error;
              }
            },
            options,
          ),
      },
    });
    const writer = async (): Promise<void> => {
      for (let round = 0; round < 12; round++) {
        const rows = Array.from({ length: 100 }, () => {
          const id = pool[random.below(pool.length)] ?? 0;
          return anOrderRow(users[id % users.length] ?? '', id);
        });
        const outcome = await watched.writeOrders(rows, DEADLINE);
        expect(outcome).toMatchObject({ conflicts: [], missing: [], unsettled: [] });
        expect(outcome.inserted + outcome.duplicates).toBe(100);
        inserted += outcome.inserted;
      }
    };
    await Promise.all(Array.from({ length: 6 }, writer));
    const stored = (await Promise.all([0, 1, 2].map((shard) => ordersOn(instance, shard)))).flatMap(
      (orders) => pool.filter((id) => orders.has(String(id))),
    );
    expect(inserted, `SEED=${random.seed}`).toBe(stored.length);
    expect(new Set(stored).size).toBe(stored.length);
    expect(deadlocks).toBe(0);
  });
});
