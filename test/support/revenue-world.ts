import type { ShardedDatabase } from '../../src/database/contracts.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { toSqlDatetime } from '../../src/kernel/time.ts';
import type { Timestamp } from '../../src/kernel/time.ts';
import type { ReportRequest, ReportResult } from '../../src/revenue/model.ts';
import { BUCKET_COUNT } from '../../src/sharding/hash.ts';
import { createRandom } from './random.ts';

interface KnownOrder {
  readonly bucket: number;
  readonly cents: number;
  readonly createdAt: string;
}

/** Orders over three shards of which the test knows every one, written past the application. */
export interface RevenueWorld {
  readonly seed: number;
  /** What the total must be; with arguments, as if that bucket had moved. */
  expectedTotal(
    bucket?: number,
    movedTo?: number,
  ): {
    readonly totalCents: string;
    readonly orders: number;
    readonly perShard: readonly { shard: number; totalCents: string; orders: number }[];
  };
  /** What a report must be, computed order by order. */
  expectedReport(request: ReportRequest): ReportResult;
  addMany(add: { shard: number; bucket: number; orders: number; cents: number }): Promise<void>;
  /** Copies a bucket's rows, as a move does before anything is switched. */
  copyRows(copy: { bucket: number; from: number; to: number }): Promise<void>;
  setOwnership(
    shard: number,
    row: { bucket: number; state: string; epoch: number; movedTo?: number },
  ): Promise<void>;
  /** A whole move, the old copy left behind. */
  move(move: { bucket: number; from: number; to: number }): Promise<void>;
  /** Tells the world that a bucket's orders now count at another shard. */
  moved(bucket: number, shard: number): void;
  owner(bucket: number): number;
  hasOrders(bucket: number): boolean;
  clear(): Promise<void>;
}

const SHARDS = 3;
const FIRST_ORDERS = 3_000;
const LIMIT = { deadlineMs: 10_000 };

