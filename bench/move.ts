import { writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { findClientTools } from '../local/shards/binaries/client-tools.ts';
import { defaultCacheDir } from '../local/shards/binaries/find-mysqld.ts';
import { engineName } from '../local/shards/binaries/versions.ts';
import { LocalShardsError } from '../local/shards/errors.ts';
import { ADMIN_USER } from '../local/shards/servers/server-options.ts';
import type { Stack } from '../local/shards/stack.ts';
import { loadConfig } from '../src/config.ts';
import { createServices } from '../src/create-services.ts';
import type { Shard } from '../src/database/contracts.ts';
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
import { atLeast, type Line, lineOf } from './lines.ts';
import {
  type BenchOptions,
  readCount,
  readServerOptions,
  scaled,
  SERVER_OPTIONS,
} from './options.ts';
import { analyzeTables } from './statements.ts';
import { quietLogger, settingsOf, withServers } from './world.ts';

const FULL_ORDERS = 200_000;
/** Of the table, so that it stays below 90 s. */
const TABLE_ROUNDS = 3;

export const MOVE_HELP = `  move               copy and verification of one bucket between two servers, in mysqldump | mysql of the same rows
    --orders N       orders in the bucket; other tables in proportion   (default ${FULL_ORDERS})
    --rounds N       rounds that count; one before them does not        (default 5)
    --engine ENGINE  mysql or mariadb                                   (default mysql)
    --seed N         of the rows
    --json FILE      write the figures there too
`;

type Options = ReturnType<typeof readServerOptions> & { readonly orders: number };

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: { orders: { type: 'string', default: String(FULL_ORDERS) }, ...SERVER_OPTIONS },
  });
  // The bucket has to fit into the servers' memory, else the disk is measured.
  const orders = readCount('orders', values.orders, 1_000_000);
  return { ...readServerOptions(values), orders };
}

/** Runs the bench and prints its figures. Throws `LocalShardsError` when servers or tools cannot be had. */
export async function benchMove(args: readonly string[]): Promise<void> {
  const options = readOptions(args);
  const { rounds, figures, ...setting } = await measureMoves(options);
  for (const line of describe(figures)) console.log(line);
  if (options.json !== undefined) {
    const text = JSON.stringify({ bench: 'move', ...setting, figures, rounds }, null, 2);
    await writeFile(options.json, `${text}\n`);
  }
}

/** Lines of the table, from fewer rounds than its other benches have: one takes a dozen seconds. */
export async function benchMoveLines(options: BenchOptions): Promise<readonly Line[]> {
  const { rounds, rows } = await measureMoves({
    ...options,
    rounds: Math.min(options.rounds, TABLE_ROUNDS),
    orders: scaled(options, FULL_ORDERS, 200),
  });
  const speed = (other: (round: Round) => number, own: (round: Round) => number): number[] =>
    rounds.map((round) => other(round) / own(round));
  const note = `${rows} rows`;
  const verified = 'verification of it: speed';
  return [
    lineOf({
      what: 'copy of a bucket: speed',
      limit: 'mysqldump | mysql',
      ratios: speed(
        ({ dumpMs }) => dumpMs,
        ({ copyMs }) => copyMs,
      ),
      target: atLeast(1),
      note,
    }),
    lineOf({
      what: verified,
      limit: 'mysqldump | mysql',
      ratios: speed(
        ({ dumpMs }) => dumpMs,
        ({ verifyMs }) => verifyMs,
      ),
      target: atLeast(0.7),
      note,
    }),
    lineOf({
      what: verified,
      limit: 'CHECKSUM TABLE, both sides',
      ratios: speed(
        ({ checksumMs }) => checksumMs,
        ({ verifyMs }) => verifyMs,
      ),
      note,
    }),
    lineOf({
      what: verified,
      limit: 'plain scan, both sides',
      ratios: speed(
        ({ scanMs }) => scanMs,
        ({ verifyMs }) => verifyMs,
      ),
      note,
    }),
  ];
}

type MoveOptions = Pick<Options, 'engine' | 'random' | 'rounds' | 'orders'>;

interface MeasuredMoves {
  readonly servers: string;
  readonly tools: string;
  readonly baseline: string;
  readonly seed: number;
  readonly orders: number;
  readonly rows: number;
  readonly bytes: number;
  readonly cores: number;
  readonly rounds: readonly Round[];
  readonly figures: Figures;
}

