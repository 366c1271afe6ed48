import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Rebalance } from '../../src/rebalancing/run-model.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';
import { createRandom, type Random } from '../support/random.ts';
import { expectAllThere } from '../support/storm/check.ts';
import { loadFirst, startLoad } from '../support/storm/load.ts';
import {
  describeRun,
  describeStallParts,
  mapNow,
  rebalanceEnded,
  rebalanceNow,
  rebalancePurged,
  stallsOf,
  startRebalance,
} from '../support/storm/rebalance.ts';
import { createStormWorld, type StormWorld } from '../support/storm/world.ts';

/**
 * Buckets move while everything goes on: to a fourth shard and back, with an instance whose map is never renewed by age,
 * and once more while the host is killed and servers and storage are away. Short by default; TEST_LONG=1 is the full run.
 * SEED repeats the choices.
 */
const LONG = process.env['TEST_LONG'] === '1';
const SCALE = LONG
  ? {
      users: 2_000,
      orders: 300_000,
      perBatch: 100_000,
      width: 32,
      pauseMs: 5,
      kills: 20,
      batch: 2_000,
      joining: 256,
      troubled: 256,
    }
  : {
      users: 60,
      orders: 2_000,
      perBatch: 2_000,
      width: 6,
      pauseMs: 60,
      kills: 3,
      batch: 100,
      joining: 80,
      troubled: 64,
    };
const AWAY = LONG ? { shardMs: 20_000, storageMs: 10_000 } : { shardMs: 4_000, storageMs: 3_000 };
const RUN_TIMEOUT_MS = LONG ? 1_800_000 : 240_000;
const TEST_TIMEOUT_MS = LONG ? 3_600_000 : 300_000;
const JOINING = 3;
/** Of writers, in the long form, whose buckets have about 300 orders each. */
const STALL_LIMIT_MS = { p95: 250, max: 500 };
/** The longest that the setting takes: such an instance learns of moves from the shards only. */
const OLDEST_MAP = { BUCKET_MAP_CACHE_MS: '3600000' };

/** More at once than is good for callers: the short form is to be short. */
const QUICK = {
  REBALANCE_MAX_MOVES: '12',
  REBALANCE_MAX_MOVES_PER_SOURCE: '4',
  REBALANCE_MAX_MOVES_PER_TARGET: '12',
  REBALANCE_STALL_LIMIT_MS: '2000',
  REBALANCE_SLICE_MS: '5000',
};
const SETTINGS = {
  VERIFY_GRACE_MS: '500',
  // The tests' machine has two cores for four servers, the app and its callers.
  REBALANCE_MAX_THREADS_RUNNING: '1000',
  REBALANCE_MAX_PROBE_MS: '5000',
  ...(LONG ? {} : QUICK),
  REBALANCE_PURGE_AFTER_MS: '1000',
  SAGA_SWEEP_SCHEDULE: '*/5 * * * * *',
  SAGA_STALE_MS: '10000',
};

const started: TestApp[] = [];
afterEach(async () => {
  for (const app of started.splice(0).toReversed()) {
    await app.stop();
  }
});

/** Three shards with users and orders, and an empty fourth one that the host has just been told of. */
async function threeShards(random: Random, options: { mayBreak: boolean }): Promise<StormWorld> {
  const app = await startTestApp({ shards: 4, configured: 3, settings: SETTINGS });
  started.push(app);
  const world = createStormWorld(app, random, options);
  await loadFirst(world, app.http, SCALE);
  app.setShards(4);
  await app.kill();
  await app.restart();
  return world;
}

function loadOver(world: StormWorld, ...instances: readonly TestApp[]): { stop(): Promise<void> } {
  return startLoad(world, {
    width: SCALE.width,
    instances: instances.map(({ http }) => http),
    pauseMs: SCALE.pauseMs,
    batchOrders: SCALE.batch,
    queueOrders: 20,
  });
}

function expectAllDone(run: Rebalance, count: number): void {
  expect(run.moves.filter(({ phase }) => phase !== 'done')).toEqual([]);
  expect([run.status, run.moves.length]).toEqual(['completed', count]);
  expect(run.moves.filter(({ certificate }) => certificate === null)).toEqual([]);
}

function expectStalls(run: Rebalance): void {
  if (!LONG) return;
  const { p95, max } = stallsOf(run);
  expect(p95).toBeLessThanOrEqual(STALL_LIMIT_MS.p95);
  expect(max).toBeLessThanOrEqual(STALL_LIMIT_MS.max);
}

/** So many buckets went to the shard that joined, and no other one moved. */
async function expectJoined(app: TestApp, before: readonly number[], count: number): Promise<void> {
  const { assignment, buckets, states } = await mapNow(app);
  const moved = assignment.filter((shard, bucket) => shard !== before[bucket]);
  expect(moved).toEqual(Array.from({ length: count }, () => JOINING));
  expect(buckets[JOINING]).toBe(count);
  expect(states).toEqual(['active', 'active', 'active', 'active']);
}

