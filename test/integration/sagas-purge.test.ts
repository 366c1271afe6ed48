import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import { transfersPurger } from '../../src/orders/purge-transfers.ts';
import { journalPurger } from '../../src/sagas/purge-journal.ts';
import { ledgerPurger } from '../../src/sagas/purge-ledger.ts';
import { homeBucketOf, sagaIdAt } from '../../src/sagas/saga-id.ts';
import type { SweepReport } from '../../src/sagas/sweep-report.ts';
import { directoryPurger } from '../../src/users/purge-directory.ts';
import {
  OLD_MS,
  purgedBy,
  RECENT_MS,
  SLICE_PURGERS,
  startPurgeWorld,
  VERY_OLD_MS,
  type PurgeWorld,
} from '../support/purge-world.ts';
import { KINDS, sagaOn, sqlTime } from '../support/saga-operations.ts';

let world: PurgeWorld;

beforeAll(async () => {
  world = await startPurgeWorld();
});
beforeEach(() => world.app.reset());
afterEach(() => world.databases.recover());
afterAll(() => world.stop());

const journal = journalPurger(KINDS);

describe('sagas that have ended', () => {
  test('go with what was asked of them, a day after their ledger', async () => {
    const gone = [sagaOn(0), sagaOn(1), sagaOn(2)];
    const kept = [sagaOn(0), sagaOn(0), sagaOn(1), sagaOn(2)] as const;
    for (const [index, sagaId] of gone.entries()) {
      const status = index === 0 ? 'compensated' : 'completed';
      await world.app.addSaga({ sagaId, status, createdMs: VERY_OLD_MS, kind: KINDS[index % 2] });
    }
    await world.app.addSaga({ sagaId: kept[0], createdMs: VERY_OLD_MS });
    await world.app.addSaga({ sagaId: kept[1], status: 'compensating', createdMs: VERY_OLD_MS });
    await world.app.addSaga({ sagaId: kept[2], status: 'completed', createdMs: OLD_MS });
    await world.app.addSaga({
      sagaId: kept[3],
      status: 'completed',
      createdMs: VERY_OLD_MS,
      updatedMs: RECENT_MS,
    });
    for (const sagaId of [...gone, ...kept]) {
      for (const entry of [1, 2]) {
        const bucket = homeBucketOf(sagaId);
        const insert = `INSERT INTO saga_audit VALUES
          (?, ?, ?, 'retry', NULL, 'why', NULL, 'request', ?, 'applied', NULL)`;
        await world.app.write(bucket % 3, insert, [bucket, sagaId, entry, sqlTime(VERY_OLD_MS)]);
      }
    }
    expect(purgedBy(await world.purge(), journal)).toBe(3);
    expect(await world.leftOf('sagas')).toEqual(kept.toSorted());
    const audits = await world.leftOf('saga_audit');
    expect(audits).toHaveLength(8);
    expect(new Set(audits)).toEqual(new Set(kept));
  });

  test('are deleted to the bounds of one run', async () => {
    for (let count = 0; count < 85; count += 1) {
      await world.app.addSaga({
        sagaId: sagaOn(0),
        status: 'completed',
        createdMs: VERY_OLD_MS - count,
      });
    }
    expect(purgedBy(await world.purge(), journal)).toBe(80);
    expect(purgedBy(await world.purge(), journal)).toBe(5);
  });
});

describe('what the slices left behind', () => {
  test('released emails go, those that anybody has stay', async () => {
    const add = (bucket: number, state: string, atMs: number) =>
      world.app.write(
        bucket % 3,
        'INSERT INTO email_directory VALUES (?, UNHEX(SHA2(?, 256)), ?, 7, ?, ?, ?)',
        [bucket, `${bucket}${state}`, `${bucket}@x`, state, 'saga', sqlTime(atMs)],
      );
    for (let bucket = 0; bucket < 20; bucket += 1) await add(bucket, 'released', OLD_MS);
    await add(20, 'released', RECENT_MS);
    await add(21, 'reserved', OLD_MS);
    await add(22, 'confirmed', OLD_MS);
    await world.app.own(0, 3, 'gone');
    expect(purgedBy(await world.purge(), directoryPurger)).toBe(19);
    const left = [];
    for (const shard of [0, 1, 2]) {
      left.push(...(await world.app.rows(shard, 'SELECT bucket FROM email_directory')));
    }
    expect(left.map((row) => Number(row['bucket'])).toSorted((a, b) => a - b)).toEqual([
      3, 20, 21, 22,
    ]);
  });

  test('moved orders go with their trace, both of them moved, or not at all', async () => {
    // Beyond 2^53, next to each other.
    const first = 9_007_199_254_740_993n;
    const add = async (
      index: number,
      states: { trace: number | null; order: number | null },
      atMs = OLD_MS,
    ): Promise<void> => {
      const id = String(first + BigInt(index));
      if (states.order !== null) {
        const columns = 'bucket, order_id, user_id, amount_cents, created_at, state';
        const values = [id, sqlTime(OLD_MS), states.order];
        await world.app.write(
          1,
          `INSERT INTO orders (${columns}) VALUES (4, ?, 7, 5, ?, ?)`,
          values,
        );
      }
      if (states.trace !== null) {
        const values = [id, states.trace, sqlTime(atMs)];
        const insert = "INSERT INTO order_transfers VALUES (4, ?, 7, 8, ?, 'saga', ?)";
        await world.app.write(1, insert, values);
      }
    };
    for (let index = 0; index < 6; index += 1) await add(index, { trace: 3, order: 3 });
    await add(6, { trace: 3, order: 3 }, RECENT_MS);
    await add(7, { trace: 3, order: 0 });
    await add(8, { trace: 1, order: 1 });
    await add(9, { trace: 2, order: 2 });
    await add(10, { trace: null, order: 0 });
    expect(purgedBy(await world.purge(), transfersPurger)).toBe(6);
    const left = async (table: string): Promise<readonly number[]> =>
      (await world.app.rows(1, `SELECT order_id FROM ${table} ORDER BY order_id`)).map((row) =>
        Number(BigInt(String(row['order_id'])) - first),
      );
    expect(await left('orders')).toEqual([6, 7, 8, 9, 10]);
    expect(await left('order_transfers')).toEqual([6, 7, 8, 9]);
  });
});

