import { describe, expect, test } from 'vitest';
import type { Shard, ShardedDatabase, SqlRow } from '../../../src/database/contracts.ts';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { COUNT_BUCKETS, SUM_OWNED_BUCKETS, SUM_SHARD } from '../../../src/revenue/statements.ts';
import { revenueTotal } from '../../../src/revenue/total.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { createFakeServices } from '../../support/fake-services.ts';
import { createRandom } from '../../support/random.ts';

/**
 * Shards that own buckets with one order of 100 cents each, and keep the rows of buckets they gave away. `between` runs
 * before each sum of a shard; `hasOldCopies` says whether one tells of many, so that it is summed bucket by bucket.
 */
function createWorld(
  shards: number,
  between: (shard: number) => void = () => undefined,
  hasOldCopies: (shard: number) => boolean = () => false,
) {
  const buckets = Array.from({ length: 1024 }, (_, bucket) => ({
    owner: bucket % shards,
    epoch: 1,
    orders: 1,
  }));
  const down = new Map<number, Error>();
  const asked: number[] = [];
  let running = 0;
  let most = 0;
  const sumsOf = (orders: number): string => `${orders} ${orders * 100}`;
  const rowOf = (bucket: number): SqlRow => {
    const { epoch, orders } = buckets[bucket] as (typeof buckets)[number];
    return { bucket, epoch, sums: sumsOf(orders), saga_id: null };
  };
  const copies = new Map<string, SqlRow>();
  const togetherOf = (id: number, own: readonly SqlRow[]): SqlRow[] => {
    const old = [...copies]
      .filter(
        ([key]) => key.startsWith(`${id}/`) && buckets[Number(key.split('/')[1])]?.owner !== id,
      )
      .map(([, row]) => ({ ...row, epoch: null }));
    const all = { bucket: null, epoch: null, sums: sumsOf(own.length + old.length), saga_id: null };
    return [all, ...own.map((row) => ({ ...row, sums: null })), ...old];
  };
  const shardOf = (id: number): Shard =>
    ({
      id,
      query: async (text: string, values: readonly unknown[]) => {
        if (text === COUNT_BUCKETS) return [{ owned: 1, others: Number(hasOldCopies(id)) }];
        between(id);
        running += 1;
        most = Math.max(most, running);
        await settle();
        running -= 1;
        asked.push(id);
        const error = down.get(id);
        if (error !== undefined) throw error;
        const all = text === SUM_OWNED_BUCKETS || text === SUM_SHARD;
        const own = [...buckets.keys()]
          .filter((bucket) => buckets[bucket]?.owner === id && (all || bucket === values[0]))
          .map(rowOf);
        return text === SUM_SHARD ? togetherOf(id, own) : own;
      },
      select: () => Promise.resolve([{ state: 'gone', epoch: 1, moved_to: null }]),
    }) as unknown as Shard;
  const database: Partial<ShardedDatabase> = {
    shardIds: () => Array.from({ length: shards }, (_, id) => id as ShardId),
    onShard: (id, run) => run(shardOf(id)),
    route: (bucket) =>
      Promise.resolve({ bucket, shard: (bucket % shards) as ShardId, epoch: 1, mapVersion: 1 }),
    onOwner: async (bucket, attempt) => {
      for (;;) {
        const { owner: shard, epoch } = buckets[bucket] as (typeof buckets)[number];
        const route = { bucket, shard: shard as ShardId, epoch, mapVersion: 1 };
        const result = await attempt(shardOf(shard), route);
        if (result.kind === 'answered') return result.value;
      }
    },
  };
  const services = createFakeServices(
    { database: database as ShardedDatabase, clock: createFakeClock() },
    { REVENUE_MAX_SHARDS_AT_ONCE: '2' },
  );
  const move = (bucket: number, to: number): void => {
    const moved = buckets[bucket] as (typeof buckets)[number];
    copies.set(`${moved.owner}/${bucket}`, rowOf(bucket));
    buckets[bucket] = { ...moved, owner: to, epoch: moved.epoch + 1 };
  };
  return { services, down, asked, move, mostAtOnce: () => most };
}

