import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Shard, ShardedDatabase } from '../../src/database/contracts.ts';
import { RetryableError } from '../../src/kernel/errors.ts';
import { revenueDurable } from '../../src/revenue/activities.ts';
import { finishReport, planReport, sumChunk } from '../../src/revenue/contracts.ts';
import type { RevenueTotal } from '../../src/revenue/model.ts';
import { createReportStore } from '../../src/revenue/report-store.ts';
import { revenueTotal } from '../../src/revenue/total.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { createMemoryBlobs } from '../support/memory-blobs.ts';
import { createRandom } from '../support/random.ts';
import { startSliceApp, userIdsOnShard, type SliceApp } from '../support/slice-app.ts';
import { createTransferWorld, type TransferWorld } from '../support/transfers.ts';

/** One shard after another, ascending, so that a test can do something in between. */
const SETTINGS = {
  REQUEST_DEADLINE_MS: '20000',
  REVENUE_MAX_SHARDS_AT_ONCE: '1',
  REVENUE_CHUNK_BUCKETS: '64',
};
const [A = '', A2 = '', MOVING = ''] = userIdsOnShard(0, 3);
const [B = '', B2 = ''] = userIdsOnShard(1, 2);
const [C = '', C2 = ''] = userIdsOnShard(2, 2);
const USERS = [A, A2, MOVING, B, B2, C, C2];

let app: SliceApp;
let world: TransferWorld;
let nextOrder = 1_000;
let expected = { orders: 0, cents: 0 };
beforeAll(async () => {
  app = await startSliceApp(SETTINGS);
  await app.services.database.prewarm();
  for (const userId of USERS) await app.register(userId);
  world = createTransferWorld(app);
});
beforeEach(() => {
  app.onProbe = () => undefined;
});
afterAll(() => app.stop());

async function placed(userId: string, amountCents = 700): Promise<string> {
  const orderId = String((nextOrder += 1));
  expect((await app.place(userId, { orderId, amountCents })).status).toBe(201);
  expected = { orders: expected.orders + 1, cents: expected.cents + amountCents };
  return orderId;
}

async function transfer(order: string, from: string, to: string): Promise<void> {
  expect((await world.transfer(order, [from, to])).status).toBe(200);
  await app.sagas.settled();
}

interface Question {
  readonly before?: (shard: number) => Promise<void>;
  readonly away?: number;
  /** Without what the ledger tells, as sums alone are. */
  readonly isBlind?: boolean;
}

function databaseOf({ before, away, isBlind = false }: Question): ShardedDatabase {
  const { database } = app.services;
  return {
    ...bound(database),
    onShard: async (shard, run, limit) => {
      await before?.(shard);
      if (shard === away) throw RetryableError.shardUnavailable(shard);
      return await database.onShard(shard, (each) => run(isBlind ? blind(each) : each), limit);
    },
  };
}

function blind(shard: Shard): Shard {
  const query: Shard['query'] = async (text, values) =>
    (await shard.query(text, values)).filter((row) => row['saga_id'] === null);
  return { id: shard.id, query } as unknown as Shard;
}

