import { describe, expect, test } from 'vitest';
import type { BucketId } from '../../../src/kernel/ids.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { judgeTarget, problemsOf } from '../../../src/rebalancing/preflight.ts';
import { overload } from '../../../src/database/shard-load.ts';

const LIMITS = { threadsRunning: 40, probeMs: 100, history: 1_000 };
const CALM = { threadsRunning: 2, probeMs: 1, history: 10 };

describe('the load of a shard', () => {
  test.each([
    ['threads', { threadsRunning: 41 }, '41 statements'],
    ['latency', { probeMs: 101 }, 'SELECT 1 took 101 ms'],
    ['history', { history: 1_001 }, '1001 old row versions'],
  ])('is too high by %s', (_, more, reason) => {
    expect(overload({ ...CALM, ...more }, LIMITS, 'REBALANCE')).toContain(reason);
  });

  test('is fine at the limits, and where the server does not say', () => {
    expect(
      overload({ threadsRunning: 40, probeMs: 100, history: 1_000 }, LIMITS, 'REBALANCE'),
    ).toBeUndefined();
    expect(
      overload({ threadsRunning: null, probeMs: 1, history: null }, LIMITS, 'REBALANCE'),
    ).toBeUndefined();
  });
});

describe('the preflight', () => {
  const pool = { open: 0, idle: 0, waiting: 0, limit: 16 };
  const status = {
    id: 3 as ShardId,
    name: 'new',
    reachable: true,
    latencyMs: 1,
    serverVersion: '8.4.0',
    circuit: 'closed' as const,
    pool,
    batchPool: pool,
    estimatedRows: {},
    problem: null,
  };

  test('passes on what the set-up of a shard says', () => {
    expect(problemsOf(status)).toEqual([]);
    const wrong = 'Shard "new" cannot be used: its database belongs to another cluster.';
    expect(problemsOf({ ...status, problem: wrong })).toEqual([
      { path: '/shards/3', message: wrong },
    ]);
    expect(problemsOf({ ...status, reachable: false })).toEqual([
      { path: '/shards/3', message: '"new" does not answer' },
    ]);
  });

  test('tells a shard that takes no writes, and names few of many buckets', () => {
    const buckets = Array.from({ length: 30 }, (_, bucket) => bucket as BucketId);
    const { problems } = judgeTarget(3 as ShardId, buckets, {
      isWritable: false,
      ownership: buckets.map((bucket) => ({ bucket, state: 'owned', epoch: 1, moved_to: null })),
      withRows: new Set(),
    });
    expect(problems).toHaveLength(2);
    expect(problems[0]?.message).toContain('read_only');
    expect(problems[1]?.message).toContain('9 and 20 more');
  });
});
