import { expect, test } from 'vitest';
import type { ShardedDatabase } from '../../../src/database/contracts.ts';
import { BugError, PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import { parseOrderId, parseUserId, type OrderId, type UserId } from '../../../src/kernel/ids.ts';
import type { AmountCents } from '../../../src/kernel/money.ts';
import { parseTimestamp, type Timestamp } from '../../../src/kernel/time.ts';
import { toOrderRow } from '../../../src/orders/batch-writer.ts';
import { writeOrder } from '../../../src/orders/write-order.ts';
import { createFakeServices } from '../../support/fake-services.ts';

const row = toOrderRow(
  { userId: parseUserId('1001') as UserId, amountCents: 5 as AmountCents },
  {
    orderId: parseOrderId('7') as OrderId,
    createdAt: parseTimestamp('2026-01-01T00:00:00Z') as Timestamp,
  },
);

function writeOver(
  failure: Error,
  route = (): Promise<unknown> => Promise.reject(RetryableError.storageUnavailable()),
): ReturnType<typeof writeOrder> {
  const onOwner = () => Promise.reject(failure);
  const database = { onOwner, route } as unknown as ShardedDatabase;
  return writeOrder(createFakeServices({ database }), row, { deadlineMs: 1_000 });
}

test('a shard that is set up wrongly leaves the order unsettled, like one that is away', async () => {
  const wrong = new PermanentError('configuration-invalid', 'the password is wrong');
  expect(await writeOver(wrong, () => Promise.resolve({ shard: 3 }))).toMatchObject({
    inserted: 0,
    unsettled: [row],
    reason: { code: 'shard-unavailable', retryable: true, cause: wrong, details: { shardId: 3 } },
  });
});

// Also while there is no map to tell the shard by.
test.each([
  RetryableError.shardUnavailable(3),
  RetryableError.tooManyRequests('too many wait'),
  RetryableError.storageUnavailable(),
])('$code leaves the order unsettled', async (away) => {
  expect(await writeOver(away)).toMatchObject({ unsettled: [row], reason: away });
});

test('any other permanent failure is thrown', async () => {
  const bug = new BugError('broken');
  await expect(writeOver(bug)).rejects.toBe(bug);
});
