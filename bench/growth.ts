import type { UserId } from '../src/kernel/ids.ts';
import type { AmountCents } from '../src/kernel/money.ts';
import { placeOrder } from '../src/orders/place-order.ts';
import { fillShard, usersOfShards } from './data/fill.ts';
import { cpuOfProcessesMs, heapMb, ownCpuMs } from './data/processes.ts';
import type { Cluster, DataWorld } from './data/world.ts';
import { drive, inRounds } from './drive.ts';
import { figureOf } from './figures.ts';
import { atMost, type Line, lineOf, type Target } from './lines.ts';
import { type BenchOptions, scaled } from './options.ts';
import { someUser } from './orders.ts';

const SHARDS = 4;
const CALLERS = [1, 8, 64, 256];
/** Where shards and data grow: a busy instance. */
const BUSY = 64;
const FIRST_ORDERS = 100_000;
const ORDERS_OF_EACH_USER = 20;
const AMOUNT = 4_999 as AmountCents;

/** What placing an order cost in one round. */
interface Cost {
  /** Time of the round by the orders placed in it, microseconds. */
  readonly wallUs: number;
  /** Processor time of this process and of the servers it goes to, microseconds. */
  readonly ownCpuUs: number;
  readonly serverCpuUs: number;
  /** 95th percentile of a call, milliseconds. */
  readonly p95Ms: number;
  /** What this process holds afterwards, MB. */
  readonly heapMb: number;
}

/** What placing an order costs while the shards, the callers and the orders that are there already become more. */
export async function benchGrowth(
  world: DataWorld,
  options: BenchOptions,
): Promise<readonly Line[]> {
  return world.withCluster(SHARDS, async (cluster) => [
    ...(await byShardsAndCallers(cluster, options)),
    ...(await byOrders(cluster, options)),
  ]);
}

async function byShardsAndCallers(
  cluster: Cluster,
  options: BenchOptions,
): Promise<readonly Line[]> {
  const orders = scaled(options, FIRST_ORDERS, FIRST_ORDERS / 50);
  const lists = await fillShards(cluster, Array<number>(SHARDS).fill(orders));
  const over = (shards: number, callers: number): Measures => {
    const users = lists.slice(0, shards).flat();
    return {
      [`an order over ${shards} of ${SHARDS} shards, ${callers} callers`]: () =>
        place(cluster, options, { callers, users, pids: cluster.pids.slice(0, shards) }),
    };
  };
  const shards = lists.map((_, n) => over(n + 1, BUSY));
  const byShards = await inRounds(options, merged([...shards, over(SHARDS, BUSY * SHARDS)]));
  const byCallers = await inRounds(options, merged(CALLERS.map((callers) => over(1, callers))));
  return [...linesOf(byShards), ...linesOf(byCallers), heapLine(byCallers)];
}

/** Shard 0 keeps few orders, and each of the next has ten times as many, up to what was asked for. */
async function byOrders(cluster: Cluster, options: BenchOptions): Promise<readonly Line[]> {
  const sizes = [FIRST_ORDERS, FIRST_ORDERS * 10, FIRST_ORDERS * 100]
    .filter((orders) => orders <= options.mostOrders)
    .map((orders) => scaled(options, orders, orders / 50));
  const lists = await fillShards(cluster, sizes);
  // Each on a server and files of its own: longer, so that the moods of the disk even out.
  const longer = { ...options, roundMs: options.roundMs * 2 };
  const measures = sizes.map((orders, shard): Measures => {
    const users = lists[shard] ?? [];
    return {
      [`an order beside ${orders} others, ${BUSY} callers`]: () =>
        place(cluster, longer, {
          callers: BUSY,
          users,
          pids: cluster.pids.slice(shard, shard + 1),
        }),
    };
  });
  const costs = await inRounds(options, merged(measures));
  return [...linesOf(costs, atMost(1.2)), ...processorLines(costs, atMost(1.2))];
}

