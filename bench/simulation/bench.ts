import { writeFile } from 'node:fs/promises';
import { createRandom } from '../../test/support/random.ts';
import { figureOf } from '../figures.ts';
import { type Line, lineOf } from '../lines.ts';
import { type BenchOptions, scaled } from '../options.ts';
import { type Change, type Draw, type Outcome, simulateDraw } from './outcome.ts';
import { plotSchemes } from './plot.ts';
import { fillCells, hashUsers, shareOfBusiest, zipfShares } from './population.ts';
import { type LawFigures, showChanges, showLaws, showSpread } from './report.ts';
import { figuresOf } from './results.ts';
import { CHANGES, START } from './schemes.ts';

const ORDERS = 1_000_000_000;
const USERS = 5_000_000;

/** With this exponent the busiest fifth of the users places four fifths of the orders: so it is often seen in shops. */
const LAW = 0.88;
/** All alike, milder, and 0.99: the constant of YCSB. */
const OTHER_LAWS = [0, 0.5, 0.99];

/** What a shard takes when nothing was measured in the run: placed by one process on 2 cores (docs/performance.md). */
const SHARD_PER_SECOND = 10_000;

export interface SimulationOptions extends BenchOptions {
  /** Where the figure goes. */
  readonly svg: string | undefined;
}

/**
 * A billion orders over 64 shards by the product's hash, map and planner, beside other ways to place keys. No servers.
 * `measured`: orders per second that a shard was seen to take in this run.
 */
export async function benchSimulation(
  options: SimulationOptions,
  measured: number | undefined,
): Promise<readonly Line[]> {
  const { rounds } = options;
  // Anew: what other benches drew before depends on their speed.
  const random = createRandom(options.random.seed);
  const count = scaled(options, USERS, 10_000);
  const users = hashUsers(count, random);
  const firsts = Array.from({ length: rounds }, () => random.below(count));
  const keys = fillCells(users, zipfShares(count, 0), 0);
  const simulate = (exponent: number, changes: readonly number[]): LawFigures =>
    simulateLaw({ users, keys, exponent, changes, firsts, seed: random.seed });
  const law = simulate(LAW, CHANGES);
  const laws = [...OTHER_LAWS.map((exponent) => simulate(exponent, [])), law];
  const shardPerSecond = measured ?? SHARD_PER_SECOND;
  const text = {
    title: `Where ${spaced(ORDERS)} orders lie on ${START} shards`,
    subtitle: `${spaced(count)} users by Zipf’s law, exponent ${LAW}: the busiest fifth has ${(law.busiestFifth * 100).toFixed(0)} %. Medians of ${rounds} draws, seed ${random.seed}.`,
  };
  const rows = [
    text.title,
    text.subtitle,
    `Orders are not drawn: each user has the expected number. Drawn, a shard’s load would differ by ${(100 * Math.sqrt(START / ORDERS)).toFixed(3)} % (standard deviation).`,
    `A shard takes ${Math.round(shardPerSecond)} orders per s (${measured === undefined ? 'docs/performance.md' : 'measured in this run'}).`,
    '',
    ...showSpread(law, shardPerSecond),
    '',
    ...showChanges(law, shardPerSecond),
    '',
    `In parts of a shard’s mean, by the exponent of the law:`,
    ...showLaws(laws.toSorted((a, b) => a.exponent - b.exponent)),
  ];
  for (const row of rows) console.log(row);
  if (options.svg !== undefined) await writeFile(options.svg, plotSchemes(law.schemes, text));
  return linesOf(law.draws);
}

interface Law extends Pick<Parameters<typeof simulateDraw>[0], 'users' | 'keys' | 'changes'> {
  readonly exponent: number;
  /** The busiest user of each draw. */
  readonly firsts: readonly number[];
  readonly seed: number;
}

function simulateLaw({ exponent, firsts, seed, ...given }: Law): LawFigures {
  const shares = zipfShares(given.users.buckets.length, exponent);
  const draws = firsts.map((first, draw) =>
    simulateDraw({ ...given, shares, first, orders: ORDERS, name: `${seed}/${draw}` }),
  );
  return {
    exponent,
    busiestFifth: shareOfBusiest(shares, 0.2),
    hottestUser: shares[0] ?? NaN,
    hottestBucket: figureOf(draws.map(({ hottestBucket }) => hottestBucket)),
    draws,
    schemes: figuresOf(draws),
  };
}

/** Changes that are worth a line beside the plot: one joins, one leaves. */
const SHOWN = [START + 1, START - 1];

/** The product beside the usual ways, draw by draw, for the table. */
export function linesOf(draws: readonly Draw[]): readonly Line[] {
  const others = draws[0]?.outcomes.slice(1, 3) ?? [];
  return others.flatMap(({ scheme }, index) => {
    const ratios = (value: (outcome: Outcome) => number): readonly number[] =>
      draws.map(({ outcomes }) => {
        const [product, other] = [outcomes[0], outcomes[index + 1]];
        return product && other ? value(product) / value(other) : Number.NaN;
      });
    const note = 'of expected orders';
    return [
      lineOf({
        what: `busiest of ${START} shards, Zipf ${LAW}`,
        limit: scheme,
        ratios: ratios(({ spread }) => spread.most),
        note,
      }),
      ...SHOWN.map((shards) =>
        lineOf({
          what: `orders moved, ${START} to ${shards} shards`,
          limit: scheme,
          ratios: ratios(({ changes }) => movedIn(changes, shards)),
          note,
        }),
      ),
    ];
  });
}

function movedIn(changes: readonly Change[], shards: number): number {
  return changes.find((change) => change.shards === shards)?.ordersMoved ?? Number.NaN;
}

function spaced(count: number): string {
  return count.toLocaleString('en').replaceAll(',', ' ');
}
