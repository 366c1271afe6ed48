import { writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { benchChunk } from './chunk.ts';
import { type Line, showLines, summaryOf } from './lines.ts';
import { type BenchOptions, readBenchOptions } from './options.ts';
import { benchOrders } from './orders.ts';
import { benchPage } from './page.ts';
import { benchRoute } from './route.ts';
import { type World, withWorld } from './world.ts';

type OnServer = (world: World, options: BenchOptions) => Promise<readonly Line[]>;

const ON_SERVER: Readonly<Record<string, OnServer>> = {
  orders: benchOrders,
  chunk: benchChunk,
  page: benchPage,
};

/** Names of the benches whose lines make the table. */
export const TABLE_BENCHES: readonly string[] = ['route', ...Object.keys(ON_SERVER)];

export const TABLE_HELP = `  all         everything below up to page, as one table with targets and verdicts; the default
  route       hash and map of a key
  orders      one order at a time, by 1, 8, 32 and 64 callers
  chunk       a chunk of an ingestion
  page        a user's newest orders
`;

/** Measures these benches and prints their table. Throws `LocalShardsError` when no server can be had. */
export async function benchTable(names: readonly string[], args: readonly string[]): Promise<void> {
  const { json, ...options } = readBenchOptions(args);
  const lines: Line[] = [];
  if (names.includes('route')) lines.push(...(await benchRoute(options)));
  const onServer = names.flatMap((name) => {
    const bench = ON_SERVER[name];
    return bench === undefined ? [] : [{ name, bench }];
  });
  if (onServer.length > 0) {
    await withWorld(options, async (world) => {
      for (const { name, bench } of onServer) {
        console.log(`measuring ${name} …`);
        lines.push(...(await bench(world, options)));
      }
    });
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
