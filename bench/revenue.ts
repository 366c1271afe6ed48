import type { Pool, RowDataPacket } from 'mysql2/promise';
import { revenueTotal } from '../src/revenue/total.ts';
import { BUCKET_COUNT } from '../src/sharding/hash.ts';
import { fillShard, usersOfShards } from './data/fill.ts';
import type { Cluster, DataWorld } from './data/world.ts';
import { drive, inRounds } from './drive.ts';
import { atMost, type Line, lineOf, type Target } from './lines.ts';
import { type BenchOptions, scaled } from './options.ts';
import { giveAway, PLAIN_SUM, plainSumOf, takeOver } from './statements.ts';

const SHARDS = 3;
const ORDERS_OF_EACH_USER = 20;
const GOAL = atMost(1.3);

/**
 * The total of all shards as `GET /api/revenue` sums it, beside the plain SUM on each shard at the same time. Then the same when
 * each shard has given a third of its buckets to the next one and still has the old copies. What the next one would
 * have of them is left out: these would be rows like all others, and the old copies are what may cost more.
 */
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
    const what = `total revenue of ${SHARDS} shards, ${orders} orders`;
    const all = cluster.plain.map(() => PLAIN_SUM);
    const before = await measure(cluster, options, [
      { what: `${what}: time`, limit: 'plain SUM on each at once', target: GOAL, sums: all },
    ]);
    const owned = (await giveThirdAway(cluster)).map(plainSumOf);
    const after = await measure(cluster, options, [
      {
        what: `${what}, a third old copies: time`,
        limit: 'plain SUM of what each owns',
        target: GOAL,
        sums: owned,
      },
      {
        what: `${what}, a third old copies: time, of all`,
        limit: 'plain SUM of all on each',
        sums: all,
      },
    ]);
    return [...before, ...after];
  });
}

interface Limit {
  readonly what: string;
  readonly limit: string;
  readonly target?: Target;
  /** A statement for each shard. Those of the first limit come to the same as the total. */
  readonly sums: readonly string[];
}

async function measure(
  { services, plain }: Cluster,
  options: BenchOptions,
  limits: readonly Limit[],
): Promise<Line[]> {
  const total = () => revenueTotal(services, { partial: false });
  const msOf = async (work: () => Promise<unknown>): Promise<number> =>
    1_000 / (await drive(1, options.roundMs, work)).perSecond;
  const { totalCents, complete } = await total();
  const cents = String(await sumPlainly(plain, limits[0]?.sums ?? []));
  // A sum that is wrong is not worth measuring.
  if (totalCents !== cents || !complete) {
    throw new Error(`The total is ${totalCents}, complete: ${complete}; the plain sum ${cents}.`);
  }
  const times = await inRounds<string, number>(options, {
    total: () => msOf(total),
    ...Object.fromEntries(
      limits.map(({ limit, sums }) => [limit, () => msOf(() => sumPlainly(plain, sums))]),
    ),
  });
  const ours = times['total'] ?? [];
  return limits.map(({ what, limit, target }) => {
    const theirs = times[limit] ?? [];
    return lineOf({
      what,
      limit,
      ...(target !== undefined && { target }),
      ratios: ours.map((ms, round) => ms / (theirs[round] ?? Number.NaN)),
      note: `${ours[0]?.toFixed(0)} and ${theirs[0]?.toFixed(0)} ms`,
    });
  });
}

async function sumPlainly(shards: readonly Pool[], statements: readonly string[]): Promise<bigint> {
  const sums = await Promise.all(
    shards.map(async (pool, shard) => {
      const [rows] = await pool.query<RowDataPacket[]>(statements[shard] ?? '');
      return BigInt(String(rows[0]?.['cents']));
    }),
  );
  return sums.reduce((sum, own) => sum + own, 0n);
}

/** Returns the buckets that each shard keeps. */
async function giveThirdAway({ admins }: Cluster): Promise<readonly number[][]> {
  const buckets = Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket);
  const isGiven = (bucket: number): boolean => Math.floor(bucket / SHARDS) % 3 === 0;
  return Promise.all(
    admins.map(async (admin, shard) => {
      const own = buckets.filter((bucket) => bucket % SHARDS === shard);
      const next = (shard + 1) % SHARDS;
      await admin.query(giveAway(own.filter(isGiven), next));
      await admins[next]?.query(takeOver(own.filter(isGiven), 2));
      return own.filter((bucket) => !isGiven(bucket));
    }),
  );
}
