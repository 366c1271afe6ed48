import { afterAll, beforeAll, expect, test } from 'vitest';
import { transferOrderSaga } from '../../src/orders/saga.ts';
import { changeEmailSaga, registerUserSaga } from '../../src/users/saga.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { createFaults, type Faults } from '../support/faults/faults.ts';
import { createRandom } from '../support/random.ts';
import type { CellWorld } from '../support/sagas/cells.ts';
import { type Column, COLUMNS, runColumn } from '../support/sagas/columns.ts';
import { createMatrix, nameOf, type Row, rowsOf, shuffled } from '../support/sagas/matrix.ts';
import { createKeys, SHARDS } from '../support/sagas/placement.ts';
import { expectNothingHeld } from '../support/sagas/watch.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

/**
 * Every delivery of every saga (from the tables) under every fault: it ends completed with all its effects or
 * compensated with none. Short by default: each row crashes the host at one of the two instants. TEST_LONG=1: all cells,
 * and the shard is away for 20 s. SEED repeats a run.
 */
const LONG = process.env['TEST_LONG'] === '1';
const SHARD_AWAY_MS = LONG ? 20_000 : 4_000;
const random = createRandom();
const rows = rowsOf([registerUserSaga, changeEmailSaga, transferOrderSaga]);
const matrix = createMatrix(
  rows,
  COLUMNS.map((column) => column.name),
);
/** The rows of each of the two crash columns in the short form: together all of them. */
const [firstHalf, secondHalf] = halves(shuffled(rows, random));

let app: TestApp;
let faults: Faults;
let world: CellWorld;

beforeAll(async () => {
  console.log(`seed ${random.seed}, ${rows.length} rows, ${COLUMNS.length} columns`);
  faults = createFaults();
  app = await startTestApp({
    faults,
    settings: {
      // All rows of a column wait at once: more than an instance usually runs.
      AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions: '64',
      // A message must survive as many crashes as there are rows.
      AzureFunctionsJobHost__extensions__queues__maxDequeueCount: '100',
      SHARD_POOL_SIZE: '40',
      // A saga that waits for its neighbours' restarts must not be given up for that.
      SAGA_DEADLINE_MS: '900000',
    },
  });
  world = { app, faults, random, keys: createKeys(1_000_000) };
});

afterAll(async () => {
  console.log(matrix.print());
  await app.stop();
  await faults.remove();
});

function halves<T>(list: readonly T[]): readonly [readonly T[], readonly T[]] {
  const middle = Math.ceil(list.length / 2);
  return [list.slice(0, middle), list.slice(middle)];
}

function chosenRows(column: Column): readonly Row[] {
  if (LONG || column.isCrash !== true) return rows;
  return column === COLUMNS[0] ? firstHalf : secondHalf;
}

test.each(COLUMNS)('$name', async (column) => {
  const startedMs = performance.now();
  const settings = { shard: random.below(SHARDS), shardAwayMs: SHARD_AWAY_MS };
  const results = await runColumn(world, column, chosenRows(column), settings);
  for (const { cell, failure } of results) {
    matrix.set(cell.row, column.name, failure === undefined ? cell.expected : 'FAIL');
  }
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
  console.log(`${column.name}: ${results.length} rows in ${seconds} s`);
  const failures = results.filter(({ failure }) => failure !== undefined);
  expect(failures.map(({ cell, failure }) => `${nameOf(cell.row)}: ${String(failure)}`)).toEqual(
    [],
  );
  await expectNothingHeld(app);
  expect(await app.poisonCount('sagas')).toBe(0);
  expectGreen(await verifyCluster(app));
});
