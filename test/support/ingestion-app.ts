import type { Readable } from 'node:stream';
import type { OrchestrationClient, InstanceStatus } from '../../src/durable/client.ts';
import { ingestionDurable } from '../../src/ingestion/activities.ts';
import { takeIn } from '../../src/ingestion/intake.ts';
import { describeIngestion, type IngestionView } from '../../src/ingestion/status.ts';
import { noopProbe, type Probe } from '../../src/kernel/probe.ts';
import type { Services } from '../../src/services.ts';
import { createBlobStore } from '../../src/storage/blob-store.ts';
import { createQueueStore } from '../../src/storage/queue-store.ts';
import { createBatchInstance, type BatchInstance } from './batch-orders.ts';
import type { TestDatabases } from './cluster.ts';
import { driveOrchestrator, type BoundActivity, type DriveResult } from './drive-orchestrator.ts';
import { createFakeServices } from './fake-services.ts';
import { createTestStorage } from './storage.ts';
import { testConfig, type Settings } from './test-database.ts';

/** The ingestion over real shards and storage, its orchestrations driven in memory. */
export interface IngestionApp {
  readonly instance: BatchInstance;
  readonly services: Services;
  /** Starts nothing by itself: notes what was started. */
  readonly client: OrchestrationClient;
  readonly started: string[];
  takeIn(batch: {
    readonly ingestionId: string;
    readonly body: Readable;
  }): Promise<'accepted' | 'replayed'>;
  /** Runs the ingestion's orchestration to its end. */
  run(ingestionId: string, options?: RunOptions): Promise<DriveResult>;
  status(ingestionId: string): Promise<IngestionView | undefined>;
}

export interface RunOptions {
  readonly random?: () => number;
  /** Share of activities that run twice. */
  readonly redeliver?: number;
}

export const BATCH_TIME = '2026-04-01T00:00:00.000Z';

export function createIngestionApp(
  databases: TestDatabases,
  options: { readonly settings?: Settings; readonly probe?: Probe } = {},
): IngestionApp {
  const probe = options.probe ?? noopProbe;
  const instance = createBatchInstance(databases, { ...options, probe });
  const clients = createTestStorage(databases);
  const services: Services = {
    ...createFakeServices(),
    ...instance.services,
    config: testConfig(databases, options.settings ?? {}),
    blobs: createBlobStore(clients),
    queues: createQueueStore(clients),
  };
  const started: string[] = [];
  const client: OrchestrationClient = {
    ensureStarted: (_contract, instanceId) => {
      if (started.includes(instanceId)) return Promise.resolve('exists');
      started.push(instanceId);
      return Promise.resolve('started');
    },
    startAgain: () => Promise.reject(new Error('nothing is started again here')),
    raise: () => Promise.reject(new Error('nothing waits for events here')),
    status: (_contract, instanceId) =>
      Promise.resolve(started.includes(instanceId) ? running(instanceId) : undefined),
  };
  return {
    instance,
    services,
    client,
    started,
    takeIn: ({ ingestionId, body }) =>
      takeIn(services, client, {
        ingestionId,
        body,
        maxBytes: 64 * 1024 * 1024,
        createdAt: BATCH_TIME,
      }),
    run: (ingestionId, run = {}) =>
      driveOrchestrator(
        'ingestion-ingest',
        { ingestionId },
        {
          orchestrations: ingestionDurable.orchestrations,
          activities: boundActivities(services),
          ...run,
        },
      ),
    status: (ingestionId) => describeIngestion(services, client, ingestionId),
  };
}

function boundActivities(services: Services): Record<string, BoundActivity> {
  return Object.fromEntries(
    ingestionDurable.activities.map((activity) => [
      activity.contract.name,
      activity.bind(services),
    ]),
  );
}

function running<Output, Status>(instanceId: string): InstanceStatus<Output, Status> {
  return {
    instanceId,
    state: 'running',
    createdAtMs: 0,
    updatedAtMs: 0,
    status: undefined,
    output: undefined,
  };
}
