import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { ProbePoint } from '../../../src/kernel/probe.ts';
import {
  armAt,
  type Cell,
  type CellWorld,
  type CellPlan,
  checkCell,
  deliverAgain,
  INJECTED,
  prepareCell,
  sendAgain,
  submit,
} from './cells.ts';
import type { Row } from './matrix.ts';
import { endedSaga, keepAlive, ledgerOf } from './watch.ts';

/** A fault, and what it does to all chosen rows. `fail` notes a row that did not end as it must. */
export interface Column {
  readonly name: string;
  readonly plan: (row: Row) => CellPlan;
  /** Brings the fault about at every cell; when it returns, the sagas may still be under way. */
  readonly strike: (
    world: CellWorld,
    cells: readonly Cell[],
    settings: ColumnSettings,
  ) => Promise<void>;
  /** What is done to each cell when its saga has ended. */
  readonly afterwards?: (world: CellWorld, cell: Cell) => Promise<void>;
  /** Rows need a restart of the host each. */
  readonly isCrash?: boolean;
}

export interface ColumnSettings {
  /** The shard that all rows of the column work on. */
  readonly shard: number;
  readonly shardAwayMs: number;
}

const PAUSED_AT_ONCE = 6;

/** Undo and seal come about only when the pivot is refused. */
const asTheRowNeeds = (row: Row): CellPlan => ({ refusePivot: row.verb !== 'run' });

/** A step up to the pivot that is refused once is the end of the saga; anything after it is tried again. */
const refusedForGood = (row: Row): boolean => row.verb === 'run' && row.step.role !== 'retriable';

/** Every effect that has a compensation is taken back before its late delivery. */
const compensatedFirst = (row: Row): CellPlan => ({
  refusePivot: row.verb !== 'run' || row.step.role !== 'retriable',
});

export const COLUMNS: readonly Column[] = [
  crash('crash before commit', 'sagas.beforeCommit'),
  crash('crash after commit', 'sagas.afterCommit'),
  { name: 'duplicate', plan: asTheRowNeeds, strike: duplicate, afterwards: deliverLate },
  { name: 'late', plan: compensatedFirst, strike: submitAll, afterwards: deliverLate },
  {
    name: 'permanent',
    plan: (row) => ({ ...asTheRowNeeds(row), refuseRow: refusedForGood(row) }),
    strike: permanent,
  },
  { name: 'transient x3', plan: asTheRowNeeds, strike: transient },
  { name: 'shard down', plan: asTheRowNeeds, strike: shardDown },
  { name: 'host killed', plan: asTheRowNeeds, strike: hostKilled },
];

/** Prepares, strikes and checks all rows of a column; says which failed, and why. */
export async function runColumn(
  world: CellWorld,
  column: Column,
  rows: readonly Row[],
  settings: ColumnSettings,
): Promise<readonly { readonly cell: Cell; readonly failure: unknown }[]> {
  const name = column.name.replaceAll(' ', '-');
  const cells = await Promise.all(
    rows.map((row) =>
      prepareCell(world, row, { column: name, shard: settings.shard, ...column.plan(row) }),
    ),
  );
  const notStruck = await failureOf(column.strike(world, cells, settings));
  if (notStruck !== undefined) return cells.map((cell) => ({ cell, failure: notStruck }));
  const check = async (cell: Cell): Promise<void> => {
    await column.afterwards?.(world, cell);
    await checkCell(world, cell);
  };
  return await Promise.all(
    cells.map(async (cell) => ({ cell, failure: await failureOf(check(cell)) })),
  );
}

async function failureOf(check: Promise<void>): Promise<unknown> {
  try {
    await check;
    return undefined;
  } catch (error) {
    return error;
  }
}

