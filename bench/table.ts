import { writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { LocalShardsError } from '../local/shards/errors.ts';
import { benchChunk } from './chunk.ts';
import { type DataWorld, withDataWorld } from './data/world.ts';
import { benchGrowth } from './growth.ts';
import { type Line, showLines, summaryOf } from './lines.ts';
import { type BenchOptions, readBenchOptions } from './options.ts';
import { benchOrders, GROUPED_ORDERS } from './orders.ts';
import { benchDurable } from './host/durable.ts';
import { benchHttp } from './host/http.ts';
import { benchIngestion } from './host/ingestion.ts';
import { benchMemory } from './host/memory.ts';
import { benchQueue } from './host/queue.ts';
import { benchSagas } from './host/sagas.ts';
import { type HostWorld, withHostWorld } from './host/world.ts';
import { benchMoveLines } from './move.ts';
import { benchPage } from './page.ts';
import { benchRevenue } from './revenue.ts';
import { benchRoute } from './route.ts';
import { benchSimulation } from './simulation/bench.ts';
import { type World, withWorld } from './world.ts';

type OnServer = (world: World, options: BenchOptions) => Promise<readonly Line[]>;

const ON_SERVER: Readonly<Record<string, OnServer>> = {
  orders: benchOrders,
  chunk: benchChunk,
  page: benchPage,
};

type OnHost = (world: HostWorld, options: BenchOptions) => Promise<readonly Line[]>;

const ON_HOST: Readonly<Record<string, OnHost>> = {
  http: benchHttp,
  queue: benchQueue,
  ingestion: benchIngestion,
  durable: benchDurable,
  memory: benchMemory,
  sagas: benchSagas,
};

type OnData = (world: DataWorld, options: BenchOptions) => Promise<readonly Line[]>;

const ON_DATA: Readonly<Record<string, OnData>> = {
  revenue: benchRevenue,
  growth: benchGrowth,
};

/** Names of the benches whose lines make the table. */
export const TABLE_BENCHES: readonly string[] = [
  'route',
  ...Object.keys(ON_SERVER),
  ...Object.keys(ON_DATA),
  ...Object.keys(ON_HOST),
  'move',
  'simulation',
];

export const TABLE_HELP = `  all         everything below up to simulation, as one table with targets and verdicts; the default
  route       hash and map of a key
  orders      one order at a time, by 1, 8, 32 and 64 callers
  chunk       a chunk of an ingestion
  page        a user's newest orders
  revenue     the total of three shards with a million orders each
  growth      an order while shards, callers and the orders that are there already become more
  http        an order over HTTP, on the local host
  queue       orders from queue messages, on the local host
  ingestion   a batch from end to end, on the local host
  durable     activities and turns of orchestrators, on the local host
  memory      memory of the local host under load; --minutes N
  sagas       register-user and transfer-order over two shards, on the local host
  move        copy and verification of a bucket; by its name alone in more rounds and words, see below
  simulation  a billion orders over 64 shards, and what moves when shards join; no servers
`;

/** Measures these benches and prints their table. Throws `LocalShardsError` when no server can be had. */
export async function benchTable(names: readonly string[], args: readonly string[]): Promise<void> {
  const { json, svg, ...options } = readBenchOptions(args);
  const lines: Line[] = [];
  if (names.includes('route')) lines.push(...(await benchRoute(options)));
  const onServer = chosen(ON_SERVER, names);
  if (onServer.length > 0) {
    await withWorld(options, (world) => measure(onServer, world, options, lines));
  }
  const onData = chosen(ON_DATA, names);
  if (onData.length > 0) {
    await withDataWorld(options, (world) => measure(onData, world, options, lines));
  }
  const onHost = chosen(ON_HOST, names);
  if (onHost.length > 0) {
    await withHostWorld(options, (world) => measure(onHost, world, options, lines));
  }
  if (names.includes('move')) lines.push(...(await moveLines(options)));
  if (names.includes('simulation')) {
    const measured = lines.find(({ what }) => what === GROUPED_ORDERS)?.perSecond;
    lines.push(...(await benchSimulation({ ...options, svg }, measured)));
  }
  for (const row of showLines(lines)) console.log(row);
  const load = loadavg()[0] ?? Number.NaN;
  const cores = availableParallelism();
  console.log(
    `${summaryOf(lines)}; ${options.rounds} rounds of ${options.roundMs} ms, size ${options.size}, seed ${options.random.seed}, ${cores} cores, load ${load.toFixed(1)}`,
  );
  if (json !== undefined) {
    const { engine, rounds, roundMs, size } = options;
    const setting = { engine, rounds, roundMs, size, seed: options.random.seed, cores, load };
    await writeFile(json, `${JSON.stringify({ ...setting, lines }, null, 2)}\n`);
  }
}

/** Its tools may not be to be had; the others' lines are worth printing without its own. */
async function moveLines(options: BenchOptions): Promise<readonly Line[]> {
  console.log('measuring move …');
  try {
    return await benchMoveLines(options);
  } catch (error) {
    if (!(error instanceof LocalShardsError)) throw error;
    console.error(`move is not measured: ${error.message}`);
    return [];
  }
}

type Named<W> = readonly (readonly [
  name: string,
  bench: (world: W, options: BenchOptions) => Promise<readonly Line[]>,
])[];

function chosen<Bench>(
  benches: Readonly<Record<string, Bench>>,
  names: readonly string[],
): [name: string, bench: Bench][] {
  return Object.entries(benches).filter(([name]) => names.includes(name));
}

async function measure<W>(
  benches: Named<W>,
  world: W,
  options: BenchOptions,
  lines: Line[],
): Promise<void> {
  for (const [name, bench] of benches) {
    console.log(`measuring ${name} …`);
    lines.push(...(await bench(world, options)));
  }
}