/** Empties the shards and fills them again: three years of orders in a third of the buckets. */
export async function createRevenueWorld(database: ShardedDatabase): Promise<RevenueWorld> {
  const random = createRandom();
  const owners = Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket % SHARDS);
  const epochs = owners.map(() => 1);
  let orders: KnownOrder[] = [];
  let nextId = 1;
  const write = (shard: number, text: string) =>
    database.onShard(shard as ShardId, (each) => each.packet([text]), LIMIT);
  const rowsOf = (shard: number, bucket: number) =>
    database.onShard(
      shard as ShardId,
      async (each) => {
        const rows = await each.query('SELECT * FROM orders WHERE bucket = ?', [bucket]);
        return rows.map(
          (row) =>
            `(${Object.values(row)
              .map((value) => each.literal(value))
              .join(', ')})`,
        );
      },
      LIMIT,
    );

  const insert = async (shard: number, added: readonly KnownOrder[]): Promise<void> => {
    for (let from = 0; from < added.length; from += 1_000) {
      const rows = added.slice(from, from + 1_000).map(({ bucket, cents, createdAt }) => {
        nextId += 1;
        const time = toSqlDatetime(createdAt as Timestamp);
        return `(${bucket}, ${nextId}, ${bucket + 1}, ${cents}, '${time}')`;
      });
      const columns = 'bucket, order_id, user_id, amount_cents, created_at';
      await write(shard, `INSERT INTO orders (${columns}) VALUES ${rows.join(', ')}`);
    }
    orders.push(...added);
  };

  const world: RevenueWorld = {
    seed: random.seed,
    owner: (bucket) => owners[bucket] as number,
    hasOrders: (bucket) => orders.some((order) => order.bucket === bucket),
    moved: (bucket, shard) => {
      owners[bucket] = shard;
    },
    expectedTotal: (movedBucket, movedTo) => {
      const ownerOf = (bucket: number) => (bucket === movedBucket ? movedTo : owners[bucket]);
      const perShard = Array.from({ length: SHARDS }, (_, shard) => {
        const own = orders.filter(({ bucket }) => ownerOf(bucket) === shard);
        return { shard, totalCents: sumOf(own), orders: own.length };
      });
      return { totalCents: sumOf(orders), orders: orders.length, perShard };
    },
    expectedReport: ({ from, to, groupBy }) => {
      const included = orders.filter(
        ({ createdAt }) => (from === null || createdAt >= from) && (to === null || createdAt < to),
      );
      const length = { none: 0, month: 7, day: 10 }[groupBy];
      const keys = new Set(included.map(({ createdAt }) => createdAt.slice(0, length)));
      if (groupBy === 'none') keys.add('');
      const groups = [...keys].toSorted().map((key) => {
        const own = included.filter(({ createdAt }) => createdAt.startsWith(key));
        return { key: key === '' ? 'all' : key, totalCents: sumOf(own), orders: own.length };
      });
      return { totalCents: sumOf(included), orders: included.length, groups };
    },
    addMany: async ({ shard, bucket, orders: count, cents }) => {
      const order = { bucket, cents, createdAt: '2026-06-01T00:00:00.000Z' };
      await insert(
        shard,
        Array.from({ length: count }, () => order),
      );
    },
    copyRows: async ({ bucket, from, to }) => {
      const rows = await rowsOf(from, bucket);
      await write(to, `DELETE FROM orders WHERE bucket = ${bucket}`);
      if (rows.length > 0) await write(to, `INSERT INTO orders VALUES ${rows.join(', ')}`);
    },
    setOwnership: async (shard, { bucket, state, epoch, movedTo }) => {
      epochs[bucket] = Math.max(epochs[bucket] as number, epoch);
      await write(
        shard,
        `REPLACE INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (${bucket}, '${state}', ${epoch}, ${movedTo ?? 'NULL'}, NOW(3))`,
      );
    },
    move: async ({ bucket, from, to }) => {
      const epoch = epochs[bucket] as number;
      await world.setOwnership(from, { bucket, state: 'fenced', epoch });
      await world.copyRows({ bucket, from, to });
      await world.setOwnership(to, { bucket, state: 'owned', epoch: epoch + 1 });
      await world.setOwnership(from, { bucket, state: 'gone', epoch, movedTo: to });
      world.moved(bucket, to);
    },
    clear: async () => {
      orders = [];
      for (let shard = 0; shard < SHARDS; shard += 1) {
        await write(shard, 'DELETE FROM orders');
        await write(shard, 'DELETE FROM bucket_ownership');
        const rows = [...owners.keys()]
          .filter((bucket) => owners[bucket] === shard)
          .map((bucket) => `(${bucket}, 'owned', 1, NULL, NOW(3))`);
        await write(
          shard,
          `INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES ${rows.join(', ')}`,
        );
      }
    },
  };

  await world.clear();
  const made = Array.from({ length: FIRST_ORDERS }, (): KnownOrder => {
    const createdMs = Date.UTC(2024, 0, 1) + random.below(3 * 365 * 86_400) * 1_000;
    return {
      // The buckets the tests move, and others anywhere.
      bucket: random.below(4) === 0 ? random.below(9) : random.below(BUCKET_COUNT),
      cents: 1 + random.below(100_000),
      // Some at the very first and last instant of a day.
      createdAt: new Date(edgeOf(createdMs, random.below(10))).toISOString(),
    };
  });
  for (let shard = 0; shard < SHARDS; shard += 1) {
    await insert(
      shard,
      made.filter(({ bucket }) => owners[bucket] === shard),
    );
  }
  return world;
}

const DAY_MS = 86_400_000;

function edgeOf(ms: number, choice: number): number {
  const midnight = ms - (ms % DAY_MS);
  if (choice === 0) return midnight;
  return choice === 1 ? midnight + DAY_MS - 1 : ms;
}

function sumOf(orders: readonly KnownOrder[]): string {
  return String(orders.reduce((sum, { cents }) => sum + BigInt(cents), 0n));
}
