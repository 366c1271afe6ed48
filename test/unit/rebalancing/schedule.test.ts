import { describe, expect, test } from 'vitest';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import type { Plan, Result, RunState, Wish } from '../../../src/rebalancing/run-model.ts';
import { isOver } from '../../../src/rebalancing/run-model.ts';
import { MAX_ATTEMPTS, newRunState, nextRound } from '../../../src/rebalancing/run-state.ts';
import { nextMoves, type MoveCaps } from '../../../src/rebalancing/schedule.ts';
import { createRandom, type Random } from '../../support/random.ts';

const PURGE_AFTER_MS = 3_600_000;

function planOf(moves: readonly (readonly [number, number, number])[]): Plan {
  return {
    planHash: 'hash',
    mapVersion: 1,
    moves: moves.map(([bucket, from, to]) => ({
      bucket: bucket as BucketId,
      from: from as ShardId,
      to: to as ShardId,
      estimatedRows: 1,
      estimatedBytes: 1,
    })),
    totals: { buckets: moves.length, rows: moves.length, bytes: moves.length },
  };
}

function randomPlan(random: Random): Plan {
  const shards = 2 + random.below(5);
  return planOf(
    Array.from({ length: random.below(60) }, (_, bucket) => {
      const from = random.below(shards);
      return [bucket, from, (from + 1 + random.below(shards - 1)) % shards] as const;
    }),
  );
}

const capsOf = (random: Random): MoveCaps => ({
  total: 1 + random.below(6),
  perSource: 1 + random.below(3),
  perTarget: 1 + random.below(3),
});

/** What lanes do at once, in the worst case: one move each. */
function expectWithinCaps(state: RunState): void {
  const { decision, caps, moves } = state;
  if (decision.kind !== 'work') return;
  expect(decision.lanes.length).toBeGreaterThan(0);
  expect(decision.lanes.length).toBeLessThanOrEqual(caps.total);
  const pairs = decision.lanes.map((lane) => {
    const own = lane.map((bucket) => moves.find((move) => move.bucket === bucket));
    const kinds = new Set(own.map((move) => `${move?.from}>${move?.to}`));
    expect(kinds.size).toBe(1);
    return own[0];
  });
  for (const shard of new Set(moves.flatMap(({ from, to }) => [from, to]))) {
    const leaving = pairs.filter((move) => move?.from === shard).length;
    const arriving = pairs.filter((move) => move?.to === shard).length;
    expect(leaving).toBeLessThanOrEqual(caps.perSource);
    expect(arriving).toBeLessThanOrEqual(caps.perTarget);
  }
  const buckets = decision.lanes.flat();
  expect(new Set(buckets).size).toBe(buckets.length);
}

interface World {
  readonly random: Random;
  readonly failing: number;
  /** Buckets that always fail. */
  readonly broken: ReadonlySet<number>;
  readonly wishAt: (round: number) => Wish;
}

/** What the activities of a round answer. */
function workOn(state: RunState, world: World): Result[] {
  const { decision } = state;
  if (decision.kind !== 'work') return [];
  const { verb } = decision;
  const { random } = world;
  return decision.lanes.flatMap((lane) => {
    // A lane that does not come to its last buckets says nothing of them.
    const reached = lane.slice(0, 1 + random.below(lane.length));
    return reached.map((bucket): Result => {
      if (random.next() < world.failing) return { bucket, outcome: 'failed', error: 'broken' };
      if (verb === 'purge') return { bucket, outcome: 'purged', rows: 3 };
      if (verb === 'cancel') {
        const isSwitched = !world.broken.has(bucket) && random.below(4) === 0;
        return { bucket, outcome: isSwitched ? 'done' : 'cancelled' };
      }
      if (world.broken.has(bucket)) return { bucket, outcome: 'failed', error: 'broken for good' };
      const rolled = random.below(10);
      if (rolled === 0) {
        const throttled = { shard: 0 as ShardId, reason: 'load' };
        return { bucket, outcome: 'throttled', throttled };
      }
      return rolled < 4 ? { bucket, outcome: 'more' } : { bucket, outcome: 'done', stallMs: 5 };
    });
  });
}

const MAX_ROUNDS = 20_000;

/** Plays a run to its end; checks every round. */
function play(plan: Plan, caps: MoveCaps, world: World): { state: RunState; tookMs: number } {
  let state = newRunState({ plan, caps, nowMs: 0 });
  let results: Result[] = [];
  let nowMs = 0;
  for (let round = 1; round < MAX_ROUNDS; round += 1) {
    const wish = world.wishAt(round);
    state = nextRound(state, { round, results, wish, nowMs, purgeAfterMs: PURGE_AFTER_MS });
    expectWithinCaps(state);
    const { decision } = state;
    if (decision.kind === 'end') return { state, tookMs: nowMs };
    const purges = decision.kind === 'work' && decision.verb === 'purge';
    const purgesEarly = purges && nowMs < Number(state.finishedAtMs) + PURGE_AFTER_MS;
    const isPaused = wish === 'pause' && !isOver(state.status);
    const worksPaused = isPaused && decision.kind === 'work';
    expect({ purgesEarly, worksPaused }).toEqual({ purgesEarly: false, worksPaused: false });
    results = workOn(state, world);
    nowMs += decision.kind === 'wait' ? decision.ms : 1_000;
  }
  throw new Error('the run does not end');
}

