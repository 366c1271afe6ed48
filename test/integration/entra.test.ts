import { createConnection as connectDriver } from 'mysql2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { entraAuthPlugins } from '../../src/database/entra-sign-in.ts';
import { createShardedDatabase } from '../../src/database/sharded-database.ts';
import type { ShardedDatabase } from '../../src/database/contracts.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { createCertificateAuthority } from '../support/certificates.ts';
import { asAdmin, createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import { createTestIdentity, type TestIdentity } from '../support/entra-world.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import { createTestMap } from '../support/test-database.ts';
import { startTokenFront, type TokenFront } from '../support/token-front.ts';

const SHARD = 0 as ShardId;
const BACKEND = 'tokenbackend';
const authority = createCertificateAuthority();

let databases: TestDatabases;
let identity: TestIdentity;
let valid: (token: string) => boolean;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  databases = await createTestDatabases({ shards: 1 });
  const user = `'${BACKEND}'@'127.0.0.1'`;
  await asAdmin(databases.stack, 0, [
    `CREATE USER IF NOT EXISTS ${user} IDENTIFIED BY ''`,
    `GRANT ALL ON ${databases.database}.* TO ${user}`,
  ]);
});
afterAll(async () => {
  await asAdmin(databases.stack, 0, [`DROP USER IF EXISTS '${BACKEND}'@'127.0.0.1'`]);
  await databases.drop();
});
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close();
});

interface World {
  readonly database: ShardedDatabase;
  readonly front: TokenFront;
}

/** One instance of the app, and the server as Azure shows it. */
async function world(
  options: {
    /** A host name, `none` or `self-signed`. */
    readonly certificateFor?: string;
    readonly trusted?: boolean;
    readonly settings?: Readonly<Record<string, string>>;
  } = {},
): Promise<World> {
  identity = createTestIdentity();
  valid = (token) => token.startsWith('token-');
  const { certificateFor = 'localhost', trusted = true } = options;
  const certificate =
    certificateFor === 'none'
      ? undefined
      : certificateFor === 'self-signed'
        ? createCertificateAuthority().issue('localhost')
        : authority.issue(certificateFor);
  const front = await startTokenFront({
    backend: { host: '127.0.0.1', port: databases.shards[0]?.port ?? 0, user: BACKEND },
    accepts: (token) => valid(token),
    ...(certificate !== undefined && { certificate }),
  });
  const shard = {
    name: databases.shards[0]?.name,
    host: 'localhost',
    port: front.port,
    user: 'shardline-app',
    database: databases.database,
    auth: 'entra',
    ...(trusted && { ca: authority.cert }),
  };
  const config = loadConfig({
    SHARDS: JSON.stringify([shard]),
    AzureWebJobsStorage: databases.storageConnectionString,
    SHARD_CONNECT_TIMEOUT_MS: '2000',
    ...options.settings,
  });
  const database = createShardedDatabase({
    config,
    bucketMap: createTestMap(config.SHARDS.map(({ name }) => name)),
    clock: systemClock,
    logger: createRecordingLogger(),
    random: Math.random,
    tokens: identity.source,
  });
  opened.push(front, database);
  return { database, front };
}

function ask(database: ShardedDatabase, deadlineMs = 10_000): Promise<unknown> {
  return database.onShard(
    SHARD,
    // A transaction that lasts, so that several at once need a connection each.
    (shard) => shard.transaction((tx) => tx.query('SELECT SLEEP(0.05) AS slept', [])),
    { deadlineMs },
  );
}

const UNAVAILABLE = { code: 'shard-unavailable', retryable: true };

describe('a shard that asks for a token', () => {
  it('is signed in to, and each new connection brings a token that is valid then', async () => {
    const { database, front } = await world();
    await ask(database);
    // The set-up of the shard may have taken connections of its own.
    const before = front.greeted();
    await ask(database);
    expect(front.greeted()).toBe(before);
    expect(new Set(front.tokens)).toEqual(new Set(['token-1']));
    // As when its end has come: the next connection, not the one that is open, brings another.
    identity.source.refuse({ text: 'token-1', held: true });
    await Promise.all([ask(database), ask(database), ask(database)]);
    expect(front.greeted()).toBe(before + 2);
    expect(front.tokens.slice(before)).toEqual(['token-2', 'token-2']);
    expect(identity.given).toBe(2);
  });

  it('that refuses an old token is given a new one at once', async () => {
    const { database, front } = await world();
    await identity.source.token(1_000);
    valid = (token) => token !== 'token-1';
    await ask(database);
    expect(front.tokens).toEqual(['token-1', 'token-2']);
  });

  it('that refuses a new one too is not asked for ever', async () => {
    const { database, front } = await world();
    await identity.source.token(1_000);
    valid = () => false;
    await expect(ask(database)).rejects.toMatchObject({
      code: 'configuration-invalid',
      failure: 'misconfigured',
    });
    expect(front.tokens).toEqual(['token-1', 'token-2']);
  });

  it('is unavailable while no token can be had, within the deadline, and then works', async () => {
    const { database, front } = await world({
      settings: { SHARD_CONNECT_TIMEOUT_MS: '300', CIRCUIT_OPEN_MS: '50' },
    });
    for (const state of ['down', 'silent'] as const) {
      identity.state = state;
      const started = performance.now();
      await expect(ask(database, 1_500)).rejects.toMatchObject(UNAVAILABLE);
      console.log(`no token (${state}): told after ${Math.round(performance.now() - started)} ms`);
    }
    expect(front.greeted()).toBe(0);
    identity.state = 'up';
    await systemClock.sleep(100); // The circuit lets a probe through after 50 ms.
    await ask(database);
    expect(front.tokens).toEqual(['token-1']);
  });
});

describe('no token is sent', () => {
  it.each([
    ['whose certificate is for another name', { certificateFor: 'elsewhere.example' }],
    ['whose certificate nobody trusts', { certificateFor: 'self-signed' }],
    ['whose authority is not among the trusted', { trusted: false }],
  ])('to a server %s', async (_, options) => {
    const { database, front } = await world({ ...options, settings: { CIRCUIT_FAILURES: '2' } });
    await expect(ask(database, 1_000)).rejects.toMatchObject(UNAVAILABLE);
    expect(front.greeted()).toBeGreaterThan(0);
    expect(front.tokens).toEqual([]);
  });

  it('to a server without TLS', async () => {
    const { database, front } = await world({ certificateFor: 'none' });
    await expect(ask(database, 1_000)).rejects.toMatchObject({ failure: 'misconfigured' });
    expect(front.greeted()).toBeGreaterThan(0);
    expect(front.tokens).toEqual([]);
  });

  it.each([
    ['plain', undefined],
    ['unverified', { rejectUnauthorized: false }],
  ])('by the plugin itself over a %s connection', async (_, ssl) => {
    const { front } = await world({ certificateFor: ssl === undefined ? 'none' : 'localhost' });
    const connection = connectDriver({
      host: 'localhost',
      port: front.port,
      user: 'shardline-app',
      authPlugins: entraAuthPlugins('secret-token'),
      ...(ssl !== undefined && { ssl }),
    });
    const error = await new Promise<Error | null>((resolve) => {
      connection.on('error', resolve);
      connection.connect(resolve);
    });
    connection.destroy();
    expect(error?.message).toContain('not encrypted or not verified');
    expect(front.tokens).toEqual([]);
  });
});
