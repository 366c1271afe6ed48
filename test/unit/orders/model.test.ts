import { describe, expect, test } from 'vitest';
import { describeProblems, parseNewOrder } from '../../../src/orders/model.ts';

const order = { userId: '1001', amountCents: 4999 };

describe('parseNewOrder', () => {
  test('accepts the least and the most', () => {
    expect(parseNewOrder(order)).toEqual({ kind: 'valid', order });
    expect(
      parseNewOrder({
        userId: 9_007_199_254_740_991,
        amountCents: 2_147_483_647,
        orderId: '9223372036854775807',
        createdAt: '2026-01-31T10:30:00.1239+01:00',
      }),
    ).toEqual({
      kind: 'valid',
      order: {
        userId: '9007199254740991',
        amountCents: 2_147_483_647,
        orderId: '9223372036854775807',
        createdAt: '2026-01-31T09:30:00.123Z',
      },
    });
  });

  test.each([
    [{ amountCents: 1 }, '/userId'],
    [{ ...order, userId: '01' }, '/userId'],
    [{ ...order, userId: '1 OR 1=1' }, '/userId'],
    [{ ...order, userId: 9_007_199_254_740_992 }, '/userId'],
    [{ ...order, amountCents: 0 }, '/amountCents'],
    [{ ...order, amountCents: -1 }, '/amountCents'],
    [{ ...order, amountCents: 1.5 }, '/amountCents'],
    [{ ...order, amountCents: '1' }, '/amountCents'],
    [{ ...order, amountCents: 2_147_483_648 }, '/amountCents'],
    [{ ...order, amountCents: null }, '/amountCents'],
    [{ ...order, orderId: null }, '/orderId'],
    [{ ...order, orderId: '9223372036854775808' }, '/orderId'],
    [{ ...order, createdAt: '2026-02-30T00:00:00Z' }, '/createdAt'],
    [{ ...order, createdAt: '2026-02-03' }, '/createdAt'],
    [{ ...order, createdAt: 0 }, '/createdAt'],
    [{ ...order, colour: 'red' }, '/colour'],
    [[], ''],
    [null, ''],
    ['{}', ''],
    [undefined, ''],
  ])('refuses %j', (value, path) => {
    const parsed = parseNewOrder(value);
    expect(parsed).toMatchObject({ kind: 'invalid', problems: [{ path }] });
  });

  test('problems read as one line', () => {
    const parsed = parseNewOrder({ userId: 'x', amountCents: 0, colour: 'red' });
    if (parsed.kind !== 'invalid') throw new Error('was accepted');
    expect(describeProblems(parsed.problems)).toMatch(
      /^\/userId a user id.*; \/amountCents a whole number.*; \/colour is not a known field$/,
    );
    expect(describeProblems([{ path: '', message: 'an object is expected' }])).toBe(
      'an object is expected',
    );
  });
});
