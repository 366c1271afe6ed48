import type { Pool, RowDataPacket } from 'mysql2/promise';
import { revenueTotal } from '../src/revenue/total.ts';
import { fillShard, usersOfShards } from './data/fill.ts';
import type { Cluster, DataWorld } from './data/world.ts';
import { drive, inRounds } from './drive.ts';
import { atMost, type Line, lineOf } from './lines.ts';
import { type BenchOptions, scaled } from './options.ts';
import { PLAIN_SUM } from './statements.ts';

const SHARDS = 3;
const ORDERS_OF_EACH_USER = 20;

/** The total of all shards as `GET /api/revenue` sums it, beside the plain SUM on each shard at the same time. */
export async function benchRevenue(
  world: DataWorld,
  options: BenchOptions,
): Promise<readonly Line[]> {
  const usersOfEach = scaled(options, 50_000, 50);
  return world.withCluster(SHARDS, async (cluster) => {
    const lists = usersOfShards(Array.from({ length: SHARDS }, () => usersOfEach));
    const counts = await Promise.all(
      cluster.admins.map((admin, shard) =>
        fillShard(admin, { users: lists[shard] ?? [], ordersOfEach: ORDERS_OF_EACH_USER }),
      ),
    );
    const orders = counts.reduce((sum, count) => sum + count, 0);
    await assertSame(cluster, orders);
    const { product, limit } = await inRounds(options, {
      product: () =>
        drive(1, options.roundMs, () => revenueTotal(cluster.services, { partial: false })),
      limit: () => drive(1, options.roundMs, () => sumPlainly(cluster.plain)),
    });
    const ms = (perSecond = Number.NaN): string => (1_000 / perSecond).toFixed(0);
    return [
      lineOf({
        what: `total revenue of ${SHARDS} shards, ${orders} orders: time`,
        limit: 'plain SUM on each at once',
        ratios: product.map(
          ({ perSecond }, round) => (limit[round]?.perSecond ?? Number.NaN) / perSecond,
        ),
        target: atMost(1.3),
        note: `${ms(product[0]?.perSecond)} and ${ms(limit[0]?.perSecond)} ms`,
      }),
    ];
  });
}

async function sumPlainly(shards: readonly Pool[]): Promise<bigint> {
  const sums = await Promise.all(
    shards.map(async (pool) => {
      const [rows] = await pool.query<RowDataPacket[]>(PLAIN_SUM);
      return BigInt(String(rows[0]?.['cents']));
    }),
  );
  return sums.reduce((sum, own) => sum + own, 0n);
}

/** A sum that is wrong is not worth measuring. */
async function assertSame({ services, plain }: Cluster, orders: number): Promise<void> {
  const total = await revenueTotal(services, { partial: false });
  const cents = String(await sumPlainly(plain));
  if (total.totalCents === cents && total.orders === orders && total.complete) return;
  throw new Error(
    `The total is ${total.totalCents} of ${total.orders} orders, the plain sum ${cents} of ${orders}.`,
  );
}