/** On two servers of its own. */
function measureMoves(options: MoveOptions): Promise<MeasuredMoves> {
  return withServers({ ...options, shards: 2 }, async (stack) => {
    const [source, target] = stack.shards;
    if (source === undefined || target === undefined) throw new LocalShardsError('Two are needed.');
    const { engine, version } = stack;
    const tools = await findClientTools({
      engine,
      serverVersion: version,
      cacheDir: defaultCacheDir(),
      onProgress: (progress) => {
        if (progress.kind === 'step') console.log(progress.message);
      },
    });
    // MySQL's dump flushes tables before its transaction, which the application's account may not.
    const [password = ''] = stack.adminPasswords;
    const asAdmin = { ...source, user: ADMIN_USER, password };
    const pipe = createDumpPipe({ tools, engine, source: asAdmin, target });
    const services = createServices(configOf(stack), quietLogger());
    const bench: MoveBench = { services, pipe, from: 0 as ShardId, to: 1 as ShardId };
    try {
      console.log(`baseline (${engineName(engine)} ${tools.version}): ${pipe.shown}`);
      return {
        servers: `${engineName(engine)} ${version}`,
        tools: `${engineName(engine)} ${tools.version}`,
        baseline: pipe.shown,
        seed: options.random.seed,
        orders: options.orders,
        cores: availableParallelism(),
        ...(await measureRounds(bench, options)),
      };
    } finally {
      await services.close();
      await pipe.dispose();
    }
  });
}

async function measureRounds(
  bench: MoveBench,
  { orders, random, rounds: counted }: MoveOptions,
): Promise<Pick<MeasuredMoves, 'rows' | 'bytes' | 'rounds' | 'figures'>> {
  const { database } = bench.services;
  console.log(`Filling bucket ${BUCKET} with ${orders} orders (seed ${random.seed}) …`);
  await database.prewarm();
  const fill = async (shard: Shard): Promise<void> => {
    await fillBucket(shard, { bucket: BUCKET, orders, random });
    await shard.query(analyzeTables(), []);
  };
  await database.onShard(bench.from, fill, PATIENT);
  const { rows, bytes } = await countBucket(bench, bench.from);
  console.log(`${rows} rows, ${bytes} bytes as text, ${availableParallelism()} cores`);
  const rounds: Round[] = [];
  for (let number = 0; number <= counted; number++) {
    const round = await measureRound(bench, { number, rows, random });
    if (number > 0) rounds.push(round);
    console.log(describeRound(number, round));
  }
  return { rows, bytes, rounds, figures: summarise(rounds, rows) };
}

/** The throttle looks as often as in production, but a busy machine must not make it wait. */
function configOf(stack: Stack): ReturnType<typeof loadConfig> {
  return loadConfig({
    ...settingsOf(stack),
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
    | 'checksumMs'
    | 'copyByDump'
    | 'verifyByDump'
    | 'verifyByScan'
    | 'verifyByChecksum'
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
    checksumMs: over((round) => round.checksumMs),
    copyByDump: over((round) => round.dumpMs / round.copyMs),
    verifyByDump: over((round) => round.dumpMs / round.verifyMs),
    verifyByScan: over((round) => round.scanMs / round.verifyMs),
    verifyByChecksum: over((round) => round.checksumMs / round.verifyMs),
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
    `  CHECKSUM TABLE, both sides   ${ms(figures.checksumMs)}`,
    `  verification speed           ${showFigure(figures.verifyByChecksum, 2)}x of CHECKSUM TABLE`,
    `  load of the machine          ${showFigure(figures.load, 1)}, now ${loadavg()[0]?.toFixed(1)}`,
  ];
}

function describeRound(number: number, round: Round): string {
  const parts = [
    `mysqldump | mysql ${Math.round(round.dumpMs)} ms`,
    `copy ${Math.round(round.copyMs)} ms`,
    `verification ${Math.round(round.verifyMs)} ms`,
    `scan ${Math.round(round.scanMs)} ms`,
    `CHECKSUM TABLE ${Math.round(round.checksumMs)} ms`,
    `load ${round.load.toFixed(1)}`,
  ];
  return `round ${number}${number === 0 ? ' (does not count)' : ''}: ${parts.join(', ')}`;
}
