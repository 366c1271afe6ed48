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
import { createJsonLogger } from '../src/kernel/logger.ts';
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

/** Starts a server of its own, runs `work`, and deletes it again, also when interrupted. */
export async function withWorld<T>(
  options: { readonly engine: 'mysql' | 'mariadb'; readonly random: Random },
  work: (world: World) => Promise<T>,
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
    const stack = await startStack({ dataDir, shards: 1, engine: options.engine });
    console.log(`${engineName(stack.engine)} ${stack.version}, seed ${options.random.seed}`);
    return await useStack(stack, options.random, work);
  } finally {
    process.removeListener('SIGINT', interrupted);
    await cleanUp();
  }
}

async function useStack<T>(
  stack: Stack,
  random: Random,
  work: (world: World) => Promise<T>,
): Promise<T> {
  const [server] = stack.shards;
  const [adminPassword] = stack.adminPasswords;
  if (server === undefined || adminPassword === undefined) throw new LocalShardsError('No server.');
  const services = createServices(
    loadConfig({
      SHARDS: JSON.stringify(stack.shards),
      AzureWebJobsStorage: stack.storageConnectionString,
    }),
    createJsonLogger({
      minimum: 'warn',
      nowMs: () => Date.now(),
      write: (line) => console.error(line),
    }),
  );
  const { host, port, database } = server;
  const pools = new Map<number, Pool>();
  const plain = (connections: number): Pool => {
    const { user, password } = server;
    const login = { host, port, database, user, password };
    const pool = pools.get(connections) ?? createPool({ ...login, connectionLimit: connections });
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
    const users = await registerUsers(plain(1), random);
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

async function registerUsers(pool: Pool, random: Random): Promise<UserId[]> {
  const first = 7_300_000_000_000_000_000n + BigInt(random.below(1_000_000));
  const users = Array.from(
    { length: USERS },
    (_, n) => String(first + BigInt(n) * 104_729n) as UserId,
  );
  const rows = users.map(
    (user) =>
      `(${bucketOf(user)}, ${user}, 'u${user}@shop.example.com', UNHEX(SHA2('${user}', 256)), NOW(3))`,
  );
  await pool.query(insertRows('users', 'bucket, user_id, email, email_key, created_at', rows));
  return users;
}
