import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ShardedDatabase } from '../../src/database/contracts.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { isSummedByBucket } from '../../src/revenue/model.ts';
import { COUNT_BUCKETS, SUM_SHARD } from '../../src/revenue/statements.ts';
import { revenueTotal } from '../../src/revenue/total.ts';
import { createTestDatabases, queryShard } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createRevenueWorld } from '../support/revenue-world.ts';
import type { RevenueWorld } from '../support/revenue-world.ts';
import { createTestInstance, testConfig } from '../support/test-database.ts';
import type { TestInstance } from '../support/test-database.ts';

const SETTINGS = { REVENUE_DEADLINE_MS: '8000', REVENUE_MAX_SHARDS_AT_ONCE: '1' };

let databases: TestDatabases;
let app: TestInstance;
let world: RevenueWorld;

beforeAll(async () => {
  databases = await createTestDatabases();
  app = createTestInstance(databases, { settings: SETTINGS });
  await app.database.prewarm();
});
beforeEach(async () => {
  world = await createRevenueWorld(app.database);
});
afterEach(() => databases.recover());
afterAll(async () => {
  await app.database.close();
  await databases.drop();
});

/** The total as the app gives it; `before` runs ahead of the question to each shard. */
function totalOf(
  options: { readonly partial?: boolean; readonly before?: (shard: number) => Promise<void> } = {},
) {
  const database: ShardedDatabase = {
    ...boundTo(app.database),
    onShard: async (shard, run, limit) => {
      await options.before?.(shard);
      return app.database.onShard(shard, run, limit);
    },
  };
  const config = testConfig(databases, SETTINGS);
  return revenueTotal(
    { config, clock: systemClock, database },
    { partial: options.partial ?? false },
  );
}

function boundTo(database: ShardedDatabase): ShardedDatabase {
  return {
    onOwner: (...args) => database.onOwner(...args),
    onShard: (...args) => database.onShard(...args),
    onSession: (...args) => database.onSession(...args),
    route: (bucket) => database.route(bucket),
    shardIds: () => database.shardIds(),
    inspect: (shard) => database.inspect(shard),
    prewarm: () => database.prewarm(),
    close: () => database.close(),
  };
}

describe('the total of a cluster at rest', () => {
  test('is that of all orders, per shard and in all', async () => {
    expect(await totalOf()).toEqual({
      ...world.expectedTotal(),
      complete: true,
      asOf: expect.stringMatching(/^\d{4}-.*Z$/) as string,
    });
  });

  test('of no orders at all is zero', async () => {
    await world.clear();
    const total = await totalOf();
    expect(total).toMatchObject({ totalCents: '0', orders: 0, complete: true });
    expect(total.perShard).toHaveLength(3);
  });

  test('counts a large sum to the cent', async () => {
    await world.addMany({ shard: 0, bucket: 0, orders: 5_000, cents: 2_147_483_647 });
    const total = await totalOf();
    expect(total).toMatchObject(world.expectedTotal());
    expect(BigInt(total.totalCents)).toBeGreaterThan(10_000_000_000_000n);
  });
});

