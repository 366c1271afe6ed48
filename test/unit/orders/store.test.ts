import { describe, expect, test } from 'vitest';
import type { SqlRow, SqlRunner } from '../../../src/database/contracts.ts';
import type { BucketId, UserId } from '../../../src/kernel/ids.ts';
import { READ_FIRST_PAGE } from '../../../src/orders/statements.ts';
import { readPage } from '../../../src/orders/store.ts';

const USER = '1001' as UserId;
const OWNED = { state: 'owned', moved_to: null, owner_id: USER };
const NO_ORDER = { order_id: null, amount_cents: null, created_at: null };
const ORDER = { order_id: '9', amount_cents: 5, created_at: '2026-01-02 00:00:00.000' };
const SHOWN = { orderId: '9', userId: USER, amountCents: 5, createdAt: '2026-01-02T00:00:00.000Z' };

/** Reads a page from a shard that answers so at first, and then with these rows when it is asked for the owner too. */
async function pageOf(first: readonly SqlRow[], second: readonly SqlRow[]) {
  const asked: string[] = [];
  const runner: Pick<SqlRunner, 'query'> = {
    query: (text) => {
      asked.push(text);
      return Promise.resolve(text === READ_FIRST_PAGE ? first : second);
    },
  };
  const page = { bucket: 7 as BucketId, userId: USER, after: undefined, limit: 10 };
  return { answer: await readPage(runner as SqlRunner, page), asked: asked.length };
}

describe('a page of orders', () => {
  test('takes one statement when there are orders', async () => {
    const { answer, asked } = await pageOf([ORDER], []);
    expect(answer).toEqual({ kind: 'answered', value: [SHOWN] });
    expect(asked).toBe(1);
  });

  test('is empty only when owner and user were there at the moment without orders', async () => {
    const { answer } = await pageOf([], [{ ...OWNED, ...NO_ORDER }]);
    expect(answer).toEqual({ kind: 'answered', value: [] });
  });

  test('is taken when a fence was lifted after the first look', async () => {
    const { answer } = await pageOf([], [{ ...OWNED, ...ORDER }]);
    expect(answer).toEqual({ kind: 'answered', value: [SHOWN] });
  });

  test('is refused where the bucket never was or has gone, and for a user who is not there', async () => {
    expect((await pageOf([], [])).answer).toMatchObject({ kind: 'refused', state: 'absent' });
    const gone = { ...NO_ORDER, state: 'gone', moved_to: 2, owner_id: null };
    const refused = { kind: 'refused', state: 'gone', movedTo: 2 };
    expect((await pageOf([], [gone])).answer).toEqual(refused);
    await expect(pageOf([], [{ ...OWNED, ...NO_ORDER, owner_id: null }])).rejects.toMatchObject({
      code: 'user-not-found',
    });
  });
});
