import { randomBytes } from 'node:crypto';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { inject } from 'vitest';
import type { Engine } from '../../local/shards/binaries/versions.ts';
import { ADMIN_USER, databaseGrant } from '../../local/shards/servers/server-options.ts';
import type { ShardConnection } from '../../local/shards/settings.ts';
import { openStack, type Stack } from '../../local/shards/stack.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The servers of this project: a process opens them by their folder. */
    cluster: { readonly dataDir: string; readonly engine: Engine };
  }
}

/** Databases of one test file: its own on every shard, on servers that it may stop and start. */
export interface TestDatabases {
  readonly engine: Engine;
  /** The servers, for stopping, killing, freezing and starting them. Shards by position. */
  readonly stack: Stack;
  /** The database's name on every shard; plain `[a-z0-9]`. */
  readonly database: string;
  /** The setting `SHARDS`. */
  readonly shards: readonly ShardConnection[];
  /** The setting `AzureWebJobsStorage`. */
  readonly storageConnectionString: string;
  /** Begins the names of this file's containers, queues and tables; plain `[a-z0-9]`. */
  readonly prefix: string;
  /** Starts what a test left stopped or frozen. For `afterEach`. */
  readonly recover: () => Promise<void>;
  /** Recovers, and drops the databases. For `afterAll`. */
  readonly drop: () => Promise<void>;
}

/**
 * Creates empty databases for a test file, for the application's user with its usual privileges. The
 * servers are shared by all files of the project, which run one after the other. With more than three
 * shards the missing ones are added; they stay.
 */
export async function createTestDatabases(
  options: { readonly shards?: number } = {},
): Promise<TestDatabases> {
  const { dataDir, engine } = inject('cluster');
  const stack = openStack(dataDir);
  if (stack === undefined) throw new Error(`No servers were started in ${dataDir}.`);
  const count = options.shards ?? 3;
  await recoverAll(stack);
  while (stack.shards.length < count) await stack.addShard();
  const database = `t${randomBytes(6).toString('hex')}`;
  const positions = Array.from({ length: count }, (_, index) => index);
  const onEveryShard = (statements: readonly string[]): Promise<unknown> =>
    Promise.all(positions.map((index) => asAdmin(stack, index, statements)));
  await onEveryShard([`CREATE DATABASE ${database}`, databaseGrant(database)]);
  return {
    engine,
    stack,
    database,
    shards: stack.shards.slice(0, count).map((shard) => ({ ...shard, database })),
    storageConnectionString: stack.storageConnectionString,
    prefix: database,
    recover: () => recoverAll(stack),
    async drop() {
      await recoverAll(stack);
      await onEveryShard([`DROP DATABASE IF EXISTS ${database}`]);
    },
  };
}

/** Runs statements on one shard as the set-up account, which may do everything. */
export async function asAdmin(
  stack: Stack,
  index: number,
  statements: readonly string[],
): Promise<void> {
  const shard = stack.shards[index];
  const password = stack.adminPasswords[index];
  if (shard === undefined || password === undefined) throw new Error(`There is no shard ${index}.`);
  const { host, port } = shard;
  const connection = await createConnection({ host, port, user: ADMIN_USER, password });
  try {
    for (const statement of statements) await connection.query(statement);
  } finally {
    await connection.end();
  }
}

/**
 * Runs a statement on one shard as the application's user, past the application; its rows, none of a write. Numbers beyond
 * 2^53 and times come as text.
 */
export async function queryShard(
  databases: Pick<TestDatabases, 'shards'>,
  shard: number,
  text: string,
  values: readonly unknown[] = [],
): Promise<Record<string, unknown>[]> {
  const settings = databases.shards[shard];
  if (settings === undefined) throw new Error(`there is no shard ${shard}`);
  const { host, port, user, password, database } = settings;
  const connection = await createConnection({
    host,
    port,
    user,
    password,
    database,
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
  });
  try {
    const [result] = await connection.query<RowDataPacket[]>(text, [...values]);
    return Array.isArray(result) ? result : [];
  } finally {
    await connection.end();
  }
}

async function recoverAll(stack: Stack): Promise<void> {
  for (const index of stack.shards.keys()) await stack.startShard(index);
  await stack.startStorage();
}
