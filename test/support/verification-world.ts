import type { SqlValue } from '../../src/database/contracts.ts';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { timestampOf, toSqlDatetime, type Timestamp } from '../../src/kernel/time.ts';
import { homeBucketOf, sagaIdAt, type SagaId } from '../../src/sagas/saga-id.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { SHARDED_TABLES } from '../../src/sharding/sharded-tables.ts';
import type { BlobStore } from '../../src/storage/contracts.ts';
import { emailKey, normalizeEmail } from '../../src/users/email.ts';
import { verificationDurable } from '../../src/verification/activities.ts';
import { verificationOrchestration } from '../../src/verification/contracts.ts';
import { CHECK_NAMES, type CheckName, type Verification } from '../../src/verification/model.ts';
import type { VerificationServices } from '../../src/verification/pass.ts';
import { createVerificationStore } from '../../src/verification/verification-store.ts';
import type { TestDatabases } from './cluster.ts';
import { driveOrchestrator, type BoundActivity } from './drive-orchestrator.ts';
import { createRecordingLogger } from './recording-logger.ts';
import { testConfig, type Settings, type TestInstance } from './test-database.ts';

const LIMIT = { deadlineMs: 10_000 };
export const SAGA = sagaIdAt(7 as BucketId, 'test');

export interface OrderRow {
  readonly orderId: string;
  readonly userId: string;
  readonly amountCents?: number;
  readonly state?: number;
  readonly placedFor?: string;
  readonly createdAt?: string;
}

export interface TransferRow {
  readonly orderId: string;
  readonly userId: string;
  readonly peerUserId: string;
  readonly state: number;
  readonly sagaId?: string;
  readonly ageMs?: number;
}

export interface SagaRow {
  readonly sagaId?: string;
  readonly bucket?: number;
  readonly kind?: string;
  readonly status?: string;
  readonly input?: unknown;
  readonly outcome?: unknown;
  readonly ageMs?: number;
  readonly finished?: boolean;
}

export interface RunOptions {
  readonly checks?: readonly CheckName[];
  readonly shards?: readonly number[];
  readonly settings?: Settings;
  readonly redeliver?: number;
  readonly random?: () => number;
  /** Runs ahead of an activity. */
  readonly before?: (activity: string, input: Readonly<Record<string, unknown>>) => Promise<void>;
}

/** Rows over three shards, written past the application, each as the application would have left it unless told otherwise. */
export interface VerificationWorld {
  /** Empties all tables and gives each bucket to its first owner. */
  reset(): Promise<void>;
  sql(shard: number, text: string, values?: readonly SqlValue[]): Promise<void>;
  /** On the shard that owns the bucket. */
  atOwner(bucket: number, text: string, values?: readonly SqlValue[]): Promise<void>;
  user(userId: string, email?: string): Promise<void>;
  directory(email: string, row: DirectoryRow): Promise<void>;
  order(row: OrderRow): Promise<void>;
  transfer(row: TransferRow): Promise<void>;
  saga(row: SagaRow): Promise<void>;
  ledger(bucket: number, sagaId: string, step: string, state?: string): Promise<void>;
  owner(bucket: number): number;
  /** Moves a bucket with its rows and publishes the map. */
  move(bucket: number, to: number): Promise<void>;
  /** Runs a verification as the durable runtime does. */
  run(options?: RunOptions): Promise<Verification>;
}

export interface DirectoryRow {
  readonly userId: string;
  readonly state?: string;
  readonly ageMs?: number;
}

export function emailOf(userId: string): string {
  return `u${userId}@example.com`;
}

export function keyOf(email: string): string {
  return emailKey(normalizeEmail(email)).toUpperCase();
}

