import { writeFile } from 'node:fs/promises';
import { figureOf } from '../figures.ts';
import { type Line, lineOf } from '../lines.ts';
import { type BenchOptions, scaled } from '../options.ts';
import { type Change, type Draw, type Outcome, simulateDraw } from './outcome.ts';
import { plotSchemes } from './plot.ts';
import { fillCells, hashUsers, shareOfBusiest, type Users, zipfShares } from './population.ts';
import { type LawFigures, showChanges, showLaws, showSpread } from './report.ts';
import { figuresOf } from './results.ts';
import { CHANGES, START } from './schemes.ts';

const ORDERS = 1_000_000_000;
const USERS = 5_000_000;

/** With this exponent the busiest fifth of the users places four fifths of the orders: so it is often seen in shops. */
const LAW = 0.88;
/** All alike, to busier heads than a shop has; 0.99 is the constant of YCSB. */
const LAWS = [0, 0.5, LAW, 0.99];

/** What a shard takes when nothing was measured in the run: placed by one process on 2 cores (docs/performance.md). */
export const SHARD_PER_SECOND = 10_000;

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
  const { random, rounds } = options;
  const count = scaled(options, USERS, 10_000);
  const users = hashUsers(count, random);
  const firsts = Array.from({ length: rounds }, () => random.below(count));
  const laws = LAWS.map((exponent) => simulateLaw(users, { exponent, firsts, seed: random.seed }));
  const law = laws.find(({ exponent }) => exponent === LAW);
  if (law === undefined) throw new TypeError('The main law is not among the laws.');
  const shardPerSecond = measured ?? SHARD_PER_SECOND;
  const fifth = shareOfBusiest(zipfShares(count, LAW), 0.2);
  const text = {
    title: `Where ${spaced(ORDERS)} orders lie on ${START} shards`,
    subtitle: `${spaced(count)} users by Zipf’s law, exponent ${LAW}: the busiest fifth has ${(fifth * 100).toFixed(0)} %. Medians of ${rounds} draws, seed ${random.seed}.`,
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
    ...showLaws(laws),
  ];
  for (const row of rows) console.log(row);
  if (options.svg !== undefined) await writeFile(options.svg, plotSchemes(law.schemes, text));
  return linesOf(law.draws);
}

function simulateLaw(
  users: Users,
  options: { readonly exponent: number; readonly firsts: readonly number[]; readonly seed: number },
): LawFigures {
  const count = users.buckets.length;
  const shares = zipfShares(count, options.exponent);
  const keys = fillCells(users, zipfShares(count, 0), 0);
  const draws = options.firsts.map((first, draw) =>
    simulateDraw({
      users,
      shares,
      keys,
      first,
      orders: ORDERS,
      changes: options.exponent === LAW ? CHANGES : [],
      name: `${options.seed}/${draw}`,
    }),
  );
  return {
    exponent: options.exponent,
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