const always = (): Wish => 'run';

describe('the scheduler', () => {
  test('takes what the caps allow, in order', () => {
    const moves = [
      { from: 0, to: 3 },
      { from: 0, to: 3 },
      { from: 1, to: 3 },
      { from: 1, to: 4 },
    ].map(({ from, to }) => ({ from: from as ShardId, to: to as ShardId }));
    const picked = nextMoves(moves, { total: 9, perSource: 1, perTarget: 2 });
    expect(picked).toEqual([moves[0], moves[2]]);
    expect(nextMoves(moves, { total: 2, perSource: 9, perTarget: 9 })).toEqual(moves.slice(0, 2));
  });

  test('every move is done whatever fails, and purged; caps are never exceeded', () => {
    const random = createRandom();
    console.log(`SEED=${random.seed}`);
    for (let run = 0; run < 80; run += 1) {
      const plan = randomPlan(random);
      const world = { random, failing: 0.2, broken: new Set<number>(), wishAt: always };
      const { state } = play(plan, capsOf(random), world);
      expect(state.status).toBe('completed');
      expect(state.moves.every((move) => move.state === 'done')).toBe(true);
      expect(state.moves.every((move) => move.purge === 'done')).toBe(true);
    }
  });

  test('a move that always fails is given up and reported; the others are done', () => {
    const random = createRandom();
    for (let run = 0; run < 50; run += 1) {
      const plan = planOf(Array.from({ length: 20 }, (_, bucket) => [bucket, bucket % 3, 3]));
      const world = { random, failing: 0.05, broken: new Set([4, 11]), wishAt: always };
      const { state, tookMs } = play(plan, capsOf(random), world);
      expect(state.status).toBe('failed');
      for (const move of state.moves) {
        const isBroken = world.broken.has(move.bucket);
        expect(move.state).toBe(isBroken ? 'failed' : 'done');
        expect(move.lastError ?? 'none').toMatch(isBroken ? /broken/ : /none/);
      }
      // Tries are spread over minutes, not over seconds.
      expect(tookMs).toBeGreaterThan(MAX_ATTEMPTS * 20_000);
    }
  });

  test('a cancelled run ends; nothing that was begun is left as it is', () => {
    const random = createRandom();
    for (let run = 0; run < 100; run += 1) {
      const at = 1 + random.below(8);
      const world: World = {
        random,
        failing: 0.1,
        broken: new Set(),
        wishAt: (round) => (round >= at ? 'cancel' : 'run'),
      };
      const plan = planOf(Array.from({ length: 60 }, (_, bucket) => [bucket, bucket % 3, 3]));
      const { state } = play(plan, capsOf(random), world);
      expect(['cancelled', 'completed']).toContain(state.status);
      for (const move of state.moves) expect(['done', 'cancelled']).toContain(move.state);
    }
  });

  test('a paused run waits, and goes on where it was', () => {
    const random = createRandom();
    const world: World = {
      random,
      failing: 0.1,
      broken: new Set(),
      wishAt: (round) => (round > 3 && round < 9 ? 'pause' : 'run'),
    };
    const plan = planOf(Array.from({ length: 60 }, (_, bucket) => [bucket, bucket % 3, 3]));
    const { state, tookMs } = play(plan, { total: 2, perSource: 1, perTarget: 2 }, world);
    expect(state.status).toBe('completed');
    expect(tookMs).toBeGreaterThan(5 * 60_000);
  });

  test('load is waited out without counting as a failure, and told until work goes on', () => {
    const plan = planOf([[1, 0, 1]]);
    let state = newRunState({ plan, caps: { total: 1, perSource: 1, perTarget: 1 }, nowMs: 0 });
    const after = (results: Result[], round: number): RunState =>
      nextRound(state, { round, results, wish: 'run', nowMs: 0, purgeAfterMs: PURGE_AFTER_MS });
    const throttled = { shard: 1 as ShardId, reason: 'load' };
    const bucket = 1 as BucketId;
    state = after([], 1);
    state = after([{ bucket, outcome: 'throttled', throttled }], 2);
    expect(state).toMatchObject({ throttled, decision: { kind: 'wait' } });
    expect(state.moves[0]).toMatchObject({ attempts: 0, lastError: null });
    state = after([], 3);
    expect(state).toMatchObject({ throttled, decision: { kind: 'work', lanes: [[1]] } });
    state = after([{ bucket, outcome: 'more' }], 4);
    expect(state).toMatchObject({ throttled: null, decision: { kind: 'work', lanes: [[1]] } });
  });

  test('a late answer does not bring an ended move back', () => {
    const plan = planOf([[1, 0, 1]]);
    let state = newRunState({ plan, caps: { total: 1, perSource: 1, perTarget: 1 }, nowMs: 0 });
    const after = (results: Result[], round: number): RunState =>
      nextRound(state, { round, results, wish: 'run', nowMs: 0, purgeAfterMs: PURGE_AFTER_MS });
    state = after([], 1);
    state = after([{ bucket: 1 as BucketId, outcome: 'done', stallMs: 7 }], 2);
    state = after([{ bucket: 1 as BucketId, outcome: 'cancelled' }], 3);
    expect(state.moves[0]).toMatchObject({ state: 'done', stallMs: 7, purge: 'waiting' });
    expect(state.decision).toEqual({ kind: 'wait', ms: PURGE_AFTER_MS });
  });
});
