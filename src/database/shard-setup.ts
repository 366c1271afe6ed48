import type { Config, ShardSettings } from '../config.ts';
import type { Clock } from '../kernel/clock.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { bucketsOf } from '../sharding/bucket-map.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import type { Session, SqlRow } from './contracts.ts';
import { isFailure } from './database-error.ts';
import type { Migration } from './migration-files.ts';
import { migrate } from './migrations.ts';
import { sqlNow } from './ownership.ts';
import { withSession } from './shard.ts';
import type { ShardContext } from './shard.ts';
import { connectionsPerShard } from './shard-pools.ts';
import { INSERT_IDENTITY, READ_IDENTITY, READ_SERVER, SEED_OWNERSHIP } from './statements.ts';

export interface ShardSetupOptions {
  readonly context: ShardContext;
  readonly settings: ShardSettings;
  readonly config: Config;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly logger: Logger;
  readonly loadMap: () => Promise<BucketMap>;
  readonly loadMigrations: () => Promise<readonly Migration[]>;
}

export interface ShardFacts {
  readonly serverVersion: string;
}

/**
 * Makes sure that a shard can be used by this build and is the one that `SHARDS` says: server version, connection
 * budget, schema, identity, ownership rows. Idempotent, and safe when several instances do it at once.
 *
 * Throws `configuration-invalid` for what a person must settle; `DatabaseError` and `shard-unavailable` may pass.
 */
export async function setUpShard(options: ShardSetupOptions): Promise<ShardFacts> {
  const { context, config, clock, logger } = options;
  const files = await options.loadMigrations();
  return withSession(context, async (session) => {
    const [server] = await session.select(READ_SERVER, []);
    const serverVersion = String(server?.['version']);
    const problem =
      serverVersionProblem(serverVersion) ??
      connectionBudgetProblem(config, Number(server?.['max_connections']));
    if (problem !== undefined) throw setupError(context, problem);
    await migrate(session, {
      shardId: context.id,
      shardName: context.name,
      database: options.settings.database,
      files,
      apply: config.MIGRATE_ON_START,
      clock,
      logger,
    });
    await establishIdentity(session, options);
    return { serverVersion };
  });
}

/** Why a server is too old, or undefined; pure. Older ones lack LOCK IN SHARE MODE in subqueries or JSON_TABLE. */
export function serverVersionProblem(version: string): string | undefined {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/, 3).map(Number);
  const least = /mariadb/i.test(version) ? ([10, 6, 0] as const) : ([8, 0, 19] as const);
  const difference = major - least[0] || minor - least[1] || patch - least[2];
  return difference >= 0
    ? undefined
    : `its server has version ${version}; MySQL 8.0.19 or MariaDB 10.6 is the oldest that works`;
}

/** Why the pools do not fit the server, or undefined; pure. All instances count, because all may run at once (I6). */
export function connectionBudgetProblem(
  config: Pick<
    Config,
    | 'MAX_INSTANCES'
    | 'SCALING_GROUPS'
    | 'EXTRA_INSTANCES'
    | 'SHARD_POOL_SIZE'
    | 'SHARD_BATCH_POOL_SIZE'
    | 'SHARD_POOL_QUEUE'
    | 'SHARD_CONNECT_TIMEOUT_MS'
    | 'SHARD_STATEMENT_TIMEOUT_MS'
    | 'CONNECTION_SHARE_PERCENT'
  >,
  maxConnections: number,
): string | undefined {
  const wanted = connectionsPerShard(config);
  const allowed = Math.floor((maxConnections * config.CONNECTION_SHARE_PERCENT) / 100);
  if (wanted <= allowed) return undefined;
  return (
    '(SCALING_GROUPS × MAX_INSTANCES + EXTRA_INSTANCES) × (SHARD_POOL_SIZE + SHARD_BATCH_POOL_SIZE) = ' +
    `(${config.SCALING_GROUPS} × ${config.MAX_INSTANCES} + ${config.EXTRA_INSTANCES}) × ` +
    `(${config.SHARD_POOL_SIZE} + ${config.SHARD_BATCH_POOL_SIZE}) = ${wanted} connections, but ` +
    `CONNECTION_SHARE_PERCENT = ${config.CONNECTION_SHARE_PERCENT} % of the server's max_connections = ` +
    `${maxConnections} allows ${allowed}; lower the pool sizes or instances, or raise max_connections`
  );
}

/**
 * Checks which shard of which cluster the database says it is. One that says nothing is new: it is given its identity
 * and its ownership rows in one transaction.
 *
 * Seeding cannot grant a bucket that has moved: a bucket moves by transactions on both its shards, so both had an
 * identity by then, and a shard with an identity is never seeded again. Hence every bucket which the map, however stale
 * our copy, gives this shard at epoch 1 has never been anywhere else. Buckets at a later epoch came by a move, which
 * wrote their rows itself.
 */
async function establishIdentity(session: Session, options: ShardSetupOptions): Promise<void> {
  const map = await options.loadMap();
  const [known] = await session.select(READ_IDENTITY, []);
  if (known !== undefined) {
    checkIdentity(known, map, options);
    return;
  }
  try {
    await seed(session, map, options);
  } catch (error) {
    if (!isFailure(error, 'duplicate')) throw error;
    // Another instance was faster.
    const [theirs] = await session.select(READ_IDENTITY, []);
    if (theirs === undefined) throw error;
    checkIdentity(theirs, map, options);
  }
}

async function seed(session: Session, map: BucketMap, options: ShardSetupOptions): Promise<void> {
  const { context, clock, logger } = options;
  const now = sqlNow(clock.nowMs());
  const buckets = bucketsOf(map, context.id).filter((bucket) => map.epochs[bucket] === 1);
  await session.command('START TRANSACTION');
  try {
    // First, so that the second of two instances waits here and then finds the key taken.
    await session.execute(INSERT_IDENTITY, [map.clusterId, context.id, context.name, now]);
    if (buckets.length > 0) {
      const rows = buckets.map((bucket) => `(${bucket}, 'owned', 1, NULL, '${now}')`);
      await session.command(SEED_OWNERSHIP + rows.join(', '));
    }
    await session.command('COMMIT');
  } catch (error) {
    // If it fails, so has the connection, which rolls back as well.
    await session.command('ROLLBACK').catch(() => session.discard());
    throw error;
  }
  logger.log('info', 'database.shard_seeded', { shardId: context.id, buckets: buckets.length });
}

function checkIdentity(row: SqlRow, map: BucketMap, options: ShardSetupOptions): void {
  const { id, name } = options.context;
  const found = {
    cluster: String(row['cluster_id']),
    id: Number(row['shard_id']) as ShardId,
    name: String(row['shard_name']),
  };
  if (found.cluster !== map.clusterId) {
    throw setupError(
      options.context,
      `its database belongs to another cluster (${found.cluster}; the bucket map is of ${map.clusterId}). Either SHARDS names the wrong server or schema, or AzureWebJobsStorage the wrong account`,
    );
  }
  if (found.id !== id || found.name !== name) {
    throw setupError(
      options.context,
      `its database says that it is shard ${found.id} ("${found.name}"), but SHARDS lists it at position ${id} as "${name}". Shards must keep their name and position; was the list reordered?`,
    );
  }
}

function setupError(context: ShardContext, problem: string): PermanentError {
  return new PermanentError(
    'configuration-invalid',
    `Shard "${context.name}" cannot be used: ${problem}.`,
    { details: { shardId: context.id } },
  );
}
