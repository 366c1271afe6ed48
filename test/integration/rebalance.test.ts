import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import { copyBucket } from '../../src/rebalancing/copy.ts';
import { describeRun } from '../../src/rebalancing/describe-run.ts';
import type { Move } from '../../src/rebalancing/model.ts';
import { makePlan } from '../../src/rebalancing/plan-run.ts';
import { runPreflight } from '../../src/rebalancing/preflight.ts';
import { prepareMove } from '../../src/rebalancing/prepare.ts';
import type { Result, Verb } from '../../src/rebalancing/run-model.ts';
import { newRunState } from '../../src/rebalancing/run-state.ts';
import { createRunStore } from '../../src/rebalancing/run-store.ts';
import { explainBuckets } from '../../src/rebalancing/size-statements.ts';
import { workOnBucket } from '../../src/rebalancing/slice.ts';
import type { MoveServices } from '../../src/rebalancing/session.ts';
import { createThrottle } from '../../src/rebalancing/throttle.ts';
import type { Services } from '../../src/services.ts';
import { bucketsOf } from '../../src/sharding/bucket-map.ts';
import { contentOf, insertPlainRows } from '../support/moves/rows.ts';
import { idleClient, planOf, runServices } from '../support/moves/run-services.ts';
import { createMoves } from '../support/moves/scenes.ts';
import { createMoveWorld, runMove } from '../support/moves/world.ts';
import type { MoveWorld } from '../support/moves/world.ts';

/** What is around the moving of one bucket, on real servers: plan, preflight, slices, throttle, status. */
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});
afterEach(() => world.databases.recover());
afterAll(() => world.drop());

const servicesWith = (settings: Readonly<Record<string, string>> = {}): Services =>
  runServices(world, settings);

function work(
  move: Move,
  verb: Verb,
  services: MoveServices = world.services,
): Promise<Result | undefined> {
  return workOnBucket(services, move, verb, {
    endsAtMs: services.clock.monotonicMs() + 30_000,
    stallLimitMs: 5_000,
    throttle: () => Promise.resolve(),
    mayGoOn: () => Promise.resolve(true),
  });
}

describe('the plan', () => {
  it('knows how many rows each bucket has', async () => {
    const large = await freshMove(600);
    const small = await freshMove(20);
    const plan = await makePlan(servicesWith(), { drain: [0 as ShardId] });
    const rowsOf = (bucket: BucketId): number | undefined =>
      plan.moves.find((move) => move.bucket === bucket)?.estimatedRows;
    // Orders and keys, and a tenth as many steps.
    expect(rowsOf(large.bucket)).toBe(1_260);
    expect(rowsOf(small.bucket)).toBe(42);
    expect(plan.moves.every((move) => move.from === 0 && move.to !== 0)).toBe(true);
  });

  it('refuses shards that are not there, all at once', async () => {
    const goal = { targetShards: [0, 7] as ShardId[], drain: [0, 9] as ShardId[] };
    await expect(makePlan(servicesWith(), goal)).rejects.toMatchObject({
      code: 'validation-failed',
      problems: [{ path: '/drain/1' }, { path: '/targetShards/0' }, { path: '/targetShards/1' }],
    });
  });

  it('can be made from estimates, a row for each bucket in their order', async () => {
    const large = await freshMove(3_000);
    const buckets = bucketsOf(await world.services.bucketMap.refresh(), 0 as ShardId);
    const rows = await world.on(0, (shard) => shard.query(explainBuckets(buckets), []));
    expect(rows.length).toBeGreaterThanOrEqual(buckets.length);
    const guesses = buckets.map((_, index) => Number(rows[index]?.['rows'] ?? 0));
    expect(guesses.indexOf(Math.max(...guesses))).toBe(buckets.indexOf(large.bucket));
    expect(Math.max(...guesses)).toBeGreaterThan(1_500);
  });
});

