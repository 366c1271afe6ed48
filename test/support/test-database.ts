import { loadConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import type { ShardedDatabase } from '../../src/database/contracts.ts';
import { createShardedDatabase } from '../../src/database/sharded-database.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { initialBucketMap } from '../../src/sharding/bucket-map.ts';
import type { BucketMap } from '../../src/sharding/bucket-map.ts';
import type { BucketMapSource } from '../../src/storage/contracts.ts';
import type { TestDatabases } from './cluster.ts';
import { createRecordingLogger } from './recording-logger.ts';
import type { RecordingLogger } from './recording-logger.ts';

/** A bucket map that a test changes: `cached` is what instances hold, `stored` what a refresh brings. */
export interface TestMap extends BucketMapSource {
  held: BucketMap;
  stored: BucketMap;
  refreshes: number;
}

export function createTestMap(shardNames: readonly string[], clusterId = 'test'): TestMap {
  const map = initialBucketMap({ clusterId, shardNames, updatedAt: '2026-01-01T00:00:00.000Z' });
  const source: TestMap = {
    held: map,
    stored: map,
    refreshes: 0,
    current: () => Promise.resolve(source.held),
    refresh: () => {
      source.refreshes += 1;
      source.held = source.stored;
      return Promise.resolve(source.held);
    },
    cached: () => ({ map: source.held, ageMs: 0 }),
  };
  return source;
}

/** `map` with one bucket given to another shard at the next epoch. */
export function withBucketOn(map: BucketMap, bucket: number, shard: number): BucketMap {
  return {
    ...map,
    version: map.version + 1,
    assignment: map.assignment.with(bucket, shard),
    epochs: map.epochs.with(bucket, (map.epochs[bucket] ?? 0) + 1),
  };
}

export type Settings = Readonly<Record<string, string>>;

/** The application's configuration for these servers. */
export function testConfig(databases: TestDatabases, settings: Settings = {}): Config {
  return loadConfig({
    SHARDS: JSON.stringify(databases.shards),
    AzureWebJobsStorage: databases.storageConnectionString,
    ...settings,
  });
}

/** One instance of the application as far as the database goes. */
export interface TestInstance {
  readonly database: ShardedDatabase;
  readonly map: TestMap;
  readonly logger: RecordingLogger;
}

export function createTestInstance(
  databases: TestDatabases,
  options: { readonly settings?: Settings; readonly map?: TestMap } = {},
): TestInstance {
  const config = testConfig(databases, options.settings);
  const map = options.map ?? createTestMap(config.SHARDS.map((shard) => shard.name));
  const logger = createRecordingLogger();
  const database = createShardedDatabase({
    config,
    bucketMap: map,
    clock: systemClock,
    logger,
    random: Math.random,
  });
  return { database, map, logger };
}
