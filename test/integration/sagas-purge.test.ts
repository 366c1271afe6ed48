import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import { transfersPurger } from '../../src/orders/purge-transfers.ts';
import type { Purger } from '../../src/sagas/modules.ts';
import { journalPurger } from '../../src/sagas/purge-journal.ts';
import { ledgerPurger } from '../../src/sagas/purge-ledger.ts';
import { homeBucketOf, sagaIdAt, type SagaId } from '../../src/sagas/saga-id.ts';
import { sweepSagas } from '../../src/sagas/sweep.ts';
import type { SweepReport } from '../../src/sagas/sweep-report.ts';
import { directoryPurger } from '../../src/users/purge-directory.ts';
import { createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import {
  HOUR_MS,
  KINDS,
  NOW_MS,
  sagaOn,
  sqlTime,
  startSagaOperations,
  type SagaOperations,
} from '../support/saga-operations.ts';

/** Retention is a day in these tests. */
const OLD_MS = NOW_MS - 25 * HOUR_MS;
const RECENT_MS = NOW_MS - 23 * HOUR_MS;
/** Sagas’ own rows are kept a day longer than their ledger. */
const VERY_OLD_MS = NOW_MS - 49 * HOUR_MS;

let databases: TestDatabases;
let app: SagaOperations;

beforeAll(async () => {
  databases = await createTestDatabases();
  app = await startSagaOperations(databases, {
    SAGA_RETENTION_HOURS: '24',
    SAGA_SWEEP_ROWS: '4',
    SAGA_STEP_DEADLINE_MS: '2000',
  });
});
beforeEach(() => app.reset());
afterEach(() => databases.recover());
afterAll(async () => {
  await app.close();
  await databases.drop();
});

const PURGERS = [directoryPurger, transfersPurger] as const;
const journal = journalPurger(KINDS);

async function purge(): Promise<SweepReport> {
  const parts = { modules: app.modules, settlers: [], purgers: PURGERS, nowMs: NOW_MS };
  return await sweepSagas(app.services, app.runtime.client, parts);
}

const purgedBy = (report: SweepReport, { name }: Purger): number =>
  report.shards.reduce((sum, { purged }) => sum + (purged[name] ?? 0), 0);

/** A step's row in a bucket of shard `bucket % 3`. */
async function addStep(sagaId: SagaId, step: { bucket: number; atMs?: number; name?: string }) {
  const { bucket, atMs = OLD_MS, name = 'act' } = step;
  const values = [bucket, sagaId, name, sqlTime(atMs)];
  const insert = "INSERT INTO saga_steps VALUES (?, ?, ?, 'done', NULL, ?)";
  await app.write(bucket % 3, insert, values);
}

/** Saga ids of the rows left in a table, sorted. */
async function leftOf(table: string): Promise<readonly string[]> {
  const left: string[] = [];
  for (const shard of [0, 1, 2]) {
    const rows = await app.rows(shard, `SELECT saga_id FROM ${table}`);
    left.push(...rows.map((row) => String(row['saga_id'])));
  }
  return left.toSorted();
}

const stepsLeft = (): Promise<readonly string[]> => leftOf('saga_steps');

const over = { kind: 'completed', value: null };

describe('ledger rows', () => {
  test('go when their saga ended, or is written down nowhere, for longer than the retention time', async () => {
    const ended = sagaOn(0);
    await app.addSaga({ sagaId: ended, status: 'completed', outcome: over, createdMs: OLD_MS });
    const local = sagaOn(1);
    const foreign = 'order:4711' as SagaId;
    const recent = sagaOn(1);
    const endedLate = sagaOn(2);
    await app.addSaga({
      sagaId: endedLate,
      status: 'compensated',
      createdMs: OLD_MS,
      updatedMs: RECENT_MS,
    });
    for (const bucket of [0, 1, 2]) {
      await addStep(ended, { bucket });
      await addStep(local, { bucket, name: 'local' });
      await addStep(foreign, { bucket });
      await addStep(recent, { bucket, atMs: RECENT_MS });
      await addStep(endedLate, { bucket });
    }
    expect(purgedBy(await purge(), ledgerPurger)).toBe(9);
    expect(await stepsLeft()).toEqual(
      [recent, recent, recent, endedLate, endedLate, endedLate].toSorted(),
    );
    expect(purgedBy(await purge(), ledgerPurger)).toBe(0);
  });

  test('of a saga that is not over stay, however old', async () => {
    const running = sagaOn(0);
    const compensating = sagaOn(1);
    await app.addSaga({ sagaId: running, createdMs: OLD_MS, attention: true });
    await app.addSaga({ sagaId: compensating, status: 'compensating', createdMs: OLD_MS });
    for (const bucket of [0, 1, 2]) {
      await addStep(running, { bucket });
      await addStep(compensating, { bucket });
    }
    expect(purgedBy(await purge(), ledgerPurger)).toBe(0);
    expect(await stepsLeft()).toHaveLength(6);
  });

  test('stay while the home shard of their saga cannot tell', async () => {
    const away = sagaOn(1);
    const moved = sagaOn(2);
    for (const sagaId of [away, moved]) {
      await app.addSaga({ sagaId, createdMs: OLD_MS });
      await addStep(sagaId, { bucket: 0 });
      await addStep(sagaId, { bucket: 3 });
    }
    const gone = sagaOn(0);
    await addStep(gone, { bucket: 0 });
    // The map of this instance is stale: the shard it leads to has neither the bucket nor the row.
    await app.write(2, 'DELETE FROM sagas');
    await app.own(2, homeBucketOf(moved), 'gone');
    await databases.stack.stopShard(1, 'kill');
    const report = await purge();
    expect(purgedBy(report, ledgerPurger)).toBe(1);
    await databases.recover();
    expect(await stepsLeft()).toEqual([away, away, moved, moved].toSorted());
  });

  test('are found behind many that must stay', async () => {
    const stays: SagaId[] = [];
    for (let count = 0; count < 90; count += 1) {
      const sagaId = sagaOn(1);
      stays.push(sagaId);
      await app.addSaga({ sagaId, createdMs: OLD_MS });
      // Some of the same instant: their keys decide where the next chunk begins.
      await addStep(sagaId, { bucket: 0, atMs: OLD_MS - HOUR_MS + Math.floor(count / 3) });
    }
    const goes = sagaOn(1);
    await addStep(goes, { bucket: 0 });
    // Twenty chunks of four rows are looked at in one run; the next one goes on there.
    expect(purgedBy(await purge(), ledgerPurger)).toBe(0);
    expect(purgedBy(await purge(), ledgerPurger)).toBe(1);
    expect(await stepsLeft()).toEqual(stays.toSorted());
  });

  test('in buckets of others, or fenced ones, are not ours to delete', async () => {
    const sagaId = sagaOn(1);
    for (const bucket of [0, 3, 6]) await addStep(sagaId, { bucket });
    await app.own(0, 0, 'gone');
    await app.own(0, 3, 'fenced');
    expect(purgedBy(await purge(), ledgerPurger)).toBe(1);
    const left = await app.rows(0, 'SELECT bucket FROM saga_steps ORDER BY bucket');
    expect(left.map((row) => row['bucket'])).toEqual([0, 3]);
  });

  test('wait for a fence that is being taken, and then stay', async () => {
    const sagaId = sagaOn(1);
    await addStep(sagaId, { bucket: 3 });
    let report: Promise<SweepReport> | undefined;
    await app.services.database.onShard(
      0 as ShardId,
      (shard) =>
        shard.transaction(async (tx) => {
          await tx.execute("UPDATE bucket_ownership SET state = 'fenced' WHERE bucket = 3", []);
          // It finds the row by the committed state, and meets the lock when it is to delete it.
          report = purge();
          await new Promise((resolve) => {
            setTimeout(resolve, 500);
          });
        }),
      { deadlineMs: 10_000 },
    );
    expect(purgedBy((await report) as SweepReport, ledgerPurger)).toBe(0);
    expect(await stepsLeft()).toEqual([sagaId]);
  });

  test('are deleted once by several purges at once, without a deadlock', async () => {
    for (let count = 0; count < 60; count += 1) {
      for (const bucket of [count % 9, (count * 7) % 30]) {
        await addStep(sagaOn(0), { bucket, atMs: OLD_MS - (count % 5) });
      }
    }
    const reports = await Promise.all([1, 2, 3].map(() => purge()));
    expect(reports.flatMap(({ shards }) => shards.flatMap(({ errors }) => errors))).toEqual([]);
    expect(reports.reduce((sum, report) => sum + purgedBy(report, ledgerPurger), 0)).toBe(120);
    expect(app.databaseEvents.filter(({ event }) => event === 'database.attempt_failed')).toEqual(
      [],
    );
  });
});

describe('sagas that have ended', () => {
  test('go with what was asked of them, a day after their ledger', async () => {
    const gone = [sagaOn(0), sagaOn(1), sagaOn(2)];
    const kept = [sagaOn(0), sagaOn(0), sagaOn(1), sagaOn(2)] as const;
    for (const [index, sagaId] of gone.entries()) {
      const status = index === 0 ? 'compensated' : 'completed';
      await app.addSaga({ sagaId, status, createdMs: VERY_OLD_MS, kind: KINDS[index % 2] });
    }
    await app.addSaga({ sagaId: kept[0], createdMs: VERY_OLD_MS });
    await app.addSaga({ sagaId: kept[1], status: 'compensating', createdMs: VERY_OLD_MS });
    await app.addSaga({ sagaId: kept[2], status: 'completed', createdMs: OLD_MS });
    await app.addSaga({
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
        await app.write(bucket % 3, insert, [bucket, sagaId, entry, sqlTime(VERY_OLD_MS)]);
      }
    }
    expect(purgedBy(await purge(), journal)).toBe(3);
    expect(await leftOf('sagas')).toEqual(kept.toSorted());
    const audits = await leftOf('saga_audit');
    expect(audits).toHaveLength(8);
    expect(new Set(audits)).toEqual(new Set(kept));
  });

  test('are deleted to the bounds of one run', async () => {
    for (let count = 0; count < 85; count += 1) {
      await app.addSaga({ sagaId: sagaOn(0), status: 'completed', createdMs: VERY_OLD_MS - count });
    }
    expect(purgedBy(await purge(), journal)).toBe(80);
    expect(purgedBy(await purge(), journal)).toBe(5);
  });
});

describe('what the slices left behind', () => {
  test('released emails go, those that anybody has stay', async () => {
    const add = (bucket: number, state: string, atMs: number) =>
      app.write(
        bucket % 3,
        'INSERT INTO email_directory VALUES (?, UNHEX(SHA2(?, 256)), ?, 7, ?, ?, ?)',
        [bucket, `${bucket}${state}`, `${bucket}@x`, state, 'saga', sqlTime(atMs)],
      );
    for (let bucket = 0; bucket < 20; bucket += 1) await add(bucket, 'released', OLD_MS);
    await add(20, 'released', RECENT_MS);
    await add(21, 'reserved', OLD_MS);
    await add(22, 'confirmed', OLD_MS);
    await app.own(0, 3, 'gone');
    expect(purgedBy(await purge(), directoryPurger)).toBe(19);
    const left = [];
    for (const shard of [0, 1, 2]) {
      left.push(...(await app.rows(shard, 'SELECT bucket FROM email_directory')));
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
        await app.write(1, `INSERT INTO orders (${columns}) VALUES (4, ?, 7, 5, ?, ?)`, values);
      }
      if (states.trace !== null) {
        const values = [id, states.trace, sqlTime(atMs)];
        const insert = "INSERT INTO order_transfers VALUES (4, ?, 7, 8, ?, 'saga', ?)";
        await app.write(1, insert, values);
      }
    };
    for (let index = 0; index < 6; index += 1) await add(index, { trace: 3, order: 3 });
    await add(6, { trace: 3, order: 3 }, RECENT_MS);
    await add(7, { trace: 3, order: 0 });
    await add(8, { trace: 1, order: 1 });
    await add(9, { trace: 2, order: 2 });
    await add(10, { trace: null, order: 0 });
    expect(purgedBy(await purge(), transfersPurger)).toBe(6);
    const left = async (table: string): Promise<readonly number[]> =>
      (await app.rows(1, `SELECT order_id FROM ${table} ORDER BY order_id`)).map((row) =>
        Number(BigInt(String(row['order_id'])) - first),
      );
    expect(await left('orders')).toEqual([6, 7, 8, 9, 10]);
    expect(await left('order_transfers')).toEqual([6, 7, 8, 9]);
  });
});