const away = (shard: number): Error => RetryableError.shardUnavailable(shard);

describe('the total', () => {
  test('asks each shard once, no more at a time than allowed', async () => {
    const { services, asked, mostAtOnce } = createWorld(5);
    const total = await revenueTotal(services, { partial: false });
    expect(total).toMatchObject({ totalCents: '102400', orders: 1024, complete: true });
    expect(total.asOf).toBe('2026-01-01T00:00:00.000Z');
    expect(total).not.toHaveProperty('missingShards');
    expect(total.perShard.map(({ shard }) => shard)).toEqual([0, 1, 2, 3, 4]);
    expect(asked.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
    expect(mostAtOnce()).toBe(2);
  });

  test('is exact while buckets move at every moment', async () => {
    const random = createRandom();
    for (let round = 0; round < 30; round += 1) {
      const moveSome = (): void => {
        for (let n = 0; n < 40; n += 1) world.move(random.below(1024), random.below(4));
      };
      const world = createWorld(4, moveSome, () => random.below(3) === 0);
      const total = await revenueTotal(world.services, { partial: false });
      expect(total, `seed ${random.seed}`).toMatchObject({ totalCents: '102400', orders: 1024 });
    }
  });

  test('asks a shard again that gave a bucket away behind the question, and only that one', async () => {
    let isMoved = false;
    const world = createWorld(3, (shard) => {
      if (shard !== 2 || isMoved) return;
      isMoved = true;
      world.move(0, 2);
    });
    const total = await revenueTotal(world.services, { partial: false });
    expect(total).toMatchObject({ totalCents: '102400', orders: 1024, complete: true });
    expect(total.perShard.map(({ orders }) => orders)).toEqual([341, 341, 342]);
    expect(world.asked).toEqual([0, 1, 2, 0]);
  });

  test('asks a shard with many old copies bucket by bucket, and then never again', async () => {
    let isMoved = false;
    const moveOnce = (shard: number): void => {
      if (shard !== 2 || isMoved) return;
      isMoved = true;
      world.move(0, 2);
    };
    const world = createWorld(3, moveOnce, (shard) => shard === 0);
    const total = await revenueTotal(world.services, { partial: false });
    expect(total).toMatchObject({ totalCents: '102400', orders: 1024, complete: true });
    expect(total.perShard.map(({ orders }) => orders)).toEqual([341, 341, 342]);
    expect(world.asked).toEqual([0, 1, 2]);
  });

  test('fails when a shard is away', async () => {
    const { services, down } = createWorld(3);
    down.set(1, away(1));
    await expect(revenueTotal(services, { partial: false })).rejects.toMatchObject({
      code: 'shard-unavailable',
      details: { shardId: 1 },
    });
  });

  test('leaves shards out that are away, and names them, when that was asked for', async () => {
    const { services, down } = createWorld(3);
    down.set(2, away(2));
    down.set(0, away(0));
    expect(await revenueTotal(services, { partial: true })).toMatchObject({
      totalCents: '34100',
      orders: 341,
      complete: false,
      missingShards: [0, 2],
      perShard: [{ shard: 1, totalCents: '34100', orders: 341 }],
    });
  });

  test('is complete when nothing was away, also when partial was allowed', async () => {
    const { services } = createWorld(3);
    const total = await revenueTotal(services, { partial: true });
    expect(total).toMatchObject({ complete: true, orders: 1024 });
    expect(total).not.toHaveProperty('missingShards');
  });

  test('counts a bucket that left a shard in time before it went away', async () => {
    const { services, down, move } = createWorld(3);
    move(0, 1);
    down.set(0, away(0));
    const total = await revenueTotal(services, { partial: true });
    expect(total).toMatchObject({ orders: 342 + 341, missingShards: [0] });
  });

  test('passes on what is not an outage, also when partial was allowed', async () => {
    const { services, down } = createWorld(3);
    down.set(1, new PermanentError('configuration-invalid', 'another cluster'));
    await expect(revenueTotal(services, { partial: true })).rejects.toMatchObject({
      code: 'configuration-invalid',
    });
  });
});
