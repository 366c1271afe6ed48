import { describe, expect, test } from 'vitest';
import type { SqlRow, SqlRunner, SqlValue } from '../../../src/database/contracts.ts';
import type { OrderId, UserId } from '../../../src/kernel/ids.ts';
import { localTransfer } from '../../../src/orders/local-transfer.ts';
import { LOCK_ORDER, USER_EXISTS } from '../../../src/orders/transfer-statements.ts';
import { bucketOf } from '../../../src/sharding/hash.ts';

const [ONE, TWO] = ['1001', '2002'] as const;
const RUN = { sagaId: 's', nowMs: Date.UTC(2026, 0, 1) };
const ORDER_ID = '5' as OrderId;

/** A transaction in which one user has the order; tells which rows were locked, in order. */
function createTransaction(holder: string) {
  const locks: SqlValue[] = [];
  const row: SqlRow = {
    order_id: ORDER_ID,
    user_id: holder,
    placed_for: null,
    amount_cents: 7,
    created_at: '2026-01-01 00:00:00.000',
    state: 0,
  };
  const tx: SqlRunner = {
    execute: () => Promise.resolve({ affectedRows: 1, insertId: 0 }),
    query: () => Promise.resolve([]),
    select: (text, values) => {
      if (text === USER_EXISTS) return Promise.resolve([{ found: 1 }]);
      if (text !== LOCK_ORDER) throw new Error(`unexpected: ${text}`);
      const [bucket = null] = values;
      locks.push(bucket);
      return Promise.resolve(bucket === bucketOf(holder) ? [row] : []);
    },
  };
  return { tx, locks };
}

describe('a transfer as one transaction', () => {
  test.each([
    [ONE, TWO],
    [TWO, ONE],
  ])('from %s to %s locks in the order of the buckets', async (fromUserId, toUserId) => {
    const { tx, locks } = createTransaction(fromUserId);
    const transfer = {
      orderId: ORDER_ID,
      fromUserId: fromUserId as UserId,
      toUserId: toUserId as UserId,
    };
    expect(localTransfer.buckets(transfer)).toEqual([bucketOf(fromUserId), bucketOf(toUserId)]);
    const answer = await localTransfer.run(tx, transfer, RUN);
    expect(answer).toMatchObject({ kind: 'answered', value: { userId: toUserId } });
    expect(locks).toEqual([bucketOf(ONE), bucketOf(TWO)].toSorted((a, b) => a - b));
  });
});
