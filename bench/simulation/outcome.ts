import { type Cells, fillCells, type Users } from './population.ts';
import { bucketMapScheme, moduloScheme, ringScheme, type Scheme, START } from './schemes.ts';

/** Points of each shard on the good one of the two rings; the usual hundred and some. */
const RING_POINTS = 128;

/** How evenly something is spread, in parts of what each shard would have if it were even. */
export interface Spread {
  readonly least: number;
  readonly most: number;
  /** Standard deviation over the shards. */
  readonly deviation: number;
}

/** What a change of the shards does. Shares of all. */
export interface Change {
  readonly shards: number;
  readonly keysMoved: number;
  readonly ordersMoved: number;
  /** Of the orders, afterwards. */
  readonly spread: Spread;
}

/** What one scheme makes of one draw. */
export interface Outcome {
  readonly scheme: string;
  /** Orders of the shards at first, in parts of the mean, most first. */
  readonly loads: readonly number[];
  readonly spread: Spread;
  readonly changes: readonly Change[];
}

export interface Draw {
  readonly outcomes: readonly Outcome[];
  /** Share of all orders. */
  readonly hottestBucket: number;
}

/**
 * Who is how busy is drawn, and the points of the rings. All schemes get the same users with the same orders; `keys`
 * has the users in the cells, each counted as one.
 */
export function simulateDraw(options: {
  readonly users: Users;
  readonly shares: Float64Array;
  readonly keys: Cells;
  readonly first: number;
  readonly orders: number;
  /** Numbers of shards to change to. */
  readonly changes: readonly number[];
  readonly name: string;
}): Draw {
  const { users, shares, keys, first, name, changes } = options;
  const orders = fillCells(users, shares, first);
  const perBucket = orders.buckets.map((share) => Math.round(share * options.orders));
  const schemes = [
    bucketMapScheme(perBucket),
    moduloScheme,
    ringScheme(RING_POINTS, name),
    ringScheme(1, name),
  ];
  return {
    outcomes: schemes.map((scheme) => outcomeOf(scheme, { keys, orders, changes })),
    hottestBucket: orders.buckets.reduce((most, share) => Math.max(most, share), 0),
  };
}

function outcomeOf(
  scheme: Scheme,
  at: { readonly keys: Cells; readonly orders: Cells; readonly changes: readonly number[] },
): Outcome {
  const { keys, orders } = at;
  const cells = orders[scheme.cells];
  const before = scheme.owners(START);
  const loads = loadsOf(cells, before, START);
  return {
    scheme: scheme.name,
    loads: loads.toSorted((a, b) => b - a),
    spread: spreadOf(loads),
    changes: at.changes.map((shards) => {
      const after = scheme.owners(shards);
      return {
        shards,
        keysMoved: movedShare(keys[scheme.cells], before, after),
        ordersMoved: movedShare(cells, before, after),
        spread: spreadOf(loadsOf(cells, after, shards)),
      };
    }),
  };
}

/** What each shard has, in parts of the mean. */
export function loadsOf(
  cells: Float64Array,
  owners: Uint16Array,
  shards: number,
): readonly number[] {
  const loads = new Float64Array(shards);
  for (let cell = 0; cell < cells.length; cell++) {
    const owner = owners[cell] ?? 0;
    loads[owner] = (loads[owner] ?? 0) + (cells[cell] ?? 0);
  }
  const mean = loads.reduce((sum, load) => sum + load, 0) / shards;
  return Array.from(loads, (load) => load / mean);
}

/** Share that lies in cells whose owner changes. */
export function movedShare(cells: Float64Array, before: Uint16Array, after: Uint16Array): number {
  let moved = 0;
  let all = 0;
  for (let cell = 0; cell < cells.length; cell++) {
    const share = cells[cell] ?? 0;
    all += share;
    if (before[cell] !== after[cell]) moved += share;
  }
  return moved / all;
}

/** Of loads in parts of their mean. */
export function spreadOf(loads: readonly number[]): Spread {
  const variance = loads.reduce((sum, load) => sum + (load - 1) ** 2, 0) / loads.length;
  return {
    least: Math.min(...loads),
    most: Math.max(...loads),
    deviation: Math.sqrt(variance),
  };
}

/** The share that must move for an even spread: what shards that join get, or what the one that leaves has. */
export function fewestMoved(shards: number): number {
  return shards > START ? (shards - START) / shards : (START - shards) / START;
}
