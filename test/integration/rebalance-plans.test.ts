import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import { purgeShownPlans, SHOWN_PLAN_AGE_MS } from '../../src/rebalancing/purge-plans.ts';
import type { StoredPlan } from '../../src/rebalancing/run-model.ts';
import { newRunState } from '../../src/rebalancing/run-state.ts';
import { createRunStore } from '../../src/rebalancing/run-store.ts';
import { createBlobStore } from '../../src/storage/blob-store.ts';
import { createVersionedBlobs } from '../../src/storage/versioned-blobs.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import { createTestStorage } from '../support/storage.ts';

/** Plans of dry runs, in a real storage account, seen at some time after they were shown. */
let databases: TestDatabases;

beforeAll(async () => {
  databases = await createTestDatabases();
});
afterAll(() => databases.drop());

function worldOf(scene: string) {
  const clients = createTestStorage({ ...databases, prefix: `${databases.prefix}-${scene}` });
  const blobs = createBlobStore(clients);
  const control = createVersionedBlobs(clients, 'control');
  const logger = createRecordingLogger();
  const purge = (afterMs: number, limits?: { lookedAt: number }): Promise<void> => {
    const clock = { ...systemClock, nowMs: () => Date.now() + afterMs };
    return purgeShownPlans({ blobs, clock, logger }, limits);
  };
  return { blobs, logger, purge, store: createRunStore({ control }) };
}

function planOf(number: number): StoredPlan {
  const planHash = String(number).padStart(64, '0');
  const totals = { buckets: 0, rows: 0, bytes: 0 };
  return { goal: {}, plan: { planHash, mapVersion: 1, moves: [], totals } };
}

const MINUTE_MS = 60_000;

describe('plans that were only shown', () => {
  test('can be approved for a day, and are deleted then', async () => {
    const { store, purge, logger } = worldOf('age');
    const shown = planOf(1);
    await store.writePlan(shown);
    await purge(SHOWN_PLAN_AGE_MS - MINUTE_MS);
    expect(await store.readPlan(shown.plan.planHash)).toEqual(shown);
    expect(logger.events).toEqual([]);
    await purge(SHOWN_PLAN_AGE_MS + MINUTE_MS);
    expect(await store.readPlan(shown.plan.planHash)).toBeUndefined();
  });

  test('do not take with them what runs need', async () => {
    const { store, purge, blobs } = worldOf('runs');
    const caps = { total: 1, perSource: 1, perTarget: 1 };
    const run = planOf(2);
    const state = newRunState({ plan: run.plan, caps, nowMs: 0 });
    await store.createRun('11111111-1111-4111-8111-111111111111', run, state);
    await store.current.claim('11111111-1111-4111-8111-111111111111', undefined);
    await store.writePlan(run);
    const before = await blobs.list('control', '', 100);
    await purge(SHOWN_PLAN_AGE_MS * 10);
    const left = await blobs.list('control', '', 100);
    expect(before.filter((name) => !left.includes(name))).toEqual([
      `rebalances/plans/${run.plan.planHash}.json`,
    ]);
  });

  test('go a bounded number at a time, also when two runs meet', async () => {
    const { store, purge, blobs } = worldOf('bound');
    for (let number = 1; number <= 5; number++) await store.writePlan(planOf(number));
    const left = async (): Promise<number> =>
      (await blobs.list('control', 'rebalances/plans/', 100)).length;
    const limits = { lookedAt: 2 };
    await purge(SHOWN_PLAN_AGE_MS * 2, limits);
    expect(await left()).toBe(3);
    await Promise.all([1, 2].map(() => purge(SHOWN_PLAN_AGE_MS * 2, limits)));
    expect(await left()).toBeLessThanOrEqual(1);
    await purge(SHOWN_PLAN_AGE_MS * 2, limits);
    expect(await left()).toBe(0);
    // Nothing there any more, nor a container where nothing was ever written.
    await purge(SHOWN_PLAN_AGE_MS * 2);
    await worldOf('empty').purge(SHOWN_PLAN_AGE_MS * 2);
  });
});
