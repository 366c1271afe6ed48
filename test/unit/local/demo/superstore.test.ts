import { describe, expect, test } from 'vitest';
import {
  loadSuperstore,
  roundToCents,
  SUPERSTORE_CUSTOMERS,
  SUPERSTORE_ORDERS,
  SUPERSTORE_TOTAL_CENTS,
  tenThousandths,
} from '../../../../local/demo/superstore.ts';

describe('the Superstore data set', () => {
  test('adds up to the known total, to the cent', async () => {
    const { customers, orders } = await loadSuperstore();
    expect(customers).toHaveLength(SUPERSTORE_CUSTOMERS);
    expect(orders).toHaveLength(SUPERSTORE_ORDERS);
    const total = orders.reduce((sum, order) => sum + BigInt(order.amountCents), 0n);
    expect(total).toBe(SUPERSTORE_TOTAL_CENTS);
  });

  test('gives every order a customer, and ids of their own', async () => {
    const { customers, orders } = await loadSuperstore();
    const users = new Set(customers.map((customer) => customer.userId));
    expect(orders.every((order) => users.has(order.userId))).toBe(true);
    expect(new Set(orders.map((order) => order.orderId)).size).toBe(orders.length);
  });

  test('sums exactly and rounds half up', () => {
    expect(tenThousandths('12.5')).toBe(125_000n);
    expect(tenThousandths('7')).toBe(70_000n);
    expect(roundToCents(tenThousandths('0.005'))).toBe(1);
    expect(roundToCents(tenThousandths('0.0049'))).toBe(0);
    // The sum of these two as doubles is 2.6749999…: exact decimals round to 2.68.
    expect(roundToCents(tenThousandths('1.6725') + tenThousandths('1.0025'))).toBe(268);
  });
});