describe('the preflight', () => {
  it('finds nothing where nothing is wrong, and says what it cannot know', async () => {
    const move = await freshMove(10);
    const { problems, notes } = await runPreflight(world.services, planOf(move));
    expect(problems).toEqual([]);
    expect(notes).toEqual([expect.stringContaining('disk of shard 1')]);
  });

  it('tells all problems at once', async () => {
    const stray = await freshMove(10);
    await world.on(1, (shard) => insertPlainRows(shard, stray.bucket, 5));
    const owned = (await world.services.bucketMap.refresh()).assignment.indexOf(1) as BucketId;
    const wrong = { ...stray, bucket: owned };
    const away = { ...(await freshMove(10)), to: 2 as ShardId };
    const nowhere = { ...(await freshMove(10)), to: 9 as ShardId };
    await world.databases.stack.stopShard(2);
    const plan = planOf(stray, wrong, away, nowhere);
    const { problems } = await runPreflight(world.instance(), plan);
    const told = problems.map(({ path, message }) => `${path} ${message}`);
    expect(told).toEqual([
      expect.stringContaining(`/shards/1 owns bucket ${owned} already`),
      expect.stringContaining(`/shards/1 has rows of bucket ${stray.bucket}`),
      expect.stringMatching(/^\/shards\/2 .* does not answer/),
      '/shards/9 is missing from SHARDS',
    ]);
  });

  it('tells of copies and moves that were left behind', async () => {
    const begun = await freshMove(10);
    await prepareMove(world.services, begun);
    const back = await movedAway();
    const plan = { ...planOf(begun, back) };
    const { problems, notes } = await runPreflight(world.services, plan);
    expect(problems).toEqual([]);
    expect(notes.join()).toContain(`begun copies of bucket ${begun.bucket}`);
    expect(notes.join()).toContain(`old copies of bucket ${back.bucket}`);
  });
});

/** A bucket that went from 0 to 1, not purged; gives the move back. */
async function movedAway(): Promise<Move> {
  const move = await freshMove(300);
  await runMove(world.services, move);
  return { ...move, id: `${move.id}-back`, from: move.to, to: move.from };
}

describe('a slice of a move', () => {
  it('moves a bucket, and finds it moved when it comes again', async () => {
    const move = await freshMove(500);
    const before = await world.on(0, (shard) => contentOf(shard, move.bucket));
    expect(await work(move, 'move')).toMatchObject({ outcome: 'done' });
    expect(await work(move, 'move')).toEqual({ bucket: move.bucket, outcome: 'done' });
    expect(await world.on(1, (shard) => contentOf(shard, move.bucket))).toEqual(before);
    expect(await work(move, 'purge')).toMatchObject({ outcome: 'purged', rows: 1_050 });
    expect(await world.on(0, (shard) => contentOf(shard, move.bucket))).toEqual([]);
  });

  it('purges an old copy that is in its way', async () => {
    const back = await movedAway();
    expect(await work(back, 'move')).toMatchObject({ outcome: 'done' });
    expect((await world.ownership(back.bucket))[0]).toMatchObject({ state: 'owned', epoch: 3 });
  });

  it('does not purge what came back', async () => {
    const back = await movedAway();
    await work(back, 'move');
    const rows = await world.on(0, (shard) => contentOf(shard, back.bucket));
    const first = { ...back, from: back.to, to: back.from };
    expect(await work(first, 'purge')).toEqual({
      bucket: back.bucket,
      outcome: 'purged',
      rows: 0,
    });
    expect(await world.on(0, (shard) => contentOf(shard, back.bucket))).toEqual(rows);
  });

  it('removes what a run before left at the target', async () => {
    const left = await freshMove(500);
    await prepareMove(world.services, left);
    await copyBucket(world.services, left, { sliceMs: 1, chunkRows: 50 });
    const move = { ...left, id: `${left.id}-again` };
    expect(await work(move, 'move')).toMatchObject({ outcome: 'done' });
    expect((await world.ownership(move.bucket))[1]).toMatchObject({ state: 'owned', epoch: 2 });
  });

  it('takes back what is not switched; what is stays', async () => {
    const begun = await freshMove(500);
    await prepareMove(world.services, begun);
    await copyBucket(world.services, begun, { sliceMs: 1, chunkRows: 50 });
    expect(await work(begun, 'cancel')).toMatchObject({ outcome: 'cancelled' });
    expect((await world.ownership(begun.bucket))[1]).toMatchObject({ state: 'gone', movedTo: 0 });
    expect(await world.on(1, (shard) => contentOf(shard, begun.bucket))).toEqual([]);
    const unbegun = await freshMove(5);
    expect(await work(unbegun, 'cancel')).toMatchObject({ outcome: 'cancelled' });
    const done = await freshMove(5);
    await work(done, 'move');
    expect(await work(done, 'cancel')).toMatchObject({ outcome: 'done' });
    expect((await world.ownership(done.bucket))[1]).toMatchObject({ state: 'owned' });
  });

  it('says what is in its way, and does not throw', async () => {
    const move = await freshMove(5);
    await world.on(1, (shard) => insertPlainRows(shard, move.bucket, 5));
    expect(await work(move, 'move')).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('never was told') as string,
    });
    await world.databases.stack.stopShard(1);
    // An instance of its own: the circuits of the others stay closed.
    const away = await work(move, 'move', world.instance());
    expect(away?.outcome).toBe('failed');
    expect(away?.error).not.toContain('127.0.0.1');
  });
});

