import type { FenceState } from '../../../src/database/ownership.ts';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import type { Move } from '../../../src/rebalancing/model.ts';
import { newProgress } from '../../../src/rebalancing/progress.ts';
import type { MovePhase, MoveRecord } from '../../../src/rebalancing/progress.ts';

/** The bucket move protocol as a state (docs/protocol/bucket-move.md): one bucket, two shards, moves to and fro. */

export const BUCKET = 0 as BucketId;
export const SHARDS = [0, 1] as const;
export type At = (typeof SHARDS)[number];
export const other = (shard: At): At => (shard === 0 ? 1 : 0);

/** A row of `bucket_ownership`. `end`: whether `fenced_until` has passed by the server's clock. */
export interface Row {
  readonly state: FenceState['state'];
  readonly epoch: number;
  readonly movedTo: At | null;
  readonly token: number | null;
  readonly end: 'ahead' | 'passed' | null;
}

export const ABSENT: Row = { state: 'absent', epoch: 0, movedTo: null, token: null, end: null };

/** A row of `bucket_moves`. */
export interface Rec {
  readonly move: number;
  readonly epoch: number;
  readonly phase: MovePhase;
  readonly verified: boolean;
  readonly published: boolean;
}

/** One value per key; 0: no such row. */
export type Rows = readonly number[];

/** Somebody who works on moves, between two of its statements. Fields that no later statement uses are null. */
export interface Worker {
  readonly kind: 'delivery' | 'canceller' | 'healer' | 'purger';
  /** What comes next; see `workers.ts`. */
  readonly at: string;
  readonly move: number;
  readonly epoch: number;
  readonly token: number | null;
  readonly next: number | null;
  readonly fence: number | null;
  /** Tokens of earlier tries to set the fence, whose end is not known. */
  readonly tried: number | null;
  readonly row: Row | null;
  readonly target: Row | null;
  readonly rows: Rows | null;
}

export type Pair<T> = readonly [T, T];

export interface State {
  readonly own: Pair<Row>;
  readonly rec: Pair<Rec | null>;
  readonly rows: Pair<Rows>;
  /** What the acknowledged writes amount to, in their order: nobody in the protocol sees this. */
  readonly expected: Rows;
  readonly map: { readonly shard: At; readonly epoch: number };
  /** Writers inside their transaction: where they hold the shared lock, and what they will write. */
  readonly writing: readonly { readonly at: At; readonly key: number; readonly value: number }[];
  readonly writesLeft: number;
  readonly cancelsLeft: number;
  /** Statements that were sent, whose sender does not know whether they will run. */
  readonly adrift: readonly Statement[];
  readonly adriftLeft: number;
  readonly workers: readonly Worker[];
}

/** The statements of the move, as in the statements files of database and rebalancing. */
export type Statement =
  | {
      readonly kind: 'receive';
      readonly shard: At;
      readonly move: number;
      readonly epoch: number;
      readonly token: number;
      readonly seen: Row;
    }
  | {
      readonly kind: 'claim';
      readonly shard: At;
      readonly move: number;
      readonly token: number;
      readonly held: number | null;
      readonly toCancel: boolean;
    }
  | {
      readonly kind: 'write';
      readonly shard: At;
      readonly token: number;
      readonly rows: Rows | null;
      /** Rows that are sent are written, others stay: the copy. */
      readonly upsert: boolean;
      readonly phase: MovePhase | null;
      readonly verified: boolean;
    }
  | { readonly kind: 'fence'; readonly shard: At; readonly epoch: number; readonly token: number }
  | { readonly kind: 'lift'; readonly shard: At; readonly epoch: number; readonly token: number }
  | { readonly kind: 'lift-expired'; readonly shard: At }
  | { readonly kind: 'give'; readonly shard: At; readonly epoch: number; readonly token: number }
  | { readonly kind: 'take'; readonly shard: At; readonly epoch: number }
  | { readonly kind: 'unmark'; readonly shard: At; readonly move: number }
  | { readonly kind: 'delete-copy'; readonly shard: At; readonly token: number }
  | { readonly kind: 'send-back'; readonly shard: At; readonly token: number }
  | { readonly kind: 'purge'; readonly shard: At; readonly epoch: number }
  | { readonly kind: 'save-published'; readonly shard: At; readonly move: number };

export const sourceOf = (move: number): At => (move % 2 === 0 ? 0 : 1);
export const targetOf = (move: number): At => other(sourceOf(move));

/** The move as the product's functions take it. */
export function moveOf(move: number): Move {
  const [from, to] = [sourceOf(move), targetOf(move)] as unknown as [ShardId, ShardId];
  return { id: `m${move}`, bucket: BUCKET, from, to };
}

/** A row as the product reads it. */
export function fenceStateOf(row: Row): FenceState {
  const { state, epoch, end } = row;
  return {
    state,
    epoch,
    movedTo: row.movedTo as ShardId | null,
    token: row.token === null ? null : `t${row.token}`,
    fencedForMs: end === null ? null : end === 'ahead' ? 1_000 : -1,
  };
}

