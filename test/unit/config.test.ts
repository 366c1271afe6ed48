import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { PermanentError } from '../../src/kernel/errors.ts';

const shard = {
  name: 'shard-0',
  host: 'db',
  user: 'app',
  password: 'secret',
  database: 'shardline',
};
const good = { SHARDS: JSON.stringify([shard]), AzureWebJobsStorage: 'UseDevelopmentStorage=true' };

function problemsOf(environment: Record<string, string | undefined>): string[] {
  try {
    loadConfig(environment);
  } catch (error) {
    if (error instanceof PermanentError) return error.problems.map((problem) => problem.path);
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  test('fills in defaults', () => {
    const config = loadConfig(good);
    expect(config.SHARDS[0]).toMatchObject({ port: 3306, ssl: 'required', auth: 'password' });
    expect(config.SHARD_POOL_SIZE).toBe(16);
    expect(config.MIGRATE_ON_START).toBe(true);
  });

  test('takes numbers and flags as text', () => {
    const config = loadConfig({ ...good, SHARD_POOL_SIZE: '4', MIGRATE_ON_START: 'false' });
    expect(config.SHARD_POOL_SIZE).toBe(4);
    expect(config.MIGRATE_ON_START).toBe(false);
  });

  test('lists every bad setting at once, by name', () => {
    const problems = problemsOf({
      SHARDS: '{',
      AzureWebJobsStorage: 'x',
      SHARD_POOL_SIZE: '0',
      LOG_LEVEL: 'loud',
      MIGRATE_ON_START: 'yes',
    });
    expect(problems).toEqual(['SHARDS', 'LOG_LEVEL', 'SHARD_POOL_SIZE', 'MIGRATE_ON_START']);
  });

  test.each([
    ['no shards', undefined],
    ['an empty list', '[]'],
    ['a shard without host', JSON.stringify([{ ...shard, host: undefined }])],
    ['two shards of one name', JSON.stringify([shard, shard])],
    ['an unknown field', JSON.stringify([{ ...shard, hosst: 'x' }])],
    ['a bad port', JSON.stringify([{ ...shard, port: 70_000 }])],
  ])('refuses %s', (_, shards) => {
    expect(problemsOf({ ...good, SHARDS: shards }).every((path) => path.startsWith('SHARDS'))).toBe(
      true,
    );
    expect(problemsOf({ ...good, SHARDS: shards })).not.toEqual([]);
  });

  test('needs a storage account', () => {
    expect(problemsOf({ SHARDS: good.SHARDS })).toEqual(['AzureWebJobsStorage']);
    expect(problemsOf({ SHARDS: good.SHARDS, AzureWebJobsStorage__accountName: 'acct' })).toEqual(
      [],
    );
  });

  test('never repeats a value: it may hold a password', () => {
    expect(() =>
      loadConfig({ ...good, SHARDS: JSON.stringify([{ ...shard, port: 'secret' }]) }),
    ).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') as unknown }),
    );
  });

  const entra = { name: 'shard-0', host: 'db', user: 'app', database: 'shardline', auth: 'entra' };

  test('takes Entra sign-in with TLS and without a password only', () => {
    const of = (change: object) =>
      problemsOf({ ...good, SHARDS: JSON.stringify([{ ...entra, ...change }]) });
    expect(of({})).toEqual([]);
    expect(of({ ssl: 'disabled' })).toEqual(['SHARDS.0.ssl']);
    expect(of({ password: 'secret' })).toEqual(['SHARDS.0.password']);
  });
});
