import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Engine } from '../../local/shards/binaries/versions.ts';
import { LocalShardsError } from '../../local/shards/errors.ts';
import { identityOf } from '../../local/shards/servers/process-identity.ts';
import type { ShardConnection } from '../../local/shards/settings.ts';
import { openStack, type Stack, startStack } from '../../local/shards/stack.ts';
import { readState, writeState } from '../../local/shards/state.ts';
import { queryShard, runShardsCommand, temporaryStackFolder } from './local-stack.ts';

/**
 * What must hold for a stack of either engine, as tests of the calling file: one file for each, so that the
 * two run side by side.
 */
export function stackTests(engine: Engine): void {
  const { dataDir, dispose } = temporaryStackFolder();
  let stack: Stack;

  beforeAll(async () => {
    stack = await startStack({ dataDir, shards: 2, engine, fast: true });
  });
  afterEach(async () => {
    await stack.start();
  });
  afterAll(dispose);

  const shard = (index: number): ShardConnection => {
    const found = stack.shards[index];
    if (found === undefined) throw new Error(`No shard ${index}.`);
    return found;
  };

  test('is the engine that was asked for', async () => {
    const [row] = await queryShard(shard(0), 'SELECT VERSION() AS version');
    const isMariaDb = String(row?.['version']).includes('MariaDB');
    expect([stack.engine, isMariaDb]).toEqual([engine, engine === 'mariadb']);
  });

  const personal = engine === 'mysql' ? ['auto.cnf', 'server-key.pem'] : [];
  test.for(personal)('each server has its own %s', (file) => {
    const [one, other] = [0, 1].map((index) =>
      readFileSync(join(dataDir, `shards/shard-${index}/data`, file), 'utf8'),
    );
    expect(one).not.toBe(other);
  });

  test('the application may read what maintenance needs, and nobody else its database', async () => {
    for (const statement of [
      'SELECT * FROM performance_schema.threads LIMIT 1',
      'SELECT * FROM sys.schema_unused_indexes LIMIT 1',
      'SELECT * FROM mysql.innodb_index_stats LIMIT 1',
      'SELECT * FROM information_schema.INNODB_TRX LIMIT 1',
    ]) {
      await queryShard(shard(0), statement);
    }
    await expect(queryShard(shard(0), 'CREATE DATABASE elsewhere')).rejects.toThrow(/denied/i);
    await expect(queryShard(shard(0), 'SELECT * FROM mysql.user')).rejects.toThrow(/denied/i);
    await expect(queryShard({ ...shard(0), password: '' }, 'SELECT 1')).rejects.toThrow(/denied/i);
    const { password } = shard(1);
    await expect(queryShard({ ...shard(0), password }, 'SELECT 1')).rejects.toThrow(/denied/i);
  });

  test('what was committed is there after kill -9, under the same port', async () => {
    const { port } = shard(0);
    await queryShard(shard(0), 'CREATE TABLE committed (id INT PRIMARY KEY)');
    for (let id = 1; id <= 50; id += 1) {
      await queryShard(shard(0), `INSERT INTO committed VALUES (${id})`);
    }
    await stack.stopShard(0, 'kill');
    await expect(queryShard(shard(0), 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/);

    await stack.startShard(0);

    expect(shard(0).port).toBe(port);
    const rows = await queryShard(shard(0), 'SELECT COUNT(*) AS n FROM committed');
    expect(rows).toEqual([{ n: 50 }]);
  });

  test('one shard can be down while the other serves', async () => {
    await stack.stopShard(1);
    expect(await queryShard(shard(0), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(stack.shardPids[1]).toBeUndefined();
  });

  test('a frozen shard answers nobody, and goes on where it was', async () => {
    await stack.freezeShard(0);
    let answered = false;
    const query = queryShard(shard(0), 'SELECT 1 AS one').then((rows) => {
      answered = true;
      return rows;
    });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(answered).toBe(false);
    await stack.thawShard(0);
    expect(await query).toEqual([{ one: 1 }]);
  });

  test('a frozen shard can be stopped cleanly', async () => {
    await stack.freezeShard(1);
    await stack.stopShard(1);
    expect(stack.shardPids[1]).toBeUndefined();
  });

  test('another process that opens the folder controls the same servers', async () => {
    const other = openStack(dataDir);
    await other?.stopShard(0);
    expect(stack.shardPids[0]).toBeUndefined();
    await stack.startShard(0);
    await other?.startShard(0);
    expect(other?.shardPids).toEqual(stack.shardPids);
  });

  test('a server whose starter was killed before recording it is replaced, not doubled', async () => {
    const state = readState(dataDir);
    const forgotten = stack.shardPids[0] ?? 0;
    if (state?.shards[0] !== undefined) delete state.shards[0].process;
    if (state !== undefined) writeState(dataDir, state);

    await stack.startShard(0);

    expect(identityOf(forgotten)).toBeUndefined();
    expect(await queryShard(shard(0), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('a recorded process number that now belongs to somebody else is left alone', async () => {
    await stack.stopShard(0);
    const state = readState(dataDir);
    if (state?.shards[0] === undefined) throw new Error('No state.');
    // This very process, with another start time: as after a reboot.
    state.shards[0].process = { pid: process.pid, startedAt: 'another-boot:1' };
    writeState(dataDir, state);
    await stack.stopShard(0, 'kill');
    await stack.startShard(0);
    expect(stack.shardPids[0]).not.toBe(process.pid);
  });

  test('a port that was taken meanwhile is replaced and the state says so', async () => {
    await stack.stopShard(1);
    const taken = shard(1).port;
    const squatter = createServer().listen(taken, '127.0.0.1');
    await new Promise((resolve) => squatter.once('listening', resolve));
    await stack.startShard(1);
    expect(shard(1).port).not.toBe(taken);
    expect(await queryShard(shard(1), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await new Promise((resolve) => squatter.close(resolve));
  });

  test('storage can be stopped and started', async () => {
    const url = `${/BlobEndpoint=([^;]+)/.exec(stack.storageConnectionString)?.[1]}`;
    await stack.stopStorage('kill');
    await expect(fetch(url)).rejects.toThrow('fetch failed');
    await stack.startStorage();
    expect((await fetch(url)).status).toBeGreaterThan(0);
  });

  test('a shard can be added while the others run', async () => {
    const pids = stack.shardPids;
    const added = await stack.addShard();
    expect(added.name).toBe(`shard-${pids.length}`);
    expect(await queryShard(added, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(stack.shardPids.slice(0, pids.length)).toEqual(pids);
  });

  test('the folder refuses the other engine and keeps its data', async () => {
    const other = engine === 'mysql' ? 'mariadb' : 'mysql';
    await expect(startStack({ dataDir, engine: other })).rejects.toThrow(LocalShardsError);
    expect(await queryShard(shard(0), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('a server that cannot start says why, with the end of its log', async () => {
    await stack.stopShard(1);
    const systemTables = join(dataDir, 'shards/shard-1/data/ibdata1');
    const kept = readFileSync(systemTables);
    writeFileSync(systemTables, 'not a table space');
    await expect(stack.startShard(1)).rejects.toThrow(/The end of .*server\.log:\n.*ibdata1/s);
    writeFileSync(systemTables, kept);
  });

  test('reset empties the data and keeps ports and passwords', async () => {
    const { shards } = stack;
    await queryShard(shard(0), 'CREATE TABLE gone (id INT PRIMARY KEY)');
    await stack.reset();
    expect(stack.shards).toEqual(shards);
    expect(await queryShard(shard(0), 'SHOW TABLES')).toEqual([]);
  });

  test('servers whose data folder was deleted under them are ended by the next start', async () => {
    const abandoned = stack.shardPids;
    rmSync(dataDir, { recursive: true, force: true });
    stack = await startStack({ dataDir, shards: 1, engine, fast: true });
    for (const pid of abandoned) expect(identityOf(pid ?? 0)).toBeUndefined();
    expect(await queryShard(shard(0), 'SHOW TABLES')).toEqual([]);
  });

  test('and by the next stop', async () => {
    const abandoned = stack.shardPids;
    rmSync(dataDir, { recursive: true, force: true });
    const down = await runShardsCommand(['down', '--data', dataDir]);
    // The storage emulator may have ended by itself for want of its files.
    expect(down.output).toMatch(/^Stopped (1 server|2 servers)\.\n$/);
    expect(identityOf(abandoned[0] ?? 0)).toBeUndefined();
    stack = await startStack({ dataDir, shards: 1, engine, fast: true });
  });
}
