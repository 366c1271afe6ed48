import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { ShardConnection } from '../../local/shards/settings.ts';
import { openStack, type Stack } from '../../local/shards/stack.ts';
import { queryShard, runShardsCommand, temporaryStackFolder } from '../support/local-stack.ts';

const connection = z.object({
  name: z.string(),
  host: z.literal('127.0.0.1'),
  port: z.number(),
  user: z.literal('shardline'),
  password: z.string().min(20),
  database: z.literal('shardline'),
  ssl: z.literal('disabled'),
});
const settingsSchema = z.object({
  SHARDS: z.array(connection),
  AzureWebJobsStorage: z.string(),
  Values: z.object({
    SHARDS: z.string(),
    AzureWebJobsStorage: z.string(),
    FUNCTIONS_WORKER_RUNTIME: z.literal('node'),
  }),
});

const { dataDir, dispose } = temporaryStackFolder();
const settingsFile = join(dataDir, 'chosen.json');
afterAll(dispose);

function readSettings(): z.infer<typeof settingsSchema> {
  return settingsSchema.parse(JSON.parse(readFileSync(settingsFile, 'utf8')));
}

function stack(): Stack {
  const opened = openStack(dataDir);
  if (opened === undefined) throw new Error(`No stack in ${dataDir}.`);
  return opened;
}

function shardAt(index: number): ShardConnection {
  const shard = readSettings().SHARDS[index];
  if (shard === undefined) throw new Error(`No shard ${index}.`);
  return shard;
}

function up(...args: string[]): ReturnType<typeof runShardsCommand> {
  return runShardsCommand(['up', '--data', dataDir, '--fast', '--json', settingsFile, ...args]);
}

describe('local:up and local:down', () => {
  let before: { readonly pids: readonly unknown[]; readonly storage: unknown };

  beforeAll(async () => {
    const { exitCode, output } = await up('--shards', '2');
    if (exitCode !== 0) throw new Error(output);
    before = { pids: stack().shardPids, storage: stack().storagePid };
  });

  test('servers outlive the command, and its settings file reaches them', async () => {
    const settings = readSettings();
    expect(settings.SHARDS.map(({ name }) => name)).toEqual(['shard-0', 'shard-1']);
    expect(JSON.parse(settings.Values.SHARDS)).toEqual(settings.SHARDS);
    for (const shard of settings.SHARDS) {
      expect(await queryShard(shard, 'SELECT DATABASE() AS name')).toEqual([{ name: 'shardline' }]);
    }
    const blobs = BlobServiceClient.fromConnectionString(settings.AzureWebJobsStorage);
    await blobs.createContainer('kept');
  });

  test('files that hold passwords can be read by their owner only', () => {
    for (const file of [settingsFile, join(dataDir, 'stack.json')]) {
      expect(statSync(file).mode & 0o077).toBe(0);
    }
  });

  test('a second run changes nothing', async () => {
    const settings = readSettings();
    expect((await up('--shards', '2')).exitCode).toBe(0);
    expect({ pids: stack().shardPids, storage: stack().storagePid }).toEqual(before);
    expect(readSettings()).toEqual(settings);
  });

  test('more shards are added, the others keep running; fewer removes none', async () => {
    expect((await up('--shards', '3')).exitCode).toBe(0);
    expect(stack().shardPids.slice(0, 2)).toEqual(before.pids);
    expect(stack().shardPids[2]).toBeTypeOf('number');
    expect((await up('--shards', '1')).exitCode).toBe(0);
    expect(readSettings().SHARDS).toHaveLength(3);
  });

  test('two runs at the same time end with one set of servers', async () => {
    await runShardsCommand(['down', '--data', dataDir]);
    const runs = await Promise.all([up('--shards', '3'), up('--shards', '3')]);
    expect(runs.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
    const pids = stack().shardPids;
    expect(new Set(pids).size).toBe(3);
    const ports = readSettings().SHARDS.map(({ port }) => port);
    expect(new Set(ports).size).toBe(3);
  });

  test('down stops everything, the data is there after the next up, and --reset empties it', async () => {
    await queryShard(shardAt(0), 'CREATE TABLE kept (id INT PRIMARY KEY)');
    const ports = readSettings().SHARDS.map(({ port }) => port);

    const down = await runShardsCommand(['down', '--data', dataDir]);
    expect(down).toEqual({ exitCode: 0, output: 'Stopped 4 servers.\n' });
    expect(stack().shardPids).toEqual([undefined, undefined, undefined]);
    expect(stack().storagePid).toBeUndefined();
    const again = await runShardsCommand(['down', '--data', dataDir]);
    expect(again).toEqual({ exitCode: 0, output: 'Nothing was running.\n' });

    await up();
    expect(readSettings().SHARDS.map(({ port }) => port)).toEqual(ports);
    expect(await queryShard(shardAt(0), 'SHOW TABLES')).toHaveLength(1);
    const blobs = BlobServiceClient.fromConnectionString(readSettings().AzureWebJobsStorage);
    expect(await blobs.getContainerClient('kept').exists()).toBe(true);

    await up('--reset', '--shards', '1');
    expect(readSettings().SHARDS).toHaveLength(1);
    expect(await queryShard(shardAt(0), 'SHOW TABLES')).toEqual([]);
    const emptied = BlobServiceClient.fromConnectionString(readSettings().AzureWebJobsStorage);
    expect(await emptied.getContainerClient('kept').exists()).toBe(false);
  });
});

describe('the command line', () => {
  test.each([
    [['up', '--shard', '2'], /--shard\b/],
    [['up', '--shards', 'two'], /whole number from 1 to 64, got "two"/],
    [['up', '--engine', 'postgres'], /auto, mysql or mariadb, got "postgres"/],
    [['restart'], /Expected "up" or "down", got "restart"/],
    [['up', '--mysqld', '/nowhere/mysqld', '--data', '/tmp/unused-stack'], /does not run/],
  ])('%j is refused with the reason', async (args, reason) => {
    const { exitCode, output } = await runShardsCommand(args);
    expect(exitCode).toBe(1);
    expect(output).toMatch(reason);
    expect(output).not.toContain('    at ');
  });

  test('--help lists every option', async () => {
    const { exitCode, output } = await runShardsCommand(['up', '--help']);
    expect(exitCode).toBe(0);
    for (const option of ['--data', '--shards', '--engine', '--mysqld', '--fast', '--json']) {
      expect(output).toContain(option);
    }
  });
});
