import { randomUUID } from 'node:crypto';
import type { Config } from './config.ts';
import { createTokenSource, type TokenSource } from './database/entra-tokens.ts';
import { createShardedDatabase } from './database/sharded-database.ts';
import { type Clock, systemClock } from './kernel/clock.ts';
import type { Logger } from './kernel/logger.ts';
import { noopProbe, type Probe } from './kernel/probe.ts';
import { noopTelemetry, type Telemetry } from './kernel/telemetry.ts';
import type { Services } from './services.ts';
import { createCredential } from './sign-in.ts';
import { createBlobStore } from './storage/blob-store.ts';
import { createBucketMapCache } from './storage/bucket-map-cache.ts';
import { createBucketMapStore } from './storage/bucket-map-store.ts';
import { createStorageClients } from './storage/clients.ts';
import { createIdGenerator, startUnrefTimer } from './storage/id-generator.ts';
import { createQueueStore } from './storage/queue-store.ts';
import { createVersionedBlobs } from './storage/versioned-blobs.ts';
import { createWorkerLeases } from './storage/worker-lease.ts';

/** What tests replace; the deployed app takes the defaults. */
export interface ServiceTools {
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly probe?: Probe;
  readonly tokens?: TokenSource;
  readonly telemetry?: Telemetry;
}

/** Builds the services from the settings. Does no I/O: connections, leases and the map come with their first use. */
export function createServices(config: Config, logger: Logger, tools: ServiceTools = {}): Services {
  const { clock = systemClock, random = Math.random } = tools;
  const { probe = noopProbe, telemetry = noopTelemetry } = tools;
  const clientId = config.AZURE_CLIENT_ID ?? config.AzureWebJobsStorage__clientId;
  const clients = createStorageClients(config, { clock, random });
  const blobs = createBlobStore(clients);
  const control = createVersionedBlobs(clients, 'control');
  const bucketMapStore = createBucketMapStore({
    blobs: control,
    list: (...args) => blobs.list(...args),
    shardNames: config.SHARDS.map((shard) => shard.name),
    newClusterId: randomUUID,
    clock,
    random,
    logger,
  });
  const bucketMap = createBucketMapCache({
    store: bucketMapStore,
    cacheMs: config.BUCKET_MAP_CACHE_MS,
    clock,
    logger,
  });
  const tokens =
    tools.tokens ?? createTokenSource({ credential: createCredential(clientId), clock, logger });
  const database = createShardedDatabase({
    config,
    bucketMap,
    clock,
    logger,
    random,
    tokens,
    telemetry,
  });
  const ids = createIdGenerator({
    leases: createWorkerLeases(clients),
    leaseSeconds: config.WORKER_LEASE_SECONDS,
    startTimer: startUnrefTimer,
    clock,
    random,
    logger,
  });
  return {
    config,
    clock,
    logger,
    probe,
    telemetry,
    random,
    bucketMap,
    bucketMapStore,
    database,
    blobs,
    control,
    ids,
    queues: createQueueStore(clients),
    close: async () => {
      await Promise.allSettled([database.close(), ids.close()]);
      // Last, so that it has told of what came before.
      await telemetry.close();
    },
  };
}