/** Makes so many orders on each shard, all at once, and tells whose they are. */
async function fillShards(
  { admins }: Cluster,
  orders: readonly number[],
): Promise<readonly (readonly UserId[])[]> {
  const users = admins.map((_, shard) => Math.floor((orders[shard] ?? 0) / ORDERS_OF_EACH_USER));
  const lists = usersOfShards(users);
  const startedAtMs = performance.now();
  await Promise.all(
    lists.map(async (own, shard) => {
      const admin = admins[shard];
      if (admin === undefined || own.length === 0) return;
      await fillShard(admin, { users: own, ordersOfEach: ORDERS_OF_EACH_USER });
    }),
  );
  const seconds = (performance.now() - startedAtMs) / 1_000;
  console.log(`  filled with ${orders.join(', ')} orders in ${seconds.toFixed(0)} s`);
  return lists;
}

interface Placing {
  readonly callers: number;
  readonly users: readonly UserId[];
  /** Of the servers that have these users. */
  readonly pids: readonly number[];
}

async function place(
  { services }: Cluster,
  { random, roundMs }: BenchOptions,
  { callers, users, pids }: Placing,
): Promise<Cost> {
  const [ownMs, serverMs] = [ownCpuMs(), cpuOfProcessesMs(pids)];
  const startedAtMs = performance.now();
  const { perSecond, p95Ms } = await drive(callers, roundMs, () =>
    placeOrder(services, { userId: someUser(users, random), amountCents: AMOUNT }),
  );
  const orders = (perSecond * (performance.now() - startedAtMs)) / 1_000;
  const each = (ms: number): number => (ms * 1_000) / orders;
  return {
    wallUs: 1_000_000 / perSecond,
    ownCpuUs: each(ownCpuMs() - ownMs),
    serverCpuUs: each(cpuOfProcessesMs(pids) - serverMs),
    p95Ms,
    heapMb: heapMb(),
  };
}

/** By what is said of them. */
type Measures = Readonly<Record<string, () => Promise<Cost>>>;
type Costs = Readonly<Record<string, readonly Cost[]>>;

function merged(measures: readonly Measures[]): Measures {
  return Object.assign({}, ...measures) as Measures;
}

function linesOf(costs: Costs, target?: Target): readonly Line[] {
  return comparedLines(costs, { cost: 'cost', of: ({ wallUs }) => wallUs, target });
}

/** What an order costs on any machine, whatever its disk: steadier than the time of a round. */
function processorLines(costs: Costs, target: Target): readonly Line[] {
  const of = ({ ownCpuUs, serverCpuUs }: Cost): number => ownCpuUs + serverCpuUs;
  return comparedLines(costs, { cost: 'processor time', of, target });
}

interface Compared {
  readonly cost: string;
  readonly of: (cost: Cost) => number;
  readonly target?: Target | undefined;
}

/** Each but the first in times of the first. */
function comparedLines(costs: Costs, { cost, of, target }: Compared): readonly Line[] {
  const [head, ...others] = Object.entries(costs);
  if (head === undefined) return [];
  const [firstName, first] = head;
  return others.map(([name, own]) =>
    lineOf({
      what: `${name}: ${cost}`,
      limit: firstName,
      ratios: own.flatMap((one, round) => {
        const beside = first[round];
        return beside === undefined ? [] : [of(one) / of(beside)];
      }),
      ...(target !== undefined && { target }),
      note: showCosts(own, first),
    }),
  );
}

/** Medians of both. */
function showCosts(own: readonly Cost[], first: readonly Cost[]): string {
  const both = (of: keyof Cost, digits = 0): string =>
    [own, first]
      .map((costs) => figureOf(costs.map((cost) => cost[of])).median.toFixed(digits))
      .join(' and ');
  return `${both('wallUs')} µs; processor: ours ${both('ownCpuUs')}, servers ${both('serverCpuUs')} µs; p95 ${both('p95Ms', 1)} ms; heap ${both('heapMb')} MB`;
}

function heapLine(byCallers: Costs): Line {
  const heaps = Object.values(byCallers).map((costs) => costs.map((cost) => cost.heapMb));
  const few = heaps[0] ?? [];
  const many = heaps.at(-1) ?? [];
  return lineOf({
    what: `heap after ${CALLERS.at(-1)} callers`,
    limit: `heap after ${CALLERS[0]}`,
    ratios: many.map((mb, round) => mb / (few[round] ?? Number.NaN)),
    note: `${figureOf(many).median.toFixed(1)} and ${figureOf(few).median.toFixed(1)} MB`,
  });
}
