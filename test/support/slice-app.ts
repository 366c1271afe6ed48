import type { Probe, ProbePoint } from '../../src/kernel/probe.ts';
import type { BucketId, OrderId, ShardId, UserId } from '../../src/kernel/ids.ts';
import { fenceBucket, unfenceBucket } from '../../src/database/ownership.ts';
import { durableClientInput } from '../../src/durable/client.ts';
import { ordersRoutes } from '../../src/orders/http.ts';
import { ordersDurable } from '../../src/orders/sagas.ts';
import { sagasDurable } from '../../src/sagas/record.ts';
import type { Services } from '../../src/services.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { SHARDED_TABLES } from '../../src/sharding/sharded-tables.ts';
import { usersRoutes } from '../../src/users/http.ts';
import { usersDurable } from '../../src/users/sagas.ts';
import { createTestDatabases, queryShard, type TestDatabases } from './cluster.ts';
import { createFakeServices } from './fake-services.ts';
import { createInlineSagas, type InlineSagas } from './inline-sagas.ts';
import type { RecordingLogger } from './recording-logger.ts';
import { createRouteCaller } from './route-caller.ts';
import { createTestInstance, testConfig, type TestMap } from './test-database.ts';

type Row = Readonly<Record<string, unknown>>;

/** The users and orders slices over real shards, called without a host between. */
export interface SliceApp {
  readonly databases: TestDatabases;
  readonly services: Services;
  readonly map: TestMap;
  /** What the database layer logged. */
  readonly databaseLog: RecordingLogger;
  readonly call: ReturnType<typeof createRouteCaller>;
  /** The orchestrations, run in this process. */
  readonly sagas: InlineSagas;
  register(userId: string, email?: string): Promise<void>;
  place(
    userId: string,
    body: unknown,
    headers?: Record<string, string>,
  ): ReturnType<SliceApp['call']>;
  /** Called at each probe point, as the probe is; reset it after use. */
  onProbe: (point: ProbePoint, subject?: string) => Promise<void> | void;
  /** Rows of one shard, past the app. Numbers as text, binary as hex where the statement says so. */
  rows(shard: number, text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  /** Rows of all shards. */
  allRows(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  fence(bucket: BucketId): Promise<void>;
  unfence(bucket: BucketId): Promise<void>;
  /** Moves a bucket with its rows, as a finished move leaves things: the source keeps an old copy, the map is stale. */
  moveBucket(bucket: BucketId, to: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startSliceApp(
  settings: Readonly<Record<string, string>> = {},
): Promise<SliceApp> {
  const databases = await createTestDatabases();
  const instance = createTestInstance(databases, { settings });
  let nextId = 5_000_000_000_000_000_000n;
  const probe: Probe = { reach: (point, subject) => app.onProbe(point, subject) };
  const services: Services = {
    ...createFakeServices(),
    config: testConfig(databases, settings),
    database: instance.database,
    bucketMap: instance.map,
    probe,
    ids: {
      nextUserId: () => Promise.resolve(String((nextId += 1n)) as UserId),
      nextOrderId: () => Promise.resolve(String((nextId += 1n)) as OrderId),
    },
  };
  const sagas = createInlineSagas(services, [sagasDurable, usersDurable, ordersDurable]);
  const call = createRouteCaller(services, [...usersRoutes, ...ordersRoutes], {
    input: durableClientInput,
    clientOf: () => sagas.client,
  });
  const onSource = (bucket: BucketId, change: typeof fenceBucket): Promise<void> => {
    const shard = instance.map.held.assignment[bucket] as ShardId;
    const options = { bucket, epoch: 1, nowMs: Date.now() };
    return instance.database.onShard(
      shard,
      async (target) => {
        if (!(await change(target, options))) throw new Error('the bucket was in another state');
      },
      { deadlineMs: 30_000 },
    );
  };
  const rows: SliceApp['rows'] = (shard, text, values = []) =>
    queryShard(databases, shard, text, values);
  const app: SliceApp = {
    databases,
    services,
    map: instance.map,
    databaseLog: instance.logger,
    call,
    sagas,
    onProbe: () => undefined,
    register: async (userId, email = `u${userId}@example.com`) => {
      const reply = await call('users-register', { json: { userId, email } });
      if (reply.status !== 201) throw new Error(`registration failed: ${reply.text}`);
    },
    place: (userId, json, headers = {}) =>
      call('orders-place', { params: { userId }, json, headers }),
    rows,
    allRows: async (text, values) => {
      const all = databases.shards.map((_, shard) => rows(shard, text, values));
      return (await Promise.all(all)).flat();
    },
    fence: (bucket) => onSource(bucket, fenceBucket),
    unfence: (bucket) => onSource(bucket, unfenceBucket),
    moveBucket: async (bucket, to) => {
      const from = instance.map.held.assignment[bucket] as number;
      for (const { name: table } of SHARDED_TABLES) {
        const copied = await rows(from, `SELECT * FROM ${table} WHERE bucket = ?`, [bucket]);
        for (const row of copied) await rows(to, `INSERT INTO ${table} SET ?`, [row]);
      }
      const gone = `UPDATE bucket_ownership SET state = 'gone', moved_to = ? WHERE bucket = ?`;
      await rows(from, gone, [to, bucket]);
      const owned = `REPLACE INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (?, 'owned', 2, NULL, NOW(3))`;
      await rows(to, owned, [bucket]);
    },
    stop: async () => {
      await sagas.settled();
      await instance.database.close();
      await databases.drop();
    },
  };
  return app;
}

/** Emails whose buckets lie on `shard` of three by the initial map; `name` keeps those of different tests apart. */
export function emailsOnShard(shard: number, count: number, name: string): string[] {
  const emails: string[] = [];
  for (let number = 0; emails.length < count; number += 1) {
    const email = `${name}${number}@example.com`;
    if (bucketOf(email) % 3 === shard) emails.push(email);
  }
  return emails;
}

/** User ids whose buckets lie on `shard` of three by the initial map, ascending from `from`. */
export function userIdsOnShard(shard: number, count: number, from = 10_000): string[] {
  const ids: string[] = [];
  for (let id = from; ids.length < count; id += 1) {
    if (bucketOf(String(id)) % 3 === shard) ids.push(String(id));
  }
  return ids;
}
