import { describe, expect, it } from 'vitest';
import {
  connectionBudgetProblem,
  serverVersionProblem,
} from '../../../src/database/shard-setup.ts';
import { createShardPools } from '../../../src/database/shard-pools.ts';

describe('serverVersionProblem', () => {
  it.each([
    '8.0.19',
    '8.0.36-0ubuntu0.22.04.1',
    '8.4.0',
    '9.7.4',
    '10.6.0-MariaDB',
    '10.11.19-MariaDB-deb12',
    '11.4.2-MariaDB-log',
    '10.0.0',
  ])('takes %s', (version) => {
    expect(serverVersionProblem(version)).toBeUndefined();
  });

  it.each(['8.0.18', '5.7.44-log', '10.5.99-MariaDB', '8.0.19-MariaDB'])(
    'refuses %s',
    (version) => {
      expect(serverVersionProblem(version)).toContain(version);
    },
  );
});

const POOLS = {
  MAX_INSTANCES: 4,
  SCALING_GROUPS: 1,
  EXTRA_INSTANCES: 0,
  SHARD_POOL_SIZE: 16,
  SHARD_BATCH_POOL_SIZE: 2,
  SHARD_POOL_QUEUE: 10,
  SHARD_CONNECT_TIMEOUT_MS: 1_000,
  SHARD_STATEMENT_TIMEOUT_MS: 1_000,
  CONNECTION_SHARE_PERCENT: 80,
};

describe('connectionBudgetProblem', () => {
  it('takes pools that fit to the last connection', () => {
    expect(connectionBudgetProblem(POOLS, 90)).toBeUndefined();
  });

  it('shows the sum when they do not', () => {
    const problem = connectionBudgetProblem(POOLS, 89);
    expect(problem).toContain('(1 × 4 + 0) × (16 + 2) = 72 connections');
    expect(problem).toContain('80 % of the server');
    expect(problem).toContain('= 89 allows 71');
  });
});

it('counts every scaling group, and the instances that are always ready', () => {
  const scaled = { ...POOLS, SCALING_GROUPS: 4, MAX_INSTANCES: 20, EXTRA_INSTANCES: 7 };
  expect(connectionBudgetProblem(scaled, 1958)).toBeUndefined();
  expect(connectionBudgetProblem(scaled, 1957)).toContain('(4 × 20 + 7) × (16 + 2) = 1566');
});

describe('createShardPools', () => {
  it('opens no connection', () => {
    const shard = {
      name: 'a',
      host: 'nowhere.invalid',
      port: 1,
      user: 'u',
      database: 'd',
      auth: 'password',
      ssl: 'required',
    } as const;
    const pools = createShardPools(0, shard, POOLS);
    expect(pools.single.use()).toEqual({ open: 0, idle: 0, waiting: 0, limit: 16 });
    expect(pools.batch.use()).toEqual({ open: 0, idle: 0, waiting: 0, limit: 2 });
  });
});