function bound(database: ShardedDatabase): ShardedDatabase {
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

function total(question: Question = {}): Promise<RevenueTotal> {
  const { config, clock } = app.services;
  const database = databaseOf(question);
  return revenueTotal({ config, clock, database }, { partial: question.away !== undefined });
}

/** Does something once, when that shard is about to be asked. */
function once(shard: number, act: () => Promise<void>): (asked: number) => Promise<void> {
  let isDone = false;
  return async (asked) => {
    if (asked !== shard || isDone) return;
    isDone = true;
    await act();
  };
}

const exact = () => ({ orders: expected.orders, totalCents: String(expected.cents) });

describe('an order transferred while the shards are asked one by one counts once', () => {
  test.each([
    ['from a shard that was asked to one that was not', A, B],
    ['from a shard that was not asked to one that was', B, A],
    ['between two that were not asked', B, C],
  ])('%s', async (_, from, to) => {
    const order = await placed(from);
    const before = once(1, () => transfer(order, from, to));
    expect(await total({ before })).toMatchObject({ ...exact(), complete: true });
    expect(await total()).toMatchObject(exact());
  });

  test('twice, and back again', async () => {
    const order = await placed(A);
    const before = async (shard: number): Promise<void> => {
      if (shard === 1) await transfer(order, A, B);
      if (shard !== 2) return;
      await transfer(order, B, C);
      await transfer(order, C, A);
      await transfer(order, A, C);
    };
    expect(await total({ before })).toMatchObject(exact());
  });

  test('while it has left its source and is not shown at its target', async () => {
    const seen: RevenueTotal[] = [];
    app.onProbe = async (point, subject = '') => {
      if (point !== 'sagas.afterCommit' || !subject.endsWith('/remove-source/run')) return;
      app.onProbe = () => undefined;
      seen.push(await total(), await total({ isBlind: true }));
    };
    const order = await placed(A);
    await transfer(order, A, B);
    expect(seen).toMatchObject([exact(), { orders: expected.orders - 1 }]);
  });
});

describe('when a shard is left out', () => {
  test('orders that went there are not added, and those that came from there count', async () => {
    const own = async () => (await total()).perShard.filter(({ shard }) => shard !== 1);
    const [there, back] = [await placed(A), await placed(B)];
    await transfer(there, A, B);
    await transfer(back, B, C);
    expect((await total({ away: 1 })).perShard).toEqual(await own());
    const before = once(2, () => transfer(back, C, B));
    const { perShard } = await total({ away: 1, before });
    expect(perShard).toEqual(await own());
  });
});

describe('a report whose chunks are read one by one', () => {
  /** Runs its activities; `between` gives what to do ahead of each chunk. */
  async function report(between: (shard: number, chunk: number) => Promise<void>) {
    const services = { ...app.services, blobs: createMemoryBlobs() };
    const store = createReportStore(services.blobs);
    await store.settleRequest('r', { from: null, to: null, groupBy: 'day' });
    const run = (name: string, input: unknown) =>
      revenueDurable.activities.find(({ contract }) => contract.name === name)?.bind(services)(
        input,
        { logger: services.logger } as never,
      );
    await run(planReport.name, { reportId: 'r' });
    for (const { shard, chunks } of (await store.readPlan('r'))?.shards ?? []) {
      for (const chunk of chunks.keys()) {
        await between(shard, chunk);
        await run(sumChunk.name, { reportId: 'r', shard, chunk });
      }
    }
    await run(finishReport.name, { reportId: 'r' });
    return await store.readOutcome('r');
  }

  test('counts orders once that go between shards, and between buckets of one, meanwhile', async () => {
    const orders = await Promise.all([A, A2, B, C].map((userId) => placed(userId)));
    const [first = '', second = '', third = '', fourth = ''] = orders;
    const [low, high] = bucketOf(A) < bucketOf(A2) ? [A, A2] : [A2, A];
    const [inLow, inHigh] = low === A ? [first, second] : [second, first];
    // Both users' buckets are in chunks of their own, or these steps would prove nothing.
    expect(Math.abs(bucketOf(A) - bucketOf(A2))).toBeGreaterThan(3 * 64);
    const outcome = await report(async (shard, chunk) => {
      if (shard === 0 && chunk === (await chunkOf(high))) {
        await transfer(inLow, low, high);
        await transfer(inHigh, high, low);
      }
      if (shard === 1 && chunk === 0) await transfer(inHigh, low, C);
      if (shard === 2 && chunk === 0) await transfer(third, B, C);
      if (shard === 2 && chunk === 1) await transfer(fourth, C, B2);
    });
    expect(outcome).toMatchObject({ kind: 'completed', result: exact() });
  });

  async function chunkOf(userId: string): Promise<number> {
    const buckets = await app.rows(0, "SELECT bucket FROM bucket_ownership WHERE state = 'owned'");
    const before = buckets.filter((row) => Number(row['bucket']) < bucketOf(userId));
    return Math.floor(before.length / 64);
  }
});

// Behind those that count on buckets where they were.
test('an order transferred in one transaction counts once when one of its buckets moves behind the question', async () => {
  const order = await placed(A);
  const before = once(1, async () => {
    await transfer(order, A, MOVING);
    await app.moveBucket(bucketOf(MOVING), 1);
  });
  expect(await total({ before })).toMatchObject(exact());
});

test('the total is exact at every moment of a storm of transfers', async () => {
  const random = createRandom();
  console.log(`SEED=${random.seed}`);
  const holders = new Map<string, string>();
  for (let count = 0; count < 24; count += 1) {
    const holder = USERS[random.below(USERS.length)] as string;
    holders.set(await placed(holder, 1 + random.below(1_000)), holder);
  }
  const orders = [...holders.keys()];
  let isOver = false;
  let transfers = 0;
  const wander = async (lane: number): Promise<void> => {
    while (!isOver) {
      const own = orders.filter((_, index) => index % 8 === lane);
      const order = own[random.below(own.length)] as string;
      const from = holders.get(order) as string;
      const to = USERS[random.below(USERS.length)] as string;
      if (to === from) continue;
      expect((await world.transfer(order, [from, to])).status).toBe(200);
      holders.set(order, to);
      transfers += 1;
    }
  };
  const before = (): Promise<void> => sleep(random.below(30));
  const looks = { exact: 0, blind: 0, blindWrong: 0 };
  const watch = async (): Promise<void> => {
    const endsAt = performance.now() + 12_000;
    while (performance.now() < endsAt) {
      expect(await total({ before }), `SEED=${random.seed}`).toMatchObject(exact());
      looks.exact += 1;
      const { totalCents } = await total({ before, isBlind: true });
      looks.blind += 1;
      if (totalCents !== exact().totalCents) looks.blindWrong += 1;
    }
  };
  const stopped = watch().finally(() => {
    isOver = true;
  });
  await Promise.all([stopped, ...Array.from({ length: 8 }, (_, lane) => wander(lane))]);
  await app.sagas.settled();
  expect(await world.unsettled()).toEqual([]);
  console.log(
    `${app.databases.engine}: ${looks.exact} totals exact during ${transfers} transfers; of ${looks.blind} plain sums ${looks.blindWrong} were wrong`,
  );
  expect(looks.exact).toBeGreaterThan(20);
  expect(looks.blindWrong).toBeGreaterThan(0);
}, 60_000);
