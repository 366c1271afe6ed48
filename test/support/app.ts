import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BlobServiceClient } from '@azure/storage-blob';
import { QueueServiceClient } from '@azure/storage-queue';
import { type HostProcess, startHostProcess } from '../../local/host-process.ts';
import type { ShardConnection } from '../../local/shards/settings.ts';
import { createTestDatabases, queryShard, type TestDatabases } from './cluster.ts';
import type { Faults } from './faults/faults.ts';
import { FOLDER_SETTING } from './faults/plan.ts';
import { createHttpClient, type HttpClient, until } from './http.ts';

export interface TestAppOptions {
  /** Servers; default 3. */
  readonly shards?: number;
  /** How many of them the app is told of at first; default all. More come with {@link TestApp.setShards}. */
  readonly configured?: number;
  /** Application settings over the defaults. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Ask for keys, as Azure does. */
  readonly auth?: boolean;
  /** Makes the user of the app on the new databases, and gives its name and password; default: the local one. */
  readonly signIn?: (
    databases: TestDatabases,
  ) => Promise<Pick<ShardConnection, 'user' | 'password'>>;
  /** A second instance over the databases and storage account of this one. */
  readonly beside?: TestApp;
  /** The app runs from its sources, and these happen in it. */
  readonly faults?: Faults;
  /** Folder of another app to run: the product with an entry of the test's own. */
  readonly app?: string;
}

/** A refused message comes back at once, where a test waits until it is poison and for nothing else. */
export const QUICK_REDELIVERY = {
  AzureFunctionsJobHost__extensions__queues__visibilityTimeout: '00:00:00',
  AzureFunctionsJobHost__extensions__queues__maxPollingInterval: '00:00:00.250',
} as const;

/** The app in a local host of its own, over real shards and storage. */
export interface TestApp {
  readonly http: HttpClient;
  readonly databases: TestDatabases;
  readonly shards: readonly ShardConnection[];
  /** The host's own state, for looking at histories. */
  readonly dataDir: string;
  /** Everything the host printed, line by line. */
  readonly output: readonly string[];
  /** Puts a message on a queue, as JSON (text as it is), base64. */
  enqueue(queue: string, message: unknown): Promise<void>;
  enqueueAll(queue: string, messages: readonly unknown[]): Promise<void>;
  /** Waits until the queue has at most `most` messages (default none), waiting or in work. */
  queueDrained(queue: string, timeoutMs?: number, most?: number): Promise<void>;
  poisonCount(queue: string): Promise<number>;
  uploadBlob(container: string, name: string, text: string): Promise<void>;
  /** Rows of one shard, past the app. */
  sql(shard: number, text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  stopShard(shard: number): Promise<void>;
  startShard(shard: number): Promise<void>;
  /** `kill -9` of the host. */
  kill(): Promise<void>;
  /** Resolves when the host that runs now has ended, by whatever. */
  ended(): Promise<void>;
  /** Starts the host again on the same state and port. */
  restart(): Promise<void>;
  /** The first `count` servers are in SHARDS when the host starts again. */
  setShards(count: number): void;
  stop(): Promise<void>;
}

/** Starts the app on empty databases and an empty storage account. `npm run build` must have run. */
export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const databases =
    options.beside?.databases ?? (await createTestDatabases({ shards: options.shards ?? 3 }));
  const signIn = await options.signIn?.(databases);
  let configured = options.configured ?? databases.shards.length;
  if (options.beside === undefined) await emptyStorage(databases.storageConnectionString);
  const dataDir = await mkdtemp(path.join(tmpdir(), 'shardline-host-'));
  const output: string[] = [];
  const start = (port: number): Promise<HostProcess> =>
    startHostProcess({
      port,
      dataDir,
      auth: options.auth ?? false,
      ...(options.app === undefined ? {} : { app: options.app }),
      ...(options.faults === undefined ? {} : { app: options.faults.app }),
      onLine: (line) => output.push(line),
      settings: {
        SHARDS: JSON.stringify(
          databases.shards.slice(0, configured).map((shard) => ({ ...shard, ...signIn })),
        ),
        AzureWebJobsStorage: databases.storageConnectionString,
        FUNCTIONS_WORKER_RUNTIME: 'node',
        // Half a minute of a dead instance's lease is long for a test.
        WORKER_LEASE_SECONDS: '15',
        ...(options.faults === undefined ? {} : { [FOLDER_SETTING]: options.faults.folder }),
        ...options.settings,
      },
    });
  let host = await start(0);
  const port = Number(new URL(host.origin).port);
  return {
    http: createHttpClient(host.origin),
    databases,
    shards: databases.shards,
    dataDir,
    output,
    ...storageOf(databases),
    sql: (shard, text, values = []) => queryShard(databases, shard, text, values),
    stopShard: (shard) => databases.stack.stopShard(shard),
    startShard: (shard) => databases.stack.startShard(shard),
    kill: () => host.kill(),
    ended: async () => {
      await host.exited;
    },
    restart: async () => {
      host = await start(port);
    },
    setShards: (count) => {
      configured = count;
    },
    stop: async () => {
      await host.stop();
      await rm(dataDir, { recursive: true, force: true });
      if (options.beside === undefined) await databases.drop();
    },
  };
}

type StorageHelpers = Pick<
  TestApp,
  'enqueue' | 'enqueueAll' | 'queueDrained' | 'poisonCount' | 'uploadBlob'
>;

function storageOf(databases: TestDatabases): StorageHelpers {
  const queues = QueueServiceClient.fromConnectionString(databases.storageConnectionString);
  const blobs = BlobServiceClient.fromConnectionString(databases.storageConnectionString);
  const count = async (name: string): Promise<number> => {
    const queue = queues.getQueueClient(name);
    if (!(await queue.exists())) return 0;
    return (await queue.getProperties()).approximateMessagesCount ?? 0;
  };
  const enqueueAll = async (name: string, messages: readonly unknown[]): Promise<void> => {
    const queue = queues.getQueueClient(name);
    await queue.createIfNotExists();
    const width = 16;
    for (let from = 0; from < messages.length; from += width) {
      await Promise.all(
        messages.slice(from, from + width).map((message) => {
          const text = typeof message === 'string' ? message : JSON.stringify(message);
          return queue.sendMessage(Buffer.from(text).toString('base64'));
        }),
      );
    }
  };
  return {
    enqueue: (name, message) => enqueueAll(name, [message]),
    enqueueAll,
    queueDrained: async (name, timeoutMs = 60_000, most = 0) => {
      await until(
        () => count(name),
        (left) => left <= most,
        { timeoutMs },
      );
    },
    poisonCount: (name) => count(`${name}-poison`),
    uploadBlob: async (container, name, text) => {
      const client = blobs.getContainerClient(container);
      await client.createIfNotExists();
      await client.getBlockBlobClient(name).upload(text, Buffer.byteLength(text));
    },
  };
}

async function emptyStorage(connectionString: string): Promise<void> {
  const blobs = BlobServiceClient.fromConnectionString(connectionString);
  for await (const container of blobs.listContainers()) await blobs.deleteContainer(container.name);
  const queues = QueueServiceClient.fromConnectionString(connectionString);
  for await (const queue of queues.listQueues()) await queues.deleteQueue(queue.name);
}
