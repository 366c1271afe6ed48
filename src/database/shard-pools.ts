import type { Config, ShardSettings } from '../config.ts';
import { openConnection, POOL_IDLE_MS } from './connection.ts';
import type { ConnectionSettings } from './connection.ts';
import { createConnectionPool } from './connection-pool.ts';
import type { ConnectionPool } from './connection-pool.ts';
import type { TokenSource } from './entra-tokens.ts';

/**
 * Default of MySQL's and MariaDB's `max_prepared_stmt_count`, which holds for all connections of a server together.
 */
const SERVER_PREPARED_STATEMENTS = 16_382;
/** More fixed texts than the application has. */
const MAX_PREPARED_PER_CONNECTION = 100;

/** One shard's connections. They know no buckets. */
export interface ShardPools {
  /** Single rows, point reads and transactions: many connections, because group commit shares the flush. */
  readonly single: ConnectionPool;
  /** Packets of many rows: few connections, best as many as the server has cores (FACTS-mysql 2b). */
  readonly batch: ConnectionPool;
}

export type PoolConfig = Pick<
  Config,
  | 'SHARD_POOL_SIZE'
  | 'SHARD_BATCH_POOL_SIZE'
  | 'SHARD_POOL_QUEUE'
  | 'SHARD_CONNECT_TIMEOUT_MS'
  | 'SHARD_STATEMENT_TIMEOUT_MS'
  | 'MAX_INSTANCES'
  | 'SCALING_GROUPS'
  | 'EXTRA_INSTANCES'
  | 'CONNECTION_SHARE_PERCENT'
>;

/** Creates both pools of a shard; no connection is opened before it is needed. */
export function createShardPools(
  shardId: number,
  shard: ShardSettings,
  config: PoolConfig,
  tokens?: TokenSource,
): ShardPools {
  const pool = (limit: number, multipleStatements: boolean): ConnectionPool => {
    const settings: ConnectionSettings = {
      shard,
      tokens,
      connectTimeoutMs: config.SHARD_CONNECT_TIMEOUT_MS,
      statementTimeoutMs: config.SHARD_STATEMENT_TIMEOUT_MS,
      multipleStatements,
      maxPreparedStatements: preparedPerConnection(config),
    };
    return createConnectionPool({
      shardId,
      limit,
      queueLimit: config.SHARD_POOL_QUEUE,
      idleMs: POOL_IDLE_MS,
      open: () => openConnection(settings),
    });
  };
  return {
    single: pool(config.SHARD_POOL_SIZE, false),
    batch: pool(config.SHARD_BATCH_POOL_SIZE, true),
  };
}

/** Connections of all instances to one shard; the same sum as in `infra/app/budget.bicep`. */
export function connectionsPerShard(config: PoolConfig): number {
  const instances = config.SCALING_GROUPS * config.MAX_INSTANCES + config.EXTRA_INSTANCES;
  return instances * (config.SHARD_POOL_SIZE + config.SHARD_BATCH_POOL_SIZE);
}

function preparedPerConnection(config: PoolConfig): number {
  const share = (SERVER_PREPARED_STATEMENTS * config.CONNECTION_SHARE_PERCENT) / 100;
  const fair = Math.floor(share / connectionsPerShard(config));
  return Math.min(MAX_PREPARED_PER_CONNECTION, Math.max(1, fair));
}