async function expectEmpty(app: TestApp, shard: number): Promise<void> {
  const tables = await app.sql(
    shard,
    "SELECT table_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() AND column_name = 'bucket' AND table_name <> 'bucket_ownership'",
  );
  const left: string[] = [];
  for (const { name } of tables) {
    const [row] = await app.sql(shard, `SELECT COUNT(*) AS n FROM ${String(name)}`);
    if (Number(row?.['n']) > 0) left.push(`${String(name)}: ${String(row?.['n'])}`);
  }
  expect(left).toEqual([]);
  const owned = await app.sql(shard, "SELECT bucket FROM bucket_ownership WHERE state <> 'gone'");
  expect(owned).toEqual([]);
}

test(
  'a shard joins and leaves again while everything goes on, also over an instance with an old map',
  { timeout: TEST_TIMEOUT_MS },
  async () => {
    const random = createRandom();
    console.log(`SEED=${random.seed}`);
    const world = await threeShards(random, { mayBreak: false });
    const { app, caller } = world;
    const stale = await startTestApp({ beside: app, settings: { ...SETTINGS, ...OLDEST_MAP } });
    started.push(stale);
    expect((await stale.http.get('/api/revenue')).status).toBe(200);
    const before = (await mapNow(app)).assignment;

    const load = loadOver(world, app, stale);
    const joined = await rebalanceEnded(
      app,
      await startRebalance(app, { maxBuckets: SCALE.joining }),
      RUN_TIMEOUT_MS,
    );
    console.log(`3 to 4 shards: ${describeRun(joined)}`);
    expectAllDone(joined, SCALE.joining);
    await expectJoined(app, before, SCALE.joining);
    await sleep(1_000);

    const leaving = await startRebalance(app, { drain: [JOINING] });
    const left = await rebalanceEnded(app, leaving, RUN_TIMEOUT_MS);
    console.log(`4 to 3 shards: ${describeRun(left)}`);
    console.log(describeStallParts(app.output));
    await load.stop();
    expect(caller.failures).toEqual([]);
    expectAllDone(left, SCALE.joining);
    for (const run of [joined, left]) expectStalls(run);
    await rebalancePurged(app, leaving, RUN_TIMEOUT_MS);
    await expectAllThere(world, [app.http, stale.http]);
    await expectEmpty(app, JOINING);

    await stale.stop();
    started.splice(started.indexOf(stale), 1);
    app.setShards(3);
    await app.kill();
    await app.restart();
    expect((await app.http.get('/api/health/ready')).status).toBe(200);
    expect((await mapNow(app)).buckets).toEqual([342, 341, 341, 0]);
    const after = loadOver(world, app);
    await sleep(2_000);
    await after.stop();
    expect(caller.failures).toEqual([]);
    await expectAllThere(world, [app.http]);
  },
);

/** Waits for a moment by chance in the given part of a run; some buckets are left for after the last one. */
async function momentOf(world: StormWorld, id: string, kill: number): Promise<void> {
  const part = SCALE.troubled / (SCALE.kills + 1);
  const least = Math.floor((kill - 1) * part) + world.random.below(Math.ceil(part));
  await until(
    () => rebalanceNow(world.app, id),
    (run) => run !== undefined && run.progress.bucketsDone >= least,
    { timeoutMs: RUN_TIMEOUT_MS, everyMs: 200 },
  );
  await sleep(world.random.below(500));
}

/** Kills, and absences after some of them, at moments by chance; how far the run was at each is told. */
async function trouble(world: StormWorld, id: string): Promise<void> {
  const { app, random } = world;
  const { stack } = app.databases;
  const tell = async (what: string): Promise<void> => {
    const run = await rebalanceNow(app, id);
    console.log(`${what} at ${run?.progress.bucketsDone ?? '?'} of ${SCALE.troubled} buckets`);
  };
  const shardAway = async (shard: number): Promise<void> => {
    await tell(`shard ${shard} goes away for ${AWAY.shardMs} ms`);
    await app.stopShard(shard);
    await sleep(AWAY.shardMs);
    await app.startShard(shard);
  };
  const absences = [
    () => shardAway(JOINING),
    async () => {
      await tell(`storage goes away for ${AWAY.storageMs} ms`);
      await stack.stopStorage();
      await sleep(AWAY.storageMs);
      await stack.startStorage();
    },
    () => shardAway(random.below(JOINING)),
  ];
  for (let kill = 1; kill <= SCALE.kills; kill += 1) {
    await momentOf(world, id, kill);
    await tell(`kill ${kill}`);
    await app.kill();
    await app.restart();
    await sleep(random.below(2_000));
    await absences.shift()?.();
  }
}

test(
  `a shard joins although the host is killed ${SCALE.kills} times and servers are away`,
  { timeout: TEST_TIMEOUT_MS },
  async () => {
    const random = createRandom();
    console.log(`SEED=${random.seed}`);
    const world = await threeShards(random, { mayBreak: true });
    const { app, caller } = world;
    const before = (await mapNow(app)).assignment;

    const load = loadOver(world, app);
    const id = await startRebalance(app, { maxBuckets: SCALE.troubled });
    const [run] = await Promise.all([rebalanceEnded(app, id, RUN_TIMEOUT_MS), trouble(world, id)]);
    await load.stop();
    console.log(`through trouble: ${describeRun(run)}; ${JSON.stringify(caller.counts)}`);
    expect(caller.failures).toEqual([]);
    expectAllDone(run, SCALE.troubled);
    await expectJoined(app, before, SCALE.troubled);
    await rebalancePurged(app, id, RUN_TIMEOUT_MS);
    await expectAllThere(world, [app.http]);
  },
);
