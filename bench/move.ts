import { mkdtempSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findClientTools } from '../local/shards/binaries/client-tools.ts';
import { defaultCacheDir } from '../local/shards/binaries/find-mysqld.ts';
import { engineName } from '../local/shards/binaries/versions.ts';
import { LocalShardsError } from '../local/shards/errors.ts';
import { ADMIN_USER } from '../local/shards/servers/server-options.ts';
import { openStack, type Stack, startStack } from '../local/shards/stack.ts';
import { loadConfig } from '../src/config.ts';
import { createServices } from '../src/create-services.ts';
import type { ShardId } from '../src/kernel/ids.ts';
import { fillBucket } from './bucket.ts';
import { createDumpPipe } from './dump-pipe.ts';
import { type Figure, figureOf, showFigure } from './figures.ts';
import {
  BUCKET,
  countBucket,
  measureRound,
  type MoveBench,
  PATIENT,
  type Round,
} from './move-round.ts';
import { readCount, readServerOptions, SERVER_OPTIONS } from './options.ts';
import { analyzeTables } from './statements.ts';
import { quietLogger } from './world.ts';

export const MOVE_HELP = `  move               copy and verification of one bucket between two servers, in mysqldump | mysql of the same rows
    --orders N       orders in the bucket; other tables in proportion   (default 200000)
    --rounds N       rounds that count; one before them does not        (default 5)
    --engine ENGINE  mysql or mariadb                                   (default mysql)
    --seed N         of the rows
    --json FILE      write the figures there too
`;

type Options = ReturnType<typeof readServerOptions> & { readonly orders: number };

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: { orders: { type: 'string', default: '200000' }, ...SERVER_OPTIONS },
  });
  // The bucket has to fit into the servers' memory, else the disk is measured.
  const orders = readCount('orders', values.orders, 1_000_000);
  return { ...readServerOptions(values), orders };
}

