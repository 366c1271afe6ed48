import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createPool, type Pool } from 'mysql2/promise';
import { engineName } from '../local/shards/binaries/versions.ts';
import { LocalShardsError } from '../local/shards/errors.ts';
import { ADMIN_USER } from '../local/shards/servers/server-options.ts';
import { openStack, type Stack, startStack } from '../local/shards/stack.ts';
import { loadConfig } from '../src/config.ts';
import { createServices } from '../src/create-services.ts';
import type { ShardId, UserId } from '../src/kernel/ids.ts';
import { createJsonLogger, type Logger } from '../src/kernel/logger.ts';
import type { Services } from '../src/services.ts';
import { bucketOf } from '../src/sharding/hash.ts';
import type { Random } from '../test/support/random.ts';
import { ALLOW_LOCAL_INFILE, insertRows } from './statements.ts';

/** One server with production durability, the product's services over it, and the plain driver beside them. */
export interface World {
  readonly services: Services;
  readonly shard: ShardId;
  readonly users: readonly UserId[];
  /** A pool of the driver alone, with as many connections. */
  plain(connections: number): Pool;
  /** Rows through LOAD DATA LOCAL INFILE: `text` is what the file would hold. */
  load(statement: string, text: string): Promise<void>;
}

const USERS = 1_000;

/** As the product has them: ids past 2^53 are wrong otherwise, and a `Date` for each time would cost the plain side alone. */
const EXACT_TYPES = { dateStrings: true, supportBigNumbers: true, bigNumberStrings: true } as const;

/** Starts a server of its own, runs `work`, and deletes it again, also when interrupted. */
export function withWorld<T>(
  options: ServerOptions,
  work: (world: World) => Promise<T>,
): Promise<T> {
  return withServers({ ...options, shards: 1 }, (stack) => useStack(stack, options.random, work));
}

export interface ServerOptions {
  readonly engine: 'mysql' | 'mariadb';
  readonly random: Random;
}

/** Starts servers and storage of its own, runs `work`, and deletes them again, also when interrupted. */
export async function withServers<T>(
  options: ServerOptions & { readonly shards: number },
  work: (stack: Stack) => Promise<T>,
): Promise<T> {
  const dataDir = mkdtempSync(join(tmpdir(), 'shardline-bench-'));
  const cleanUp = async (): Promise<void> => {
    await openStack(dataDir)?.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  const interrupted = (): void => void cleanUp().finally(() => process.exit(130));
  // The servers run in the background and would outlive it.
  process.once('SIGINT', interrupted);
  try {
    const stack = await startStack({ dataDir, shards: options.shards, engine: options.engine });
    console.log(`${engineName(stack.engine)} ${stack.version}, seed ${options.random.seed}`);
    return await work(stack);
  } finally {
    process.removeListener('SIGINT', interrupted);
    await cleanUp();
  }
}

/** The settings that tell the product of these servers. */
export function settingsOf(stack: Stack): Record<string, string> {
  return {
    SHARDS: JSON.stringify(stack.shards),
    AzureWebJobsStorage: stack.storageConnectionString,
  };
}

/** Tells warnings and errors only. */
export function quietLogger(): Logger {
  const write = (line: string): void => console.error(line);
  return createJsonLogger({ minimum: 'warn', nowMs: () => Date.now(), write });
}

async function useStack<T>(
  stack: Stack,
  random: Random,
  work: (world: World) => Promise<T>,
): Promise<T> {
  const [server] = stack.shards;
  const [adminPassword] = stack.adminPasswords;
  if (server === undefined || adminPassword === undefined) throw new LocalShardsError('No server.');
  const services = createServices(loadConfig(settingsOf(stack)), quietLogger());
  const { host, port, database } = server;
  const pools = new Map<number, Pool>();
  const plain = (connections: number): Pool => {
    const { user, password } = server;
    const login = { host, port, database, user, password };
    const pool =
      pools.get(connections) ??
      createPool({ ...login, ...EXACT_TYPES, connectionLimit: connections });
    pools.set(connections, pool);
    return pool;
  };
  const admin = createPool({
    host,
    port,
    database,
    user: ADMIN_USER,
    password: adminPassword,
    connectionLimit: 1,
    flags: ['+LOCAL_FILES'],
  });
  try {
    await services.database.prewarm();
    await admin.query(ALLOW_LOCAL_INFILE);
    const users = someUserIds(random);
    await registerUsers(plain(1), users);
    return await work({
      services,
      shard: 0 as ShardId,
      users,
      plain,
      load: async (sql, text) => {
        await admin.query({ sql, infileStreamFactory: () => Readable.from([Buffer.from(text)]) });
      },
    });
  } finally {
    await Promise.all([services.close(), admin.end(), ...[...pools.values()].map((p) => p.end())]);
  }
}

/** A thousand ids, spread over the buckets. */
export function someUserIds(random: Random): UserId[] {
  const first = 7_300_000_000_000_000_000n + BigInt(random.below(1_000_000));
  return Array.from({ length: USERS }, (_, n) => String(first + BigInt(n) * 104_729n) as UserId);
}

/** Writes the rows of these users on the shard of this pool. */
export async function registerUsers(pool: Pool, users: readonly UserId[]): Promise<void> {
  const rows = users.map(
    (user) =>
      `(${bucketOf(user)}, ${user}, 'u${user}@shop.example.com', UNHEX(SHA2('${user}', 256)), NOW(3))`,
  );
  await pool.query(insertRows('users', 'bucket, user_id, email, email_key, created_at', rows));
}
