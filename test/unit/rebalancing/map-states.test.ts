import { describe, expect, test } from 'vitest';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import { runBegins, runEnds } from '../../../src/rebalancing/map-states.ts';
import { targetWeights } from '../../../src/rebalancing/plan-run.ts';
import type { Goal, StoredPlan } from '../../../src/rebalancing/run-model.ts';
import { newRunState } from '../../../src/rebalancing/run-state.ts';
import {
  assignBucket,
  initialBucketMap,
  reconcileShards,
  type BucketMap,
} from '../../../src/sharding/bucket-map.ts';
import { planRebalance } from '../../../src/sharding/rebalance-plan.ts';

const AT = '2026-01-01T00:00:00.000Z';
const shardsOf = (count: number): ShardId[] =>
  Array.from({ length: count }, (_, id) => id as ShardId);
const namesOf = (count: number): string[] => shardsOf(count).map((id) => `shard-${id}`);

function mapOf(count: number, added = 0): BucketMap {
  const map = initialBucketMap({ clusterId: 'c', shardNames: namesOf(count), updatedAt: AT });
  const reconciled = reconcileShards(map, namesOf(count + added), AT);
  return reconciled.kind === 'extended' ? reconciled.map : map;
}

function planFor(map: BucketMap, configured: number, goal: Goal): StoredPlan {
  const weights = targetWeights(map, shardsOf(configured), goal);
  const { moves, planHash, mapVersion } = planRebalance(map, { weights });
  const sized = moves.map((move) => ({ ...move, estimatedRows: 0, estimatedBytes: 0 }));
  const totals = { buckets: moves.length, rows: 0, bytes: 0 };
  return { goal, plan: { planHash, mapVersion, moves: sized, totals } };
}

/** The map after the first `count` moves of a plan. */
function carriedOut(map: BucketMap, { plan }: StoredPlan, count = plan.moves.length): BucketMap {
  return plan.moves.slice(0, count).reduce((now, { bucket, to }) => {
    const epoch = (now.epochs[bucket] ?? 0) + 1;
    return assignBucket(now, { bucket, to, epoch, updatedAt: AT }) ?? now;
  }, map);
}

function endOf(stored: StoredPlan, status: 'completed' | 'cancelled' | 'failed') {
  const caps = { total: 1, perSource: 1, perTarget: 1 };
  return { ...newRunState({ plan: stored.plan, caps, nowMs: 0 }), status };
}

const statesOf = (map: BucketMap): string[] => map.shards.map(({ state }) => state);

describe('states of shards in the map', () => {
  test('a new shard is active with its first bucket', () => {
    const map = mapOf(3, 1);
    const stored = planFor(map, 4, {});
    const begun = runBegins(map, stored);
    expect(statesOf(begun)).toEqual(['active', 'active', 'active', 'new']);
    expect(begun.moves).toHaveLength(256);
    expect(runBegins(begun, stored)).toBe(begun);
    const after = carriedOut(begun, stored);
    expect(statesOf(after)).toEqual(['active', 'active', 'active', 'active']);
    expect(after.moves).toEqual([]);
    expect(runEnds(after, endOf(stored, 'completed'))).toBe(after);
  });

  test('a drained shard is draining until it owns nothing', () => {
    const map = mapOf(3);
    const stored = planFor(map, 3, { drain: [1 as ShardId] });
    const begun = runBegins(map, stored);
    expect(statesOf(begun)).toEqual(['active', 'draining', 'active']);
    const after = runEnds(carriedOut(begun, stored), endOf(stored, 'completed'));
    expect(statesOf(after)).toEqual(['active', 'drained', 'active']);
    // Nobody gives it a bucket again unless asked to.
    expect([...targetWeights(after, shardsOf(3), {}).keys()]).toEqual([0, 2]);
    expect([...targetWeights(after, shardsOf(3), { targetShards: 3 }).keys()]).toEqual([0, 1, 2]);
  });

  test.each([
    ['cancelled', 'active'],
    ['failed', 'active'],
    ['completed', 'draining'],
  ] as const)('a shard that still owns some after a run that is %s is %s', (status, state) => {
    const map = mapOf(3);
    const stored = planFor(map, 3, { targetShards: [0, 2] as ShardId[] });
    const half = carriedOut(runBegins(map, stored), stored, 100);
    const after = runEnds(half, endOf(stored, status));
    expect(after.shards[1]?.state).toBe(state);
    expect(after.moves).toEqual([]);
  });

  test('a shard that comes back is new, then active', () => {
    const map = mapOf(3);
    const drain = planFor(map, 3, { targetShards: 2 });
    const drained = runEnds(carriedOut(runBegins(map, drain), drain), endOf(drain, 'completed'));
    expect(drained.shards[2]?.state).toBe('drained');
    const back = planFor(drained, 3, { targetShards: 3 });
    const begun = runBegins(drained, back);
    expect(begun.shards[2]?.state).toBe('new');
    expect(carriedOut(begun, back, 1).shards[2]?.state).toBe('active');
  });

  test('a drained shard may leave SHARDS; another one may not take its position', () => {
    const map = mapOf(3);
    const stored = planFor(map, 3, { drain: [2 as ShardId] });
    const begun = runBegins(map, stored);
    const almost = carriedOut(begun, stored, stored.plan.moves.length - 1);
    expect(reconcileShards(almost, namesOf(2), AT).kind).toBe('contradiction');
    const after = runEnds(carriedOut(begun, stored), endOf(stored, 'completed'));
    expect(reconcileShards(after, namesOf(2), AT).kind).toBe('same');
    expect(reconcileShards(after, [...namesOf(2), 'other'], AT).kind).toBe('contradiction');
    expect(reconcileShards(after, namesOf(3), AT).kind).toBe('same');
  });

  test('a late note of a run does not hide a move of another one', () => {
    const map = mapOf(3);
    const stored = planFor(map, 3, { drain: [1 as ShardId] });
    const other = { bucket: 0 as BucketId, from: 0 as ShardId, to: 2 as ShardId };
    const both = { ...map, moves: [...runBegins(map, stored).moves, other] };
    expect(runEnds(both, endOf(stored, 'cancelled')).moves).toEqual([other]);
  });
});

describe('weights of shards', () => {
  test('give each its share of the buckets, and 1 where nothing is said', () => {
    const map = mapOf(3, 1);
    const stored = planFor(map, 4, { weights: { 3: 2, 0: 1 } });
    const after = carriedOut(map, stored);
    const owned = shardsOf(4).map((id) => after.assignment.filter((owner) => owner === id).length);
    // A fifth, a fifth, a fifth, two fifths of 1024, and no move more than that.
    expect(owned).toEqual([205, 205, 205, 409]);
    expect(stored.plan.moves).toHaveLength(409);
  });

  test('are refused for shards that get nothing', () => {
    const goal = { drain: [1 as ShardId], weights: { 1: 2, 7: 3 } };
    expect(() => targetWeights(mapOf(3), shardsOf(3), goal)).toThrow(
      expect.objectContaining({
        code: 'validation-failed',
        problems: [
          { path: '/weights/1', message: 'is none of the shards that get buckets' },
          { path: '/weights/7', message: 'is none of the shards that get buckets' },
        ],
      }),
    );
  });
});