test('a moved order that comes back while it is to be purged stays, and nobody is a deadlock’s victim', async () => {
  const columns = 'bucket, order_id, user_id, amount_cents, created_at, state';
  const time = sqlTime(OLD_MS);
  await app.write(1, `INSERT INTO orders (${columns}) VALUES (4, 5, 7, 5, ?, 3)`, [time]);
  await app.write(1, "INSERT INTO order_transfers VALUES (4, 5, 7, 8, 3, 'saga', ?)", [time]);
  let report: Promise<SweepReport> | undefined;
  await app.services.database.onShard(
    1 as ShardId,
    (shard) =>
      shard.transaction(async (tx) => {
        // As transfers do: the order's row, then its trace.
        const key = 'bucket = 4 AND order_id = 5';
        await tx.query(`SELECT state FROM orders WHERE ${key} FOR UPDATE`, []);
        report = purge();
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
  expect(await app.rows(1, 'SELECT state FROM orders')).toEqual([{ state: 2 }]);
  expect(app.databaseEvents.filter(({ event }) => event === 'database.attempt_failed')).toEqual([]);
});

test('no purge reads more rows than it may delete, whatever else is there', async () => {
  const purgers = [ledgerPurger, journal, ...PURGERS];
  for (let count = 0; count < 200; count += 1) {
    const sagaId = sagaIdAt(0 as BucketId, `r${count}`);
    await addStep(sagaId, { bucket: 0, atMs: RECENT_MS });
    await app.addSaga({ sagaId, status: 'completed', createdMs: RECENT_MS });
  }
  const read = async (): Promise<number> => {
    const name = databases.engine === 'mysql' ? 'Innodb_rows_read' : 'Rows_read';
    const rows = await app.rows(0, `SHOW GLOBAL STATUS LIKE '${name}'`);
    return Number(rows[0]?.['Value']);
  };
  const insert = 'INSERT INTO email_directory VALUES (0, UNHEX(SHA2(?, 256)), ?, 7, ?, ?, ?)';
  for (let count = 0; count < 200; count += 1) {
    const state = count < 3 ? 'released' : 'confirmed';
    await app.write(0, insert, [`${count}`, `${count}`, state, 'saga', sqlTime(OLD_MS)]);
  }
  for (let count = 0; count < 3; count += 1) {
    const sagaId = sagaIdAt(0 as BucketId, `o${count}`);
    await addStep(sagaId, { bucket: 0 });
    await app.addSaga({ sagaId, status: 'completed', createdMs: VERY_OLD_MS });
  }
  const before = await read();
  const report = await purge();
  expect(purgers.map((purger) => purgedBy(report, purger))).toEqual([3, 3, 3, 0]);
  expect((await read()) - before).toBeLessThan(100);
});
