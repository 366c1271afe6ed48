import { type Figure, showFigure } from '../figures.ts';
import { alignColumns } from '../lines.ts';
import { type Draw, fewestMoved } from './outcome.ts';
import type { SchemeFigures } from './results.ts';
import { START } from './schemes.ts';

/** How one law of busyness comes out; the figures are of the draws. */
export interface LawFigures {
  readonly exponent: number;
  /** Shares of all orders. */
  readonly busiestFifth: number;
  readonly hottestUser: number;
  readonly hottestBucket: Figure;
  readonly draws: readonly Draw[];
  readonly schemes: readonly SchemeFigures[];
}

/** Spread over the shards at first, and what they take until the busiest is full. */
export function showSpread({ schemes }: LawFigures, shardPerSecond: number): readonly string[] {
  const header = [
    `${START} shards`,
    'least',
    'most',
    'deviation',
    'orders per s until the busiest is full',
  ];
  const rows = schemes.map(({ scheme, least, most, deviation }) => [
    scheme,
    showFigure(least, 3),
    showFigure(most, 3),
    showFigure(deviation, 3),
    String(Math.round(perSecond(START, most, shardPerSecond))),
  ]);
  return alignColumns([header, ...rows]);
}

/** What each change of the shards moves, and how busy the busiest shard is afterwards. */
export function showChanges({ schemes }: LawFigures, shardPerSecond: number): readonly string[] {
  const header = [
    'shards change',
    'scheme',
    'users moved',
    'orders moved',
    'fewest',
    'most',
    'orders per s',
  ];
  const changes = schemes[0]?.changes ?? [];
  const rows = changes.flatMap(({ shards }, change) =>
    schemes.map(({ scheme, changes: ofScheme }) => {
      const found = ofScheme[change];
      if (found === undefined) return [];
      return [
        `${START} -> ${shards}`,
        scheme,
        percent(found.keysMoved),
        percent(found.ordersMoved),
        `${(fewestMoved(shards) * 100).toFixed(1)} %`,
        showFigure(found.most, 3),
        String(Math.round(perSecond(shards, found.most, shardPerSecond))),
      ];
    }),
  );
  return alignColumns([header, ...rows]);
}

/** The busiest shard of each scheme for users who are more or less alike. */
export function showLaws(laws: readonly LawFigures[]): readonly string[] {
  const names = laws[0]?.schemes.map(({ scheme }) => scheme) ?? [];
  const header = ['exponent', 'hottest user', 'hottest bucket', ...names];
  const rows = laws.map(({ exponent, hottestUser, hottestBucket, schemes }) => [
    String(exponent),
    (hottestUser * START).toFixed(4),
    showFigure(times(hottestBucket, START), 3),
    ...schemes.map(({ most }) => showFigure(most, 3)),
  ]);
  return alignColumns([header, ...rows]);
}

/** Orders per second of all shards when the busiest has as many as it takes. */
function perSecond(shards: number, most: Figure, shardPerSecond: number): number {
  return (shards * shardPerSecond) / most.median;
}

function percent(figure: Figure): string {
  return `${showFigure(times(figure, 100), 1)} %`;
}

function times({ median, least, most }: Figure, factor: number): Figure {
  return { median: median * factor, least: least * factor, most: most * factor };
}