describe('an order counts once', () => {
  test('when a moved bucket’s old copy is still there', async () => {
    await world.copyRows({ bucket: 3, from: 0, to: 1 });
    await world.setOwnership(1, { bucket: 3, state: 'owned', epoch: 2 });
    await world.setOwnership(0, { bucket: 3, state: 'gone', epoch: 1, movedTo: 1 });
    world.moved(3, 1);
    expect(await totalOf()).toMatchObject(world.expectedTotal());
  });

  test('when a shard has old copies of so many that it is summed bucket by bucket', async () => {
    const given = Array.from({ length: 40 }, (_, index) => index * 3);
    for (const bucket of given) await world.move({ bucket, from: 0, to: 1 });
    const before = async (shard: number): Promise<void> => {
      if (shard === 2) await world.move({ bucket: 123, from: 0, to: 2 });
    };
    const { totalCents, orders } = world.expectedTotal();
    expect(await totalOf({ before })).toMatchObject({ totalCents, orders, complete: true });
    expect(await totalOf()).toMatchObject(world.expectedTotal());
    const counts = await Promise.all(
      [0, 1].map((shard) => queryShard(databases, shard, COUNT_BUCKETS)),
    );
    const [source, target] = counts
      .flat()
      .map(({ owned, others }) => ({ owned: Number(owned), others: Number(others) }));
    const others = [...given, 123].filter((bucket) => world.hasOrders(bucket)).length;
    expect([source, target]).toEqual([
      { owned: 342 - 41, others },
      { owned: 341 + 40, others: 0 },
    ]);
    expect(isSummedByBucket({ owned: 342 - 41, others })).toBe(true);
  });

  test('when a bucket is being copied', async () => {
    await world.copyRows({ bucket: 3, from: 0, to: 1 });
    await world.setOwnership(1, { bucket: 3, state: 'receiving', epoch: 2 });
    expect(await totalOf()).toMatchObject(world.expectedTotal());
  });

  test('when a shard has rows of a bucket that it never owned', async () => {
    await world.copyRows({ bucket: 3, from: 0, to: 1 });
    expect(await totalOf()).toMatchObject(world.expectedTotal());
  });

  test('when a bucket is fenced, and also when its target owns it already', async () => {
    await world.copyRows({ bucket: 3, from: 0, to: 1 });
    await world.setOwnership(1, { bucket: 3, state: 'receiving', epoch: 2 });
    await world.setOwnership(0, { bucket: 3, state: 'fenced', epoch: 1 });
    expect(await totalOf()).toMatchObject(world.expectedTotal());
    await world.setOwnership(1, { bucket: 3, state: 'owned', epoch: 2 });
    world.moved(3, 1);
    expect(await totalOf()).toMatchObject(world.expectedTotal());
  });

  test('when a bucket moves behind the question: out of a shard asked already', async () => {
    const before = async (shard: number): Promise<void> => {
      if (shard === 1) await world.move({ bucket: 3, from: 0, to: 2 });
    };
    const { totalCents, orders } = world.expectedTotal();
    expect(await totalOf({ before })).toMatchObject({ totalCents, orders, complete: true });
  });

  test('when a bucket moves ahead of the question: out of a shard not asked yet', async () => {
    const before = async (shard: number): Promise<void> => {
      if (shard === 1) await world.move({ bucket: 2, from: 2, to: 0 });
    };
    expect(await totalOf({ before })).toMatchObject({
      ...world.expectedTotal(2, 0),
      complete: true,
    });
  });

  test('when an order is written between the questions: counted at its bucket’s later owner', async () => {
    const before = async (shard: number): Promise<void> => {
      if (shard !== 2) return;
      await world.move({ bucket: 3, from: 0, to: 2 });
      await world.addMany({ shard: 2, bucket: 3, orders: 1, cents: 7 });
    };
    const total = await totalOf({ before });
    expect(total).toMatchObject(world.expectedTotal());
  });
});

test('foreign rows are found by one look per bucket, once buckets have more than some rows', async () => {
  await world.addMany({ shard: 0, bucket: 0, orders: 20_000, cents: 1 });
  const explain = databases.engine === 'mysql' ? 'EXPLAIN FORMAT=TRADITIONAL' : 'EXPLAIN';
  await queryShard(databases, 0, 'ANALYZE TABLE orders');
  const plan = await queryShard(databases, 0, `${explain} ${SUM_SHARD}`, ['2026-01-01']);
  expect(plan.map((row) => String(row['Extra']))).toContainEqual(
    expect.stringContaining('Using index for group-by'),
  );
  const ahead = await queryShard(databases, 0, `${explain} ${COUNT_BUCKETS}`);
  expect(ahead.find((row) => row['table'] === 'o')).toMatchObject({
    select_type: 'DEPENDENT SUBQUERY',
    type: 'ref',
    key: 'PRIMARY',
  });
});

describe('a shard that is away', () => {
  test('fails the total within its deadline, or is left out and named', async () => {
    await databases.stack.stopShard(1, 'kill');
    const startMs = performance.now();
    await expect(totalOf()).rejects.toMatchObject({
      code: 'shard-unavailable',
      retryable: true,
      details: { shardId: 1 },
    });
    expect(performance.now() - startMs).toBeLessThan(9_000);
    const { perShard } = world.expectedTotal();
    const others = perShard.filter(({ shard }) => shard !== 1);
    expect(await totalOf({ partial: true })).toMatchObject({
      complete: false,
      missingShards: [1],
      perShard: others,
      totalCents: String(others.reduce((sum, own) => sum + BigInt(own.totalCents), 0n)),
    });
    await databases.stack.startShard(1);
    await expect
      .poll(() => totalOf().catch(() => undefined), { timeout: 20_000 })
      .toMatchObject({ ...world.expectedTotal(), complete: true });
  });

  test('that never answers takes no longer than the deadline', async () => {
    await databases.stack.freezeShard(2);
    const startMs = performance.now();
    const total = await totalOf({ partial: true });
    expect(performance.now() - startMs).toBeLessThan(9_000);
    expect(total).toMatchObject({ complete: false, missingShards: [2 as ShardId] });
  });
});