export function moveRecordOf(rec: Rec | null): MoveRecord | undefined {
  if (rec === null) return undefined;
  return {
    moveId: `m${rec.move}`,
    from: sourceOf(rec.move) as unknown as ShardId,
    epoch: rec.epoch,
    phase: rec.phase,
    progress: { ...newProgress(new Map()), published: rec.published },
    startedAt: '',
    updatedAt: '',
  };
}

export function withAt<T>(pair: Pair<T>, at: At, value: T): Pair<T> {
  return at === 0 ? [value, pair[1]] : [pair[0], value];
}

export interface Bounds {
  /** Values of the bucket's rows at first; a place with 0 may be filled by an insert. */
  readonly rows: Rows;
  readonly writes: number;
  /** Writers inside their transaction at once. */
  readonly writers: number;
  readonly deliveries: number;
  readonly cancels: number;
  readonly healers: number;
  readonly purgers: number;
  /** Statements whose sender gives up on them, and which run at any time later, or never. */
  readonly adrift: number;
  /** Moves one after the other: there, back, there again. */
  readonly moves: number;
}

const IDLE = {
  at: 'idle',
  move: 0,
  epoch: 0,
  token: null,
  next: null,
  fence: null,
  tried: null,
  row: null,
  target: null,
  rows: null,
} as const;

export function idle(kind: Worker['kind']): Worker {
  return { kind, ...IDLE };
}

export function initialState(bounds: Bounds): State {
  const many = (count: number, kind: Worker['kind']): readonly Worker[] =>
    Array.from({ length: count }, () => idle(kind));
  return {
    own: [{ ...ABSENT, state: 'owned', epoch: 1 }, ABSENT],
    rec: [null, null],
    rows: [bounds.rows, bounds.rows.map(() => 0)],
    expected: bounds.rows,
    map: { shard: 0, epoch: 1 },
    writing: [],
    writesLeft: bounds.writes,
    cancelsLeft: bounds.cancels,
    adrift: [],
    adriftLeft: bounds.adrift,
    workers: [
      ...many(bounds.deliveries, 'delivery'),
      ...many(bounds.cancels > 0 ? 1 : 0, 'canceller'),
      ...many(bounds.healers, 'healer'),
      ...many(bounds.purgers, 'purger'),
    ],
  };
}

/** A token that nobody and nothing has. */
export function freshToken(state: State): number {
  let highest = 0;
  const see = (token: number | null | undefined): void => {
    if (token !== null && token !== undefined && token > highest) highest = token;
  };
  for (const row of state.own) see(row.token);
  for (const worker of state.workers) {
    see(worker.token);
    see(worker.next);
    see(worker.fence);
    see(worker.tried);
    see(worker.row?.token);
    see(worker.target?.token);
  }
  for (const statement of state.adrift) {
    if ('token' in statement) see(statement.token);
    if (statement.kind === 'claim') see(statement.held);
    if (statement.kind === 'receive') see(statement.seen.token);
  }
  return highest + 1;
}

/**
 * The same text for states that differ only in the names of tokens, or in which of two alike workers is which: tokens
 * are named in the order in which they are met.
 */
export function keyOf(state: State): string {
  const names = new Map<number, number>();
  const token = (value: number | null): string => {
    if (value === null) return '';
    const known = names.get(value) ?? names.size + 1;
    names.set(value, known);
    return String(known);
  };
  const row = (value: Row | null): string =>
    value === null
      ? '-'
      : `${value.state[0]}${value.epoch}${value.movedTo ?? ''},${token(value.token)}${value.end?.[0] ?? ''}`;
  const parts = [
    ...state.own.map(row),
    ...state.rec.map((rec) =>
      rec === null
        ? '-'
        : `${rec.move}${rec.epoch}${rec.phase[1]}${rec.verified ? 'v' : ''}${rec.published ? 'p' : ''}`,
    ),
    state.rows.join('/'),
    state.expected.join(),
    `${state.map.shard}${state.map.epoch}`,
    state.writing
      .map((write) => `${write.at}${write.key}${write.value}`)
      .toSorted()
      .join(),
    `${state.writesLeft},${state.cancelsLeft},${state.adriftLeft}`,
  ];
  const shape = (worker: Worker): string =>
    `${worker.kind}${worker.at},${worker.move},${worker.epoch},${worker.rows?.join('') ?? ''}`;
  for (const worker of state.workers.toSorted((a, b) => (shape(a) < shape(b) ? -1 : 1))) {
    const tokens = [worker.token, worker.next, worker.fence, worker.tried].map(token).join(',');
    parts.push(`${shape(worker)},${tokens},${row(worker.row)},${row(worker.target)}`);
  }
  for (const statement of state.adrift) parts.push(statementKey(statement, token, row));
  return parts.join(';');
}

function statementKey(
  statement: Statement,
  token: (value: number | null) => string,
  row: (value: Row | null) => string,
): string {
  const named = {
    ...statement,
    ...('token' in statement ? { token: token(statement.token) } : {}),
    ...(statement.kind === 'claim' ? { held: token(statement.held) } : {}),
    ...(statement.kind === 'receive' ? { seen: row(statement.seen) } : {}),
  };
  return Object.values(named).join();
}
