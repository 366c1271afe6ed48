import { expect } from 'vitest';
import type { TestApp } from '../app.ts';
import { onEveryShard } from './cases.ts';

/** An order as it was placed. */
export interface PlacedOrder {
  readonly orderId: string;
  readonly amountCents: number;
  readonly createdAt: string;
  readonly placedBy: string;
}

/** Every order is there once, as it was placed; returns who has it. */
export async function ownersNow(
  app: TestApp,
  orders: readonly PlacedOrder[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await onEveryShard(
    app,
    'SELECT order_id, user_id, amount_cents, created_at FROM orders WHERE state = 0',
  );
  const owners = new Map<string, string>();
  const found = rows.map((row) => {
    owners.set(String(row['order_id']), String(row['user_id']));
    const createdAt = `${String(row['created_at']).replace(' ', 'T')}Z`;
    return `${String(row['order_id'])} ${String(row['amount_cents'])} ${createdAt}`;
  });
  const placed = orders.map((order) => `${order.orderId} ${order.amountCents} ${order.createdAt}`);
  expect(found.toSorted()).toEqual(placed.toSorted());
  return owners;
}

/**
 * The transfers that are written down as completed are the way an order went: at every user it came as often as it left,
 * but for where it began and where it is now. Returns how many there are.
 */
export async function expectWays(
  app: TestApp,
  orders: readonly PlacedOrder[],
  owners: ReadonlyMap<string, string>,
): Promise<number> {
  const rows = await onEveryShard(
    app,
    "SELECT saga_id, input, status FROM sagas WHERE kind = 'transfer-order'",
  );
  const written = new Map(rows.map((row) => [String(row['saga_id']), String(row['status'])]));
  const completed = rows.filter((row) => row['status'] === 'completed');
  const unwritten = await ordersOfUnwritten(app, written);
  const balance = new Map<string, number>();
  const add = (orderId: unknown, userId: unknown, change: number): void => {
    if (unwritten.has(String(orderId))) return;
    const key = `${String(orderId)} at ${String(userId)}`;
    balance.set(key, (balance.get(key) ?? 0) + change);
  };
  for (const row of completed) {
    const input = JSON.parse(String(row['input'])) as Record<string, unknown>;
    add(input['orderId'], input['fromUserId'], -1);
    add(input['orderId'], input['toUserId'], 1);
  }
  for (const { orderId, placedBy } of orders) {
    add(orderId, placedBy, 1);
    add(orderId, owners.get(orderId), -1);
  }
  expect([...balance].filter(([, count]) => count !== 0)).toEqual([]);
  expect(unwritten.size).toBeLessThan(orders.length / 4);
  console.log(
    `${completed.length} transfers are written down as completed; of ${unwritten.size} orders not all are`,
  );
  return completed.length;
}

/**
 * Orders with a transfer that was one transaction and is not in the journal: its caller sent no key and its host died
 * before it could answer. Their way is not known in full.
 */
async function ordersOfUnwritten(
  app: TestApp,
  written: ReadonlyMap<string, string>,
): Promise<ReadonlySet<string>> {
  const rows = await onEveryShard(
    app,
    "SELECT saga_id, result FROM saga_steps WHERE step = 'local' AND state = 'done' AND result LIKE '%orderId%'",
  );
  const statusOf = (row: Record<string, unknown>): string | undefined =>
    written.get(String(row['saga_id']));
  expect(rows.filter((row) => !['completed', undefined].includes(statusOf(row)))).toEqual([]);
  return new Set(
    rows
      .filter((row) => statusOf(row) === undefined)
      .map((row) => String((JSON.parse(String(row['result'])) as { orderId: unknown }).orderId)),
  );
}
