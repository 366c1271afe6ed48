import type { Config, ShardSettings } from '../config.ts';
import type { Clock } from '../kernel/clock.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { noopTelemetry, type Telemetry } from '../kernel/telemetry.ts';
import type { BucketMapSource } from '../storage/contracts.ts';
import { createCircuitBreaker } from './circuit-breaker.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { TokenSource } from './entra-tokens.ts';
import { GroupWriters } from './group-writer.ts';
import { loadMigrations } from './migration-files.ts';
import { createSetupMemo } from './setup-memo.ts';
import type { SetupMemo } from './setup-memo.ts';
import type { ShardContext } from './shard.ts';
import { createShardPools } from './shard-pools.ts';
import type { ShardPools } from './shard-pools.ts';
import { setUpShard } from './shard-setup.ts';
import { createShardTelemetry, type ShardTelemetry } from './shard-telemetry.ts';

export interface ShardUnitOptions {
  readonly config: Config;
  readonly bucketMap: BucketMapSource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Needed where a shard has `auth: "entra"`. */
  readonly tokens?: TokenSource;
  /** Default: none. */
  readonly telemetry?: Telemetry | undefined;
}

/** What belongs to one configured shard for the life of the process. */
export interface ShardUnit {
  readonly id: ShardId;
  readonly settings: ShardSettings;
  readonly pools: ShardPools;
  readonly groups: GroupWriters;
  readonly breaker: CircuitBreaker;
  readonly setup: SetupMemo;
  /** Undefined when telemetry is off. */
  readonly telemetry: ShardTelemetry | undefined;
  /** For one caller; the deadline is in monotonic milliseconds. */
  contextUntil(deadlineAtMs: number): ShardContext;
}

/** Creates a shard's pools, breaker and set-up; opens nothing. */
export function createShardUnit(
  id: ShardId,
  settings: ShardSettings,
  options: ShardUnitOptions,
): ShardUnit {
  const { config, bucketMap, clock, logger, telemetry: tracer = noopTelemetry } = options;
  const pools = createShardPools(id, settings, config, options.tokens);
  const breaker = createCircuitBreaker(
    { failures: config.CIRCUIT_FAILURES, openMs: config.CIRCUIT_OPEN_MS },
    clock,
    (from, to) => {
      const level = to === 'open' ? 'error' : 'info';
      logger.log(level, 'database.circuit_changed', { shardId: id, from, to });
    },
  );
  const groups = new GroupWriters(id, config.SHARD_POOL_QUEUE);
  const telemetry = createShardTelemetry(tracer, id, { pools, breaker });
  const contextUntil = (deadlineAtMs: number): ShardContext => ({
    id,
    name: settings.name,
    pools,
    acquireTimeoutMs: config.SHARD_ACQUIRE_TIMEOUT_MS,
    statementTimeoutMs: config.SHARD_STATEMENT_TIMEOUT_MS,
    remainingMs: () => deadlineAtMs - clock.monotonicMs(),
    telemetry,
  });
  const setUp = () =>
    setUpShard({
      // Nobody's deadline: the set-up is for all callers. Each of its statements has its own limit.
      context: contextUntil(Number.POSITIVE_INFINITY),
      settings,
      config,
      clock,
      logger,
      loadMap: () => bucketMap.current(),
      loadMigrations,
    });
  return {
    id,
    settings,
    pools,
    groups,
    breaker,
    contextUntil,
    telemetry,
    setup: createSetupMemo(id, setUp, clock),
  };
}