describe('the throttle', () => {
  it('holds up while a shard is busy, and says why', async () => {
    const services = servicesWith({ REBALANCE_MAX_THREADS_RUNNING: '5' });
    const throttle = createThrottle(services, [0, 1] as ShardId[]);
    await throttle();
    const sleepers = Promise.all(
      Array.from({ length: 6 }, () => world.on(1, (shard) => shard.query('SELECT SLEEP(5)', []))),
    );
    await services.clock.sleep(700);
    await expect(throttle()).rejects.toMatchObject({
      throttled: { shard: 1, reason: expect.stringContaining('statements run at once') as string },
    });
    await sleepers;
    await throttle();
  });
});

describe('the status', () => {
  it('is true to the rows at the target', async () => {
    const services = servicesWith();
    const move = await freshMove(500);
    const other = await freshMove(5);
    const plan = planOf(move, other);
    const store = createRunStore(services);
    const caps = { total: 1, perSource: 1, perTarget: 1 };
    const state = newRunState({ plan, caps, nowMs: services.clock.nowMs() });
    const [first, second] = state.moves;
    if (first === undefined || second === undefined) throw new Error('there are two moves');
    await store.createRun(
      move.id,
      { goal: {}, plan },
      {
        ...state,
        round: 1,
        status: 'running',
        moves: [{ ...first, state: 'moving' }, second],
      },
    );
    await prepareMove(services, move);
    await copyBucket(services, move, { sliceMs: 1, chunkRows: 50 });
    const copying = await describeRun(services, idleClient, move.id);
    expect(copying?.moves[0]).toMatchObject({ phase: 'copying', rows: 1_050, certificate: null });
    expect(copying?.moves[0]?.rowsCopied).toBeGreaterThan(0);
    expect(copying?.moves[0]?.rowsCopied).toBeLessThan(1_050);
    expect(copying?.moves[1]).toMatchObject({ phase: 'waiting', rows: 10, rowsCopied: 0 });
    await runMove(services, move);
    const done = await describeRun(services, idleClient, move.id);
    expect(done?.moves[0]).toMatchObject({ phase: 'done', rowsCopied: 1_050 });
    expect(done?.moves[0]?.certificate).toContain(move.id);
    expect(done?.progress).toMatchObject({ bucketsDone: 1, buckets: 2 });
    expect(await describeRun(services, idleClient, 'nothing')).toBeUndefined();
  });
});
