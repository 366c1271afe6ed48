import type { OrderRow } from '../../src/orders/batch-statements.ts';
import { createOrderBatchWriter, type BatchWriterServices } from '../../src/orders/batch-writer.ts';
import type { UserId, OrderId, BucketId } from '../../src/kernel/ids.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { AmountCents } from '../../src/kernel/money.ts';
import { noopProbe, type Probe } from '../../src/kernel/probe.ts';
import type { Timestamp } from '../../src/kernel/time.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { routeBucket } from '../../src/sharding/router.ts';
import type { TestDatabases } from './cluster.ts';
import {
  createTestInstance,
  testConfig,
  type Settings,
  type TestInstance,
} from './test-database.ts';

export const CREATED_AT = '2026-02-01T00:00:00.000Z' as Timestamp;

/** An order of a user, ready to be written. */
export function anOrderRow(
  userId: string,
  orderId: string | number,
  changes: Partial<OrderRow> = {},
): OrderRow {
  return {
    bucket: bucketOf(userId),
    userId: userId as UserId,
    orderId: String(orderId) as OrderId,
    amountCents: 100 as AmountCents,
    createdAt: CREATED_AT,
    createdAtGiven: true,
    ...changes,
  };
}

/** An instance with what the batch writer needs. */
export interface BatchInstance extends TestInstance {
  readonly services: BatchWriterServices;
  readonly writer: ReturnType<typeof createOrderBatchWriter>;
}

export function createBatchInstance(
  databases: TestDatabases,
  options: { readonly settings?: Settings; readonly probe?: Probe } = {},
): BatchInstance {
  const settings = { SHARD_ACQUIRE_TIMEOUT_MS: '2000', ...options.settings };
  const instance = createTestInstance(databases, { settings });
  const services: BatchWriterServices = {
    config: testConfig(databases, settings),
    database: instance.database,
    bucketMap: instance.map,
    clock: systemClock,
    probe: options.probe ?? noopProbe,
    random: Math.random,
  };
  return { ...instance, services, writer: createOrderBatchWriter(services) };
}

/** Inserts users where the map routes them. */
export async function addUsers(instance: TestInstance, userIds: readonly string[]): Promise<void> {
  for (const shard of instance.database.shardIds()) {
    const rows = userIds
      .map((userId) => ({ userId, bucket: bucketOf(userId) }))
      .filter(({ bucket }) => routeBucket(instance.map.held, bucket).shard === shard)
      .map(
        ({ userId, bucket }) =>
          `(${bucket}, ${userId}, 'u${userId}@example.com', UNHEX(SHA2('${userId}', 256)), '2026-01-01')`,
      );
    if (rows.length === 0) continue;
    await instance.database.onShard(
      shard,
      (target) =>
        target.packet([
          `INSERT INTO users (bucket, user_id, email, email_key, created_at) VALUES ${rows.join(',')}`,
        ]),
      { deadlineMs: 20_000 },
    );
  }
}

/** User ids whose buckets the first map gives to `shard`, from `from` on. */
export function usersOnShard(
  instance: TestInstance,
  shard: number,
  count: number,
  from = 1,
): string[] {
  const found: string[] = [];
  for (let id = from; found.length < count; id++) {
    if (routeBucket(instance.map.stored, bucketOf(String(id))).shard === shard) {
      found.push(String(id));
    }
  }
  return found;
}

/** All orders of a shard as `order_id → user/amount`, past the fence. */
export async function ordersOn(
  instance: TestInstance,
  shard: number,
): Promise<ReadonlyMap<string, string>> {
  const rows = await instance.database.onShard(
    shard as never,
    (target) => target.query('SELECT order_id, user_id, amount_cents FROM orders', []),
    { deadlineMs: 20_000 },
  );
  return new Map(
    rows.map((row) => [
      String(row['order_id']),
      `${String(row['user_id'])}/${Number(row['amount_cents'])}`,
    ]),
  );
}

export async function setOwnership(
  instance: TestInstance,
  shard: number,
  change: {
    readonly bucket: BucketId;
    readonly state: 'owned' | 'fenced' | 'receiving' | 'gone';
    readonly movedTo?: number;
  },
): Promise<void> {
  const { bucket, state, movedTo = null } = change;
  await instance.database.onShard(
    shard as never,
    (target) =>
      target.execute(
        `INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (?, ?, 1, ?, UTC_TIMESTAMP(3))
         ON DUPLICATE KEY UPDATE state = ?, moved_to = ?, epoch = epoch + 1`,
        [bucket, state, movedTo, state, movedTo],
      ),
    { deadlineMs: 20_000 },
  );
}