export function createVerificationWorld(
  databases: TestDatabases,
  instance: TestInstance,
  blobs: BlobStore,
): VerificationWorld {
  const initial = instance.map.stored;
  let runs = 0;
  const emptyShard = (shard: number): Promise<unknown> => {
    const rows = initial.assignment.flatMap((owner, bucket) =>
      owner === shard ? [`(${bucket}, 'owned', 1, NULL, NOW(3))`] : [],
    );
    const statements = [
      ...SHARDED_TABLES.map(({ name }) => `DELETE FROM ${name}`),
      'DELETE FROM bucket_ownership',
      `INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES ${rows.join(', ')}`,
    ];
    return instance.database.onShard(shard as ShardId, (each) => each.packet(statements), LIMIT);
  };
  const world: VerificationWorld = {
    owner: (bucket) => instance.map.stored.assignment[bucket] as number,
    sql: async (shard, text, values = []) => {
      await instance.database.onShard(
        shard as ShardId,
        async (each) => {
          const filled = text.replaceAll('?', () => {
            const [value = null, ...rest] = values;
            values = rest;
            return each.literal(value);
          });
          await each.packet([filled]);
        },
        LIMIT,
      );
    },
    atOwner: (bucket, text, values) => world.sql(world.owner(bucket), text, values),
    reset: async () => {
      instance.map.stored = initial;
      instance.map.held = initial;
      await Promise.all([...databases.shards.keys()].map((shard) => emptyShard(shard)));
    },
    user: async (userId, email = emailOf(userId)) => {
      const bucket = bucketOf(userId);
      await world.atOwner(bucket, 'INSERT INTO users VALUES (?, ?, ?, UNHEX(?), NOW(3))', [
        bucket,
        userId,
        email,
        keyOf(email),
      ]);
      await world.directory(email, { userId });
    },
    directory: async (email, { userId, state = 'confirmed', ageMs = 0 }) => {
      const normalized = normalizeEmail(email);
      const bucket = bucketOf(normalized);
      await world.atOwner(
        bucket,
        'INSERT INTO email_directory VALUES (?, UNHEX(?), ?, ?, ?, ?, ?)',
        [bucket, keyOf(email), normalized, userId, state, SAGA, ago(ageMs)],
      );
    },
    order: async ({ orderId, userId, amountCents = 100, state = 0, placedFor, createdAt }) => {
      const bucket = bucketOf(userId);
      await world.atOwner(bucket, 'INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)', [
        bucket,
        orderId,
        userId,
        amountCents,
        createdAt ?? '2026-01-31 09:30:00.123',
        state,
        placedFor ?? null,
      ]);
    },
    transfer: async ({ orderId, userId, peerUserId, state, sagaId = SAGA, ageMs = 0 }) => {
      const bucket = bucketOf(userId);
      await world.atOwner(bucket, 'INSERT INTO order_transfers VALUES (?, ?, ?, ?, ?, ?, ?)', [
        bucket,
        orderId,
        userId,
        peerUserId,
        state,
        sagaId,
        ago(ageMs),
      ]);
    },
    saga: async (row) => {
      const { sagaId = SAGA, status = 'completed', ageMs = 0 } = row;
      const ended = status === 'completed' || status === 'compensated';
      const bucket = row.bucket ?? homeBucketOf(sagaId as SagaId);
      await world.atOwner(bucket, 'INSERT INTO sagas VALUES (?, ?, ?, ?, 0, ?, NULL, ?, ?, ?, ?)', [
        bucket,
        sagaId,
        row.kind ?? 'transfer-order',
        status,
        JSON.stringify(row.input ?? {}),
        row.outcome === undefined && ended ? '{}' : ((row.outcome as string | null) ?? null),
        ago(ageMs),
        ago(ageMs),
        (row.finished ?? ended) ? ago(0) : null,
      ]);
    },
    ledger: (bucket, sagaId, step, state = 'done') =>
      world.atOwner(bucket, 'INSERT INTO saga_steps VALUES (?, ?, ?, ?, NULL, NOW(3))', [
        bucket,
        sagaId,
        step,
        state,
      ]),
    move: async (bucket, to) => {
      const from = world.owner(bucket);
      for (const { name, columns } of SHARDED_TABLES) {
        const rows = await instance.database.onShard(
          from as ShardId,
          (shard) =>
            shard.query(`SELECT ${columns.join(', ')} FROM ${name} WHERE bucket = ?`, [bucket]),
          LIMIT,
        );
        await world.sql(to, `DELETE FROM ${name} WHERE bucket = ${bucket}`);
        for (const row of rows) {
          const places = columns.map(() => '?').join(', ');
          const values = columns.map((column) => row[column] ?? null);
          await world.sql(to, `INSERT INTO ${name} VALUES (${places})`, values);
        }
      }
      const epoch = (instance.map.stored.epochs[bucket] ?? 0) + 1;
      await world.sql(
        from,
        `UPDATE bucket_ownership SET state = 'gone', moved_to = ${to} WHERE bucket = ${bucket}`,
      );
      await world.sql(
        to,
        `REPLACE INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (${bucket}, 'owned', ${epoch}, NULL, NOW(3))`,
      );
      const map = instance.map.stored;
      instance.map.stored = {
        ...map,
        version: map.version + 1,
        assignment: map.assignment.with(bucket, to),
        epochs: map.epochs.with(bucket, epoch),
      };
    },
    run: (options = {}) => {
      runs += 1;
      return runVerification({ databases, instance, blobs }, `run-${runs}`, options);
    },
  };
  return world;
}

async function runVerification(
  {
    databases,
    instance,
    blobs,
  }: {
    readonly databases: TestDatabases;
    readonly instance: TestInstance;
    readonly blobs: BlobStore;
  },
  verificationId: string,
  options: RunOptions,
): Promise<Verification> {
  const services: VerificationServices = {
    blobs,
    clock: systemClock,
    database: instance.database,
    bucketMap: instance.map,
    logger: createRecordingLogger(),
    config: testConfig(databases, options.settings),
  };
  const store = createVerificationStore(blobs);
  await store.createRequest(verificationId, {
    checks: [...(options.checks ?? CHECK_NAMES)],
    shards: options.shards === undefined ? null : [...options.shards],
    startedAt: '2026-01-01T00:00:00.000Z',
  });
  const activities: Record<string, BoundActivity> = {};
  for (const activity of verificationDurable.activities) {
    const bound = activity.bind(services);
    activities[activity.contract.name] = async (input, context) => {
      await options.before?.(activity.contract.name, input as Record<string, unknown>);
      return bound(input, context);
    };
  }
  await driveOrchestrator(
    verificationOrchestration.name,
    { verificationId },
    {
      orchestrations: verificationDurable.orchestrations,
      activities,
      ...(options.random !== undefined && { random: options.random }),
      redeliver: options.redeliver ?? 0,
    },
  );
  const result = await store.readResult(verificationId);
  if (result === undefined) throw new Error('the verification left no result');
  const rest = await blobs.list('verifications', `${verificationId}/parts/`, 1);
  if (rest.length > 0) throw new Error('the verification left its parts');
  return result;
}

function ago(ms: number): string {
  return toSqlDatetime(timestampOf(Date.now() - ms) as Timestamp);
}

/** What was found, as short text. */
export function problemsOf(result: Verification): string[] {
  return result.checks
    .flatMap(({ examples }) => examples)
    .map(({ check, problem, subject }) => `${check} ${problem} ${subject}`)
    .toSorted();
}
