import { type Connection, createConnection, createPool, type Pool } from 'mysql2/promise';
import { ADMIN_USER, databaseGrant } from '../../local/shards/servers/server-options.ts';
import type { ShardConnection } from '../../local/shards/settings.ts';
import type { Stack } from '../../local/shards/stack.ts';
import { loadConfig } from '../../src/config.ts';
import { createServices } from '../../src/create-services.ts';
import { createShardedDatabase } from '../../src/database/sharded-database.ts';
import type { Services } from '../../src/services.ts';
import { createTestMap } from '../../test/support/test-database.ts';
import { ALLOW_LOCAL_INFILE } from '../statements.ts';
import { quietLogger, type ServerOptions, settingsOf, withServers } from '../world.ts';
import {
  createDatabase,
  dropDatabase,
  type ServerSizes,
  serverSizes,
  useDatabase,
} from './fill-statements.ts';

/** Shards of the largest cluster. */
const SERVERS = 4;
/**
 * Of each server: what MySQL takes for itself on a machine of its own (`innodb_dedicated_server`) with the 8 GB and the 2
 * processors of Azure's smallest general-purpose server. Of the memory only what is used is taken: 10 000 000 orders
 * are 1.3 GB.
 */
const SIZES: ServerSizes = { bufferPoolMb: 6_144, redoLogMb: 1_024 };

/** Empty shards, the product's services over them, and the driver beside them. */
export interface Cluster {
  readonly services: Services;
  /** By shard, as the set-up account. */
  readonly admins: readonly Connection[];
  /** By shard: one connection of the driver alone, as the application's user. */
  readonly plain: readonly Pool[];
  /** By shard: process ids of the servers. */
  readonly pids: readonly number[];
}

/** Servers for benches over much data. */
export interface DataWorld {
  /** Runs `work` on a cluster of so many of the servers, with a database and a bucket map of its own, and drops it again. */
  withCluster<T>(shards: number, work: (cluster: Cluster) => Promise<T>): Promise<T>;
}

/** Starts servers with production durability, runs `work`, and deletes them again. */
export function withDataWorld<T>(
  options: ServerOptions,
  work: (world: DataWorld) => Promise<T>,
): Promise<T> {
  return withServers({ ...options, shards: SERVERS }, async (stack) => {
    let clusters = 0;
    return work({
      withCluster: (shards, run) => withCluster(stack, { shards, name: `data${++clusters}` }, run),
    });
  });
}

async function withCluster<T>(
  stack: Stack,
  { shards, name }: { readonly shards: number; readonly name: string },
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const own = stack.shards.slice(0, shards).map((shard) => ({ ...shard, database: name }));
  const admins = await Promise.all(
    own.map((shard, index) => connectAsAdmin(shard, stack.adminPasswords[index])),
  );
  for (const admin of admins) {
    await admin.query(createDatabase(name));
    await admin.query(databaseGrant(name));
    await admin.query(useDatabase(name));
    await admin.query(ALLOW_LOCAL_INFILE);
    await admin.query(serverSizes(SIZES));
  }
  const plain = own.map(({ host, port, database, user, password }) =>
    createPool({ host, port, database, user, password, connectionLimit: 1 }),
  );
  const services = createClusterServices(stack, own);
  try {
    await services.database.prewarm();
    const pids = stack.shardPids.map((pid) => pid ?? 0);
    return await work({ services, admins, plain, pids });
  } finally {
    await Promise.all([services.close(), ...plain.map((pool) => pool.end())]);
    for (const admin of admins) {
      await admin.query(dropDatabase(name));
      await admin.end();
    }
  }
}

function connectAsAdmin({ host, port }: ShardConnection, password = ''): Promise<Connection> {
  return createConnection({ host, port, user: ADMIN_USER, password, flags: ['+LOCAL_FILES'] });
}

/** The bucket map is in memory: there is one in the storage, and several clusters. */
function createClusterServices(stack: Stack, shards: readonly ShardConnection[]): Services {
  const config = loadConfig({ ...settingsOf(stack), SHARDS: JSON.stringify(shards) });
  const services = createServices(config, quietLogger());
  const { clock, logger, random } = services;
  const bucketMap = createTestMap(shards.map((shard) => shard.name));
  const database = createShardedDatabase({ config, bucketMap, clock, logger, random });
  return {
    ...services,
    bucketMap,
    database,
    close: async () => {
      await Promise.all([database.close(), services.close()]);
    },
  };
}
