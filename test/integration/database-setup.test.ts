import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { createConnection } from 'mysql2/promise';
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_USER } from '../../local/shards/servers/server-options.ts';
import type { ShardConnection } from '../../local/shards/settings.ts';
import { createShardedDatabase } from '../../src/database/sharded-database.ts';
import { loadConfig } from '../../src/config.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import { createTestInstance, createTestMap } from '../support/test-database.ts';
import type { Settings, TestInstance, TestMap } from '../support/test-database.ts';

const PATIENT = { deadlineMs: 30_000 };

let databases: TestDatabases;

beforeAll(async () => {
  databases = await createTestDatabases();
  const first = createTestInstance(databases);
  await first.database.prewarm();
  await first.database.close();
});

afterAll(async () => {
  await databases.drop();
});

function ask(instance: TestInstance, shard = 0): Promise<unknown> {
  return instance.database.onShard(
    shard as ShardId,
    (on) => on.select('SELECT 1 AS one', []),
    PATIENT,
  );
}

/** Asks the first shard of an instance made with these changes. */
async function askWith(changes: {
  readonly shards?: readonly object[];
  readonly settings?: Settings;
  readonly map?: TestMap;
}): Promise<unknown> {
  const config = loadConfig({
    SHARDS: JSON.stringify(changes.shards ?? databases.shards),
    AzureWebJobsStorage: databases.storageConnectionString,
    ...changes.settings,
  });
  const map = changes.map ?? createTestMap(config.SHARDS.map((shard) => shard.name));
  const logger = createRecordingLogger();
  const database = createShardedDatabase({
    config,
    bucketMap: map,
    clock: systemClock,
    logger,
    random: Math.random,
  });
  try {
    return await ask({ database, map, logger });
  } finally {
    await database.close();
  }
}

/** The authority that MySQL made for its own certificate; MariaDB has none, so any will do. */
async function certificateAuthority(): Promise<string> {
  if (databases.engine === 'mariadb') return rootCertificates[0] as string;
  const { host, port } = databases.shards[0] as ShardConnection;
  const password = databases.stack.adminPasswords[0] as string;
  const admin = await createConnection({ host, port, user: ADMIN_USER, password });
  const [rows] = await admin.query<RowDataPacket[]>('SELECT @@datadir AS folder, @@ssl_ca AS file');
  await admin.end();
  const ca = await readFile(join(String(rows[0]?.['folder']), String(rows[0]?.['file'])), 'utf8');
  // The authority is the right one: without a look at the name the connection is made.
  const ssl = { ca, rejectUnauthorized: true, verifyIdentity: false };
  const trusted = await createConnection({ host, port, user: ADMIN_USER, password, ssl });
  await trusted.end();
  return ca;
}

describe('a shard is refused', () => {
  const refused = (text: string) => ({
    code: 'configuration-invalid',
    retryable: false,
    message: expect.stringContaining(text) as string,
  });
  const first = (): object => databases.shards[0] as object;

  it('when SHARDS was reordered', async () => {
    const shards = [...databases.shards].toReversed();
    await expect(askWith({ shards })).rejects.toMatchObject(refused('was the list reordered?'));
  });

  it('when it has another name', async () => {
    const shards = [{ ...first(), name: 'renamed' }];
    await expect(askWith({ shards })).rejects.toMatchObject(refused('as "renamed"'));
  });

  it('when it belongs to another cluster', async () => {
    const map = createTestMap(
      databases.shards.map((shard) => shard.name),
      'other',
    );
    await expect(askWith({ map })).rejects.toMatchObject(refused('belongs to another cluster'));
  });

  it('when all instances together would take too many connections', async () => {
    const settings = { MAX_INSTANCES: '100', SHARD_POOL_SIZE: '16', SHARD_BATCH_POOL_SIZE: '2' };
    await expect(askWith({ settings })).rejects.toMatchObject(
      refused('(1 × 100 + 0) × (16 + 2) = 1800 connections'),
    );
  });

  it('when the password is wrong', async () => {
    const shards = [{ ...first(), password: 'wrong' }];
    await expect(askWith({ shards })).rejects.toMatchObject({
      ...refused('SHARDS'),
      failure: 'misconfigured',
    });
  });

  it('when the schema does not exist or may not be used', async () => {
    const shards = [{ ...first(), database: 'no_such_schema' }];
    await expect(askWith({ shards })).rejects.toMatchObject({ failure: 'misconfigured' });
  });

  it('when TLS is required of an address: certificates are for names', async () => {
    const shards = [{ ...first(), ssl: 'required' }];
    await expect(askWith({ shards })).rejects.toMatchObject(refused('its name is needed'));
  });

  // MySQL made itself a certificate that nobody trusts, MariaDB has none.
  it('when TLS is required and the certificate is not trusted, or there is none', async () => {
    const shards = [{ ...first(), host: 'localhost', ssl: 'required' }];
    const startedAt = performance.now();
    await expect(askWith({ shards })).rejects.toMatchObject({
      code: databases.engine === 'mysql' ? 'shard-unavailable' : 'configuration-invalid',
    });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  it('when TLS is required and the certificate, trusted or not, is for another name', async () => {
    const ca = await certificateAuthority();
    const shards = [{ ...first(), host: 'localhost', ssl: 'required', ca }];
    await expect(askWith({ shards })).rejects.toMatchObject({
      code: databases.engine === 'mysql' ? 'shard-unavailable' : 'configuration-invalid',
    });
  });

  it('again without asking it, for a while', async () => {
    const map = createTestMap(
      databases.shards.map((shard) => shard.name),
      'other',
    );
    const instance = createTestInstance(databases, { map });
    try {
      await expect(ask(instance)).rejects.toMatchObject({ code: 'configuration-invalid' });
      const startedAt = performance.now();
      await expect(ask(instance)).rejects.toMatchObject({ code: 'configuration-invalid' });
      expect(performance.now() - startedAt).toBeLessThan(20);
      const status = await instance.database.inspect(0 as ShardId);
      expect(status).toMatchObject({
        reachable: true,
        problem: expect.stringContaining('another cluster'),
      });
      // The others are not affected by one wrong shard, only by their own.
      expect(instance.database.shardIds()).toEqual([0, 1, 2]);
    } finally {
      await instance.database.close();
    }
  });
});

describe('a usable instance', () => {
  it('connects ahead of the first request and tells its state', async () => {
    const instance = createTestInstance(databases);
    try {
      await instance.database.prewarm();
      for (const shard of instance.database.shardIds()) {
        const status = await instance.database.inspect(shard);
        expect(status).toMatchObject({
          id: shard,
          name: databases.shards[shard]?.name,
          reachable: true,
          circuit: 'closed',
          problem: null,
          pool: { idle: 1, waiting: 0, limit: 16 },
          batchPool: { open: 0, idle: 0, limit: 2 },
        });
        expect(status.latencyMs).toBeGreaterThan(0);
        expect(status.serverVersion).toMatch(/^\d+\.\d+\.\d+/);
        expect(status.estimatedRows).toHaveProperty('orders');
      }
    } finally {
      await instance.database.close();
    }
  });

  it('refuses calls after it was closed', async () => {
    const instance = createTestInstance(databases);
    await ask(instance);
    await instance.database.close();
    await expect(ask(instance)).rejects.toMatchObject({ code: 'shard-unavailable' });
  });
});