test('a moved order that comes back while it is to be purged stays, and nobody is a deadlock’s victim', async () => {
  const columns = 'bucket, order_id, user_id, amount_cents, created_at, state';
  const time = sqlTime(OLD_MS);
  await world.app.write(1, `INSERT INTO orders (${columns}) VALUES (4, 5, 7, 5, ?, 3)`, [time]);
  await world.app.write(1, "INSERT INTO order_transfers VALUES (4, 5, 7, 8, 3, 'saga', ?)", [time]);
  let report: Promise<SweepReport> | undefined;
  await world.app.services.database.onShard(
    1 as ShardId,
    (shard) =>
      shard.transaction(async (tx) => {
        // As transfers do: the order's row, then its trace.
        const key = 'bucket = 4 AND order_id = 5';
        await tx.query(`SELECT state FROM orders WHERE ${key} FOR UPDATE`, []);
        report = world.purge();
        await new Promise((resolve) => {
          setTimeout(resolve, 500);
        });
        await tx.query(`SELECT state FROM order_transfers WHERE ${key} FOR UPDATE`, []);
        await tx.execute(`UPDATE orders SET state = 2 WHERE ${key}`, []);
        await tx.execute(`UPDATE order_transfers SET state = 2 WHERE ${key}`, []);
      }),
    { deadlineMs: 10_000 },
  );
  expect(purgedBy((await report) as SweepReport, transfersPurger)).toBe(0);
  expect(await world.app.rows(1, 'SELECT state FROM orders')).toEqual([{ state: 2 }]);
  expect(
    world.app.databaseEvents.filter(({ event }) => event === 'database.attempt_failed'),
  ).toEqual([]);
});

test('no purge reads more rows than it may delete, whatever else is there', async () => {
  const purgers = [ledgerPurger, journal, ...SLICE_PURGERS];
  for (let count = 0; count < 200; count += 1) {
    const sagaId = sagaIdAt(0 as BucketId, `r${count}`);
    await world.addStep(sagaId, { bucket: 0, atMs: RECENT_MS });
    await world.app.addSaga({ sagaId, status: 'completed', createdMs: RECENT_MS });
  }
  const read = async (): Promise<number> => {
    const name = world.databases.engine === 'mysql' ? 'Innodb_rows_read' : 'Rows_read';
    const rows = await world.app.rows(0, `SHOW GLOBAL STATUS LIKE '${name}'`);
    return Number(rows[0]?.['Value']);
  };
  const insert = 'INSERT INTO email_directory VALUES (0, UNHEX(SHA2(?, 256)), ?, 7, ?, ?, ?)';
  for (let count = 0; count < 200; count += 1) {
    const state = count < 3 ? 'released' : 'confirmed';
    await world.app.write(0, insert, [`${count}`, `${count}`, state, 'saga', sqlTime(OLD_MS)]);
  }
  for (let count = 0; count < 3; count += 1) {
    const sagaId = sagaIdAt(0 as BucketId, `o${count}`);
    await world.addStep(sagaId, { bucket: 0 });
    await world.app.addSaga({ sagaId, status: 'completed', createdMs: VERY_OLD_MS });
  }
  const before = await read();
  const report = await world.purge();
  expect(purgers.map((purger) => purgedBy(report, purger))).toEqual([3, 3, 3, 0]);
  expect((await read()) - before).toBeLessThan(100);
});