/** Runs the bench and prints its figures. Throws `LocalShardsError` when servers or tools cannot be had. */
export async function benchMove(args: readonly string[]): Promise<void> {
  const options = readOptions(args);
  const onProgress = (progress: { readonly kind: string; readonly message?: string }): void => {
    if (progress.kind === 'step') console.log(progress.message);
  };
  const dataDir = mkdtempSync(join(tmpdir(), 'shardline-bench-'));
  const cleanUp = async (): Promise<void> => {
    await openStack(dataDir)?.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  // The servers run in the background and would outlive it.
  process.once('SIGINT', () => void cleanUp().finally(() => process.exit(130)));
  try {
    const stack = await startStack({ dataDir, shards: 2, engine: options.engine, onProgress });
    await measure(stack, options, onProgress);
  } finally {
    await cleanUp();
  }
}

async function measure(
  stack: Stack,
  options: Options,
  onProgress: (progress: { readonly kind: string; readonly message?: string }) => void,
): Promise<void> {
  const { engine, version } = stack;
  const [source, target] = stack.shards;
  if (source === undefined || target === undefined) throw new LocalShardsError('Two are needed.');
  const cacheDir = defaultCacheDir();
  const tools = await findClientTools({ engine, serverVersion: version, cacheDir, onProgress });
  // MySQL's dump flushes tables before its transaction, which the application's account may not.
  const [password = ''] = stack.adminPasswords;
  const asAdmin = { ...source, user: ADMIN_USER, password };
  const pipe = createDumpPipe({ tools, engine, source: asAdmin, target });
  const services = createServices(configOf(stack), quietLogger());
  const bench: MoveBench = { services, pipe, from: 0 as ShardId, to: 1 as ShardId };
  try {
    const { random } = options;
    console.log(`Filling bucket ${BUCKET} with ${options.orders} orders (seed ${random.seed}) …`);
    await services.database.prewarm();
    await services.database.onShard(
      bench.from,
      async (shard) => {
        await fillBucket(shard, { bucket: BUCKET, orders: options.orders, random });
        await shard.query(analyzeTables(), []);
      },
      PATIENT,
    );
    const { rows, bytes } = await countBucket(bench, bench.from);
    const setting = {
      servers: `${engineName(engine)} ${version}`,
      tools: `${engineName(engine)} ${tools.version}`,
      baseline: pipe.shown,
      seed: random.seed,
      orders: options.orders,
      rows,
      bytes,
      cores: availableParallelism(),
    };
    const { servers } = setting;
    console.log(`${servers}, ${setting.cores} cores, ${rows} rows, ${bytes} bytes as text`);
    console.log(`baseline (${setting.tools}): ${pipe.shown}`);
    const rounds: Round[] = [];
    for (let number = 0; number <= options.rounds; number++) {
      const round = await measureRound(bench, { number, rows, random });
      if (number > 0) rounds.push(round);
      console.log(describeRound(number, round));
    }
    const figures = summarise(rounds, rows);
    for (const line of describe(figures)) console.log(line);
    if (options.json !== undefined) {
      const text = JSON.stringify({ bench: 'move', ...setting, figures, rounds }, null, 2);
      await writeFile(options.json, `${text}\n`);
    }
  } finally {
    await services.close();
    await pipe.dispose();
  }
}

/** The throttle looks as often as in production, but a busy machine must not make it wait. */
function configOf(stack: Stack): ReturnType<typeof loadConfig> {
  return loadConfig({
    SHARDS: JSON.stringify(stack.shards),
    AzureWebJobsStorage: stack.storageConnectionString,
    REBALANCE_MAX_THREADS_RUNNING: '10000',
    REBALANCE_MAX_PROBE_MS: '60000',
    REBALANCE_MAX_HISTORY: '1000000000',
  });
}

/** Speeds: above 1 the product is the faster one. */
type Figures = Readonly<
  Record<
    | 'dumpMs'
    | 'copyMs'
    | 'verifyMs'
    | 'scanMs'
    | 'copyByDump'
    | 'verifyByDump'
    | 'verifyByScan'
    | 'copyRowsPerSecond'
    | 'load',
    Figure
  >
>;

function summarise(rounds: readonly Round[], rows: number): Figures {
  const over = (value: (round: Round) => number): Figure => figureOf(rounds.map(value));
  return {
    dumpMs: over((round) => round.dumpMs),
    copyMs: over((round) => round.copyMs),
    verifyMs: over((round) => round.verifyMs),
    scanMs: over((round) => round.scanMs),
    copyByDump: over((round) => round.dumpMs / round.copyMs),
    verifyByDump: over((round) => round.dumpMs / round.verifyMs),
    verifyByScan: over((round) => round.scanMs / round.verifyMs),
    copyRowsPerSecond: over((round) => (rows * 1_000) / round.copyMs),
    load: over((round) => round.load),
  };
}

function describe(figures: Figures): readonly string[] {
  const ms = (figure: Figure): string => `${showFigure(figure, 0)} ms`;
  return [
    'median (least to most) of the rounds:',
    `  mysqldump | mysql            ${ms(figures.dumpMs)}`,
    `  copy                         ${ms(figures.copyMs)}, ${showFigure(figures.copyRowsPerSecond, 0)} rows/s`,
    `  copy speed                   ${showFigure(figures.copyByDump, 2)}x of mysqldump | mysql`,
    `  verification, both sides     ${ms(figures.verifyMs)}`,
    `  verification speed           ${showFigure(figures.verifyByDump, 2)}x of mysqldump | mysql`,
    `  plain scan, both sides       ${ms(figures.scanMs)}`,
    `  verification speed           ${showFigure(figures.verifyByScan, 2)}x of the plain scan`,
    `  load of the machine          ${showFigure(figures.load, 1)}, now ${loadavg()[0]?.toFixed(1)}`,
  ];
}

function describeRound(number: number, round: Round): string {
  const parts = [
    `mysqldump | mysql ${Math.round(round.dumpMs)} ms`,
    `copy ${Math.round(round.copyMs)} ms`,
    `verification ${Math.round(round.verifyMs)} ms`,
    `scan ${Math.round(round.scanMs)} ms`,
    `load ${round.load.toFixed(1)}`,
  ];
  return `round ${number}${number === 0 ? ' (does not count)' : ''}: ${parts.join(', ')}`;
}
