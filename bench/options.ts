import { parseArgs } from 'node:util';
import { createRandom, type Random } from '../test/support/random.ts';

/** What all benches of the table take. */
export interface BenchOptions {
  /** Rounds that count. */
  readonly rounds: number;
  /** How long each measure drives its callers in a round, milliseconds. */
  readonly roundMs: number;
  /** Of the full sizes of what is written and read, from 0.001 to 1; {@link scaled} applies it. */
  readonly size: number;
  /** Of the steady load under which memory is looked at. */
  readonly minutes: number;
  /** Orders per shard up to which the data grows. */
  readonly mostOrders: number;
  readonly engine: 'mysql' | 'mariadb';
  readonly random: Random;
}

export const OPTIONS_HELP = `  Options of all in the table:
    --rounds N       rounds that count; one before them does not        (default 5)
    --ms N           length of a measure in a round, milliseconds       (default 600)
    --size F         factor of the full sizes, from 0.001 to 1          (default 1)
    --minutes N      of the load of memory                              (default 1)
    --orders N       on a shard, up to which growth looks               (default 1000000)
    --engine ENGINE  mysql or mariadb                                   (default mysql)
    --seed N         of users, amounts and the order of the measures
    --json FILE      write the table there too
    --svg FILE       write the figure of the simulation there
`;

/** Of all benches that start servers, for `parseArgs`. */
export const SERVER_OPTIONS = {
  rounds: { type: 'string', default: '5' },
  engine: { type: 'string', default: 'mysql' },
  seed: { type: 'string' },
  json: { type: 'string' },
} as const;

interface ServerValues {
  readonly rounds: string;
  readonly engine: string;
  readonly seed?: string | undefined;
  readonly json?: string | undefined;
}

/** Checks what {@link SERVER_OPTIONS} gave. Throws TypeError, with what is expected. */
export function readServerOptions({ rounds, engine, seed, json }: ServerValues): Omit<
  BenchOptions,
  'roundMs' | 'size' | 'minutes' | 'mostOrders'
> & {
  readonly json: string | undefined;
} {
  if (engine !== 'mysql' && engine !== 'mariadb') {
    throw new TypeError('--engine is mysql or mariadb.');
  }
  return {
    rounds: readCount('rounds', rounds, 100),
    engine,
    random: createRandom(seed === undefined ? undefined : readCount('seed', seed, 999_999_999)),
    json,
  };
}

/** Reads the options of the table's benches. Throws TypeError, with what is expected. */
export function readBenchOptions(
  args: readonly string[],
): BenchOptions & { readonly json: string | undefined; readonly svg: string | undefined } {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ms: { type: 'string', default: '600' },
      size: { type: 'string', default: '1' },
      orders: { type: 'string', default: '1000000' },
      minutes: { type: 'string', default: '1' },
      svg: { type: 'string' },
      ...SERVER_OPTIONS,
    },
  });
  return {
    ...readServerOptions(values),
    roundMs: readCount('ms', values.ms, 60_000),
    size: readSize(values.size),
    mostOrders: readCount('orders', values.orders, 10_000_000),
    minutes: readCount('minutes', values.minutes, 600),
    svg: values.svg,
  };
}

/** A size that `--size` makes smaller: a whole number, never below `least`. */
export function scaled({ size }: Pick<BenchOptions, 'size'>, full: number, least: number): number {
  return Math.max(least, Math.round(full * size));
}

function readSize(text: string): number {
  const size = /^(0\.\d{1,6}|1(\.0+)?)$/.test(text) ? Number(text) : Number.NaN;
  if (size >= 0.001 && size <= 1) return size;
  throw new TypeError('--size takes a factor from 0.001 to 1.');
}

/** A whole number from 1 to `most`. Throws TypeError. */
export function readCount(name: string, text: string, most: number): number {
  if (/^\d{1,9}$/.test(text) && Number(text) >= 1 && Number(text) <= most) return Number(text);
  throw new TypeError(`--${name} takes a whole number from 1 to ${most}.`);
}
