import { type Figure, figureOf } from '../figures.ts';
import type { Draw, Outcome, Spread } from './outcome.ts';

/** What a scheme came to over all draws. */
export interface SchemeFigures {
  readonly scheme: string;
  /** Of the shards at first, most first: the median of each place. In parts of the mean. */
  readonly loads: readonly number[];
  readonly least: Figure;
  readonly most: Figure;
  readonly deviation: Figure;
  readonly changes: readonly ChangeFigures[];
}

export interface ChangeFigures {
  readonly shards: number;
  readonly keysMoved: Figure;
  readonly ordersMoved: Figure;
  /** Of the busiest shard afterwards, in parts of the mean. */
  readonly most: Figure;
}

/** Puts the draws together, scheme by scheme. */
export function figuresOf(draws: readonly Draw[]): readonly SchemeFigures[] {
  const [first] = draws;
  return (first?.outcomes ?? []).map(({ scheme, loads, changes }, index) => {
    const outcomes = draws.flatMap((draw) => draw.outcomes[index] ?? []);
    const over = (value: (outcome: Outcome) => number): Figure => figureOf(outcomes.map(value));
    const spread = (name: keyof Spread): Figure => over((outcome) => outcome.spread[name]);
    return {
      scheme,
      loads: loads.map((_, place) => over((outcome) => outcome.loads[place] ?? NaN).median),
      least: spread('least'),
      most: spread('most'),
      deviation: spread('deviation'),
      changes: changes.map(({ shards }, change) => ({
        shards,
        keysMoved: over((outcome) => outcome.changes[change]?.keysMoved ?? NaN),
        ordersMoved: over((outcome) => outcome.changes[change]?.ordersMoved ?? NaN),
        most: over((outcome) => outcome.changes[change]?.spread.most ?? NaN),
      })),
    };
  });
}