/** The host kills itself at the point, once for each row, and is started again. */
function crash(name: string, point: ProbePoint): Column {
  return {
    name,
    plan: asTheRowNeeds,
    isCrash: true,
    strike: async (world, cells) => {
      const exits = cells.map((cell) => armAt(world, cell, { point, action: 'exit' }));
      const isStruck = (): boolean => exits.every((id) => world.faults.hits(id).length === 1);
      const restarting = keepAlive(world.app, isStruck);
      await submitAll(world, cells);
      await restarting;
    },
  };
}

/** The same payload twice more while the first delivery is about to commit, and once more in the end (`deliverLate`). */
async function duplicate(world: CellWorld, cells: readonly Cell[]): Promise<void> {
  const { faults } = world;
  for (let from = 0; from < cells.length; from += PAUSED_AT_ONCE) {
    await Promise.all(
      cells.slice(from, from + PAUSED_AT_ONCE).map(async (cell) => {
        const pause = armAt(world, cell, { point: 'sagas.beforeCommit', action: 'pause' });
        await submit(world, cell);
        await faults.happened(pause);
        await sendAgain(world, cell, 2);
        faults.release(pause);
        await faults.happened(cell.answered, 3);
      }),
    );
  }
}

async function submitAll(world: CellWorld, cells: readonly Cell[]): Promise<void> {
  await Promise.all(cells.map((cell) => submit(world, cell)));
}

/** The same payload once more when the saga has ended: nothing changes. */
async function deliverLate(world: CellWorld, cell: Cell): Promise<void> {
  await endedSaga(world.app, cell.sagaId);
  if (cell.refusal !== undefined) world.faults.disarm(cell.refusal);
  const before = await ledgerOf(world.app, cell.sagaId);
  await deliverAgain(world, cell);
  expect(await ledgerOf(world.app, cell.sagaId)).toEqual(before);
}

/** Refused when all is written and nothing committed: once before the pivot is done, twice where it must go on. */
async function permanent(world: CellWorld, cells: readonly Cell[]): Promise<void> {
  const faults = cells.map((cell) => {
    const times = refusedForGood(cell.row) ? 1 : 2;
    const point = 'sagas.beforeCommit';
    return { times, id: armAt(world, cell, { point, action: 'permanent', code: INJECTED, times }) };
  });
  await submitAll(world, cells);
  await Promise.all(faults.map(({ id, times }) => world.faults.happened(id, times)));
}

/** Fails before anything, after all is written, and after the commit: the last outcome is unknown to the saga. */
async function transient(world: CellWorld, cells: readonly Cell[]): Promise<void> {
  const points = ['sagas.beforeStep', 'sagas.beforeCommit', 'sagas.afterCommit'] as const;
  const faults = cells.flatMap((cell) =>
    points.map((point) => armAt(world, cell, { point, action: 'transient' })),
  );
  await submitAll(world, cells);
  await Promise.all(faults.map((id) => world.faults.happened(id)));
}

/** The step's shard goes away when all rows are about to use it. */
async function shardDown(
  world: CellWorld,
  cells: readonly Cell[],
  { shard, shardAwayMs }: ColumnSettings,
): Promise<void> {
  const { app, faults } = world;
  const pauses = await pauseAll(world, cells, () => 'sagas.beforeStep');
  await app.stopShard(shard);
  for (const id of pauses) faults.release(id);
  await sleep(shardAwayMs);
  await app.startShard(shard);
}

/** One `kill -9` while all rows are about to begin, or have committed and said nothing yet. */
async function hostKilled(world: CellWorld, cells: readonly Cell[]): Promise<void> {
  const { app, random } = world;
  await pauseAll(world, cells, () =>
    random.below(2) === 0 ? 'sagas.beforeStep' : 'sagas.afterCommit',
  );
  await app.kill();
  await app.restart();
}

async function pauseAll(
  world: CellWorld,
  cells: readonly Cell[],
  pointOf: () => ProbePoint,
): Promise<readonly string[]> {
  const pauses = cells.map((cell) => armAt(world, cell, { point: pointOf(), action: 'pause' }));
  await submitAll(world, cells);
  await Promise.all(pauses.map((id) => world.faults.happened(id)));
  return pauses;
}
