import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ShardId } from '../../src/kernel/ids.ts';
import { ledgerPurger } from '../../src/sagas/purge-ledger.ts';
import { homeBucketOf, type SagaId } from '../../src/sagas/saga-id.ts';
import type { SweepReport } from '../../src/sagas/sweep-report.ts';
import {
  OLD_MS,
  purgedBy,
  RECENT_MS,
  startPurgeWorld,
  type PurgeWorld,
} from '../support/purge-world.ts';
import { HOUR_MS, sagaOn } from '../support/saga-operations.ts';

let world: PurgeWorld;

beforeAll(async () => {
  world = await startPurgeWorld();
});
beforeEach(() => world.app.reset());
afterEach(() => world.databases.recover());
afterAll(() => world.stop());

const over = { kind: 'completed', value: null };

describe('ledger rows', () => {
  test('go when their saga ended, or is written down nowhere, for longer than the retention time', async () => {
    const ended = sagaOn(0);
    await world.app.addSaga({
      sagaId: ended,
      status: 'completed',
      outcome: over,
      createdMs: OLD_MS,
    });
    const local = sagaOn(1);
    const foreign = 'order:4711' as SagaId;
    const recent = sagaOn(1);
    const endedLate = sagaOn(2);
    await world.app.addSaga({
      sagaId: endedLate,
      status: 'compensated',
      createdMs: OLD_MS,
      updatedMs: RECENT_MS,
    });
    for (const bucket of [0, 1, 2]) {
      await world.addStep(ended, { bucket });
      await world.addStep(local, { bucket, name: 'local' });
      await world.addStep(foreign, { bucket });
      await world.addStep(recent, { bucket, atMs: RECENT_MS });
      await world.addStep(endedLate, { bucket });
    }
    expect(purgedBy(await world.purge(), ledgerPurger)).toBe(9);
    expect(await world.stepsLeft()).toEqual(
      [recent, recent, recent, endedLate, endedLate, endedLate].toSorted(),
    );
    expect(purgedBy(await world.purge(), ledgerPurger)).toBe(0);
  });

  test('of a saga that is not over stay, however old', async () => {
    const running = sagaOn(0);
    const compensating = sagaOn(1);
    await world.app.addSaga({ sagaId: running, createdMs: OLD_MS, attention: true });
    await world.app.addSaga({ sagaId: compensating, status: 'compensating', createdMs: OLD_MS });
    for (const bucket of [0, 1, 2]) {
      await world.addStep(running, { bucket });
      await world.addStep(compensating, { bucket });
    }
    expect(purgedBy(await world.purge(), ledgerPurger)).toBe(0);
    expect(await world.stepsLeft()).toHaveLength(6);
  });

  test('stay while the home shard of their saga cannot tell', async () => {
    const away = sagaOn(1);
    const moved = sagaOn(2);
    for (const sagaId of [away, moved]) {
      await world.app.addSaga({ sagaId, createdMs: OLD_MS });
      await world.addStep(sagaId, { bucket: 0 });
      await world.addStep(sagaId, { bucket: 3 });
    }
    const gone = sagaOn(0);
    await world.addStep(gone, { bucket: 0 });
    // The map of this instance is stale: the shard it leads to has neither the bucket nor the row.
    await world.app.write(2, 'DELETE FROM sagas');
    await world.app.own(2, homeBucketOf(moved), 'gone');
    await world.databases.stack.stopShard(1, 'kill');
    const report = await world.purge();
    expect(purgedBy(report, ledgerPurger)).toBe(1);
    await world.databases.recover();
    expect(await world.stepsLeft()).toEqual([away, away, moved, moved].toSorted());
  });

  test('are found behind many that must stay', async () => {
    const stays: SagaId[] = [];
    for (let count = 0; count < 90; count += 1) {
      const sagaId = sagaOn(1);
      stays.push(sagaId);
      await world.app.addSaga({ sagaId, createdMs: OLD_MS });
      // Some of the same instant: their keys decide where the next chunk begins.
      await world.addStep(sagaId, { bucket: 0, atMs: OLD_MS - HOUR_MS + Math.floor(count / 3) });
    }
    const goes = sagaOn(1);
    await world.addStep(goes, { bucket: 0 });
    // Twenty chunks of four rows are looked at in one run; the next one goes on there.
    expect(purgedBy(await world.purge(), ledgerPurger)).toBe(0);
    expect(purgedBy(await world.purge(), ledgerPurger)).toBe(1);
    expect(await world.stepsLeft()).toEqual(stays.toSorted());
  });

  test('in buckets of others, or fenced ones, are not ours to delete', async () => {
    const sagaId = sagaOn(1);
    for (const bucket of [0, 3, 6]) await world.addStep(sagaId, { bucket });
    await world.app.own(0, 0, 'gone');
    await world.app.own(0, 3, 'fenced');
    expect(purgedBy(await world.purge(), ledgerPurger)).toBe(1);
    const left = await world.app.rows(0, 'SELECT bucket FROM saga_steps ORDER BY bucket');
    expect(left.map((row) => row['bucket'])).toEqual([0, 3]);
  });

  test('wait for a fence that is being taken, and then stay', async () => {
    const sagaId = sagaOn(1);
    await world.addStep(sagaId, { bucket: 3 });
    let report: Promise<SweepReport> | undefined;
    await world.app.services.database.onShard(
      0 as ShardId,
      (shard) =>
        shard.transaction(async (tx) => {
          await tx.execute("UPDATE bucket_ownership SET state = 'fenced' WHERE bucket = 3", []);
          // It finds the row by the committed state, and meets the lock when it is to delete it.
          report = world.purge();
          await new Promise((resolve) => {
            setTimeout(resolve, 500);
          });
        }),
      { deadlineMs: 10_000 },
    );
    expect(purgedBy((await report) as SweepReport, ledgerPurger)).toBe(0);
    expect(await world.stepsLeft()).toEqual([sagaId]);
  });

  test('are deleted once by several purges at once, without a deadlock', async () => {
    for (let count = 0; count < 60; count += 1) {
      for (const bucket of [count % 9, (count * 7) % 30]) {
        await world.addStep(sagaOn(0), { bucket, atMs: OLD_MS - (count % 5) });
      }
    }
    const reports = await Promise.all([1, 2, 3].map(() => world.purge()));
    expect(reports.flatMap(({ shards }) => shards.flatMap(({ errors }) => errors))).toEqual([]);
    expect(reports.reduce((sum, report) => sum + purgedBy(report, ledgerPurger), 0)).toBe(120);
    expect(
      world.app.databaseEvents.filter(({ event }) => event === 'database.attempt_failed'),
    ).toEqual([]);
  });
});
