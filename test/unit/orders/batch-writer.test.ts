import { expect, test } from 'vitest';
import type { ShardedDatabase } from '../../../src/database/contracts.ts';
import { BugError, PermanentError } from '../../../src/kernel/errors.ts';
import { parseOrderId, parseUserId, type OrderId, type UserId } from '../../../src/kernel/ids.ts';
import type { AmountCents } from '../../../src/kernel/money.ts';
import { parseTimestamp, type Timestamp } from '../../../src/kernel/time.ts';
import { createOrderBatchWriter, toOrderRow } from '../../../src/orders/batch-writer.ts';
import { initialBucketMap } from '../../../src/sharding/bucket-map.ts';
import { createFakeServices } from '../../support/fake-services.ts';

const map = initialBucketMap({ clusterId: 'c', shardNames: ['one'], updatedAt: '' });

function writerOver(failure: Error): ReturnType<typeof createOrderBatchWriter> {
  return createOrderBatchWriter(
    createFakeServices({
      bucketMap: {
        current: () => Promise.resolve(map),
        refresh: () => Promise.resolve(map),
        cached: () => ({ map, ageMs: 0 }),
      },
      database: { onShard: () => Promise.reject(failure) } as unknown as ShardedDatabase,
    }),
  );
}

const row = toOrderRow(
  { userId: parseUserId('1001') as UserId, amountCents: 5 as AmountCents },
  {
    orderId: parseOrderId('7') as OrderId,
    createdAt: parseTimestamp('2026-01-01T00:00:00Z') as Timestamp,
  },
);

test('a shard that is set up wrongly leaves its rows unsettled, like one that is away', async () => {
  const wrong = new PermanentError('configuration-invalid', 'the password is wrong');
  const outcome = await writerOver(wrong).writeOrders([row], { deadlineMs: 1_000 });
  expect(outcome.unsettled).toEqual([row]);
  expect(outcome.reason).toMatchObject({
    code: 'shard-unavailable',
    retryable: true,
    cause: wrong,
  });
});

test('any other permanent failure is thrown', async () => {
  const bug = new BugError('broken');
  await expect(writerOver(bug).writeOrders([row], { deadlineMs: 1_000 })).rejects.toBe(bug);
});
