import { expect } from 'vitest';
import { bucketOf } from '../../../src/sharding/hash.ts';
import type { TestApp } from '../app.ts';
import { type HttpClient, until } from '../http.ts';
import { ask, expectNothingHeld } from '../sagas/watch.ts';
import { expectGreen, verifyCluster } from '../verify.ts';
import type { BookedOrder } from './book.ts';
import { mapNow } from './rebalance.ts';
import type { StormWorld } from './world.ts';

/** Rows of the buckets that a shard owns: old copies do not count. */
const OWNED = "JOIN bucket_ownership AS own ON own.bucket = t.bucket AND own.state = 'owned'";
const ORDERS = `SELECT t.bucket, t.order_id, t.user_id, t.amount_cents FROM orders AS t ${OWNED} WHERE t.state <> 3`;
const USERS = `SELECT t.bucket, t.user_id, t.email FROM users AS t ${OWNED}`;
/** Sagas wait for up to a minute between their tries after an outage. */
const SETTLE_TIMEOUT_MS = 180_000;

/** What a long form need not ask over HTTP for each of its orders: the rows were all looked at. */
const MOST_READ = 400;

/**
 * Every acknowledged write is at its place exactly once, nothing is there that nobody sent, the map and the shards agree,
 * and the checker finds nothing. `held` are instances that are asked over HTTP as well.
 */
export async function expectAllThere(
  world: StormWorld,
  instances: readonly HttpClient[],
): Promise<void> {
  await expectMapAgrees(world.app);
  await nothingRuns(world.app);
  await expectOrders(world);
  await expectUsers(world);
  await expectNothingHeld(world.app);
  await expectReadable(world, instances);
  expect(await world.app.poisonCount('orders')).toBe(0);
  expectGreen(await verifyCluster(world.app, { timeoutMs: SETTLE_TIMEOUT_MS }));
}

async function nothingRuns(app: TestApp): Promise<void> {
  for (const status of ['running', 'compensating']) {
    await until(
      () => ask(() => app.http.get(`/api/ops/sagas?status=${status}`)),
      (reply) => reply?.status === 200 && (reply.json['sagas'] as unknown[]).length === 0,
      { timeoutMs: SETTLE_TIMEOUT_MS, everyMs: 300 },
    );
  }
}

async function rowsOf(app: TestApp, text: string): Promise<Record<string, unknown>[]> {
  const shards = await Promise.all(app.shards.map((_, shard) => app.sql(shard, text)));
  return shards.flat();
}

export async function expectMapAgrees(app: TestApp): Promise<void> {
  const { assignment, moves } = await mapNow(app);
  const owners: number[][] = assignment.map(() => []);
  for (const shard of app.shards.keys()) {
    const rows = await app.sql(shard, "SELECT bucket FROM bucket_ownership WHERE state = 'owned'");
    for (const row of rows) owners[Number(row['bucket'])]?.push(shard);
  }
  expect(owners).toEqual(assignment.map((shard) => [shard]));
  expect(moves).toBe(0);
}

async function expectOrders({ app, book, caller }: StormWorld): Promise<void> {
  const rows = await rowsOf(app, ORDERS);
  const seen = new Set<string>();
  const extra: string[] = [];
  const wrong: string[] = [];
  let cents = 0n;
  for (const row of rows) {
    const orderId = String(row['order_id']);
    const found = `${String(row['user_id'])}/${String(row['amount_cents'])}`;
    cents += BigInt(String(row['amount_cents']));
    if (seen.has(orderId)) wrong.push(`order ${orderId} is there twice`);
    seen.add(orderId);
    if (Number(row['bucket']) !== bucketOf(String(row['user_id'])))
      wrong.push(`${orderId}: bucket`);
    const booked = book.orders.get(orderId);
    if (booked === undefined) extra.push(found);
    else if (found !== `${booked.owner}/${booked.cents}`) wrong.push(`${orderId} is ${found}`);
  }
  for (const orderId of book.orders.keys())
    if (!seen.has(orderId)) wrong.push(`${orderId} is lost`);
  expect(wrong.slice(0, 20)).toEqual([]);
  expect(without(extra, book.uncertain)).toEqual([]);
  const revenue = await app.http.get('/api/revenue');
  const { totalCents, orders, complete } = revenue.json;
  expect([orders, totalCents, complete]).toEqual([rows.length, String(cents), true]);
  console.log(
    `${rows.length} orders, ${cents} cents: ${book.orders.size} acknowledged, ${extra.length} of ${book.uncertain.length} unknown ones; ${JSON.stringify(caller.counts)}`,
  );
}

/** What is in `list` more often than in `allowed`. */
function without(list: readonly string[], allowed: readonly string[]): string[] {
  const left = [...allowed];
  return list.filter((entry) => {
    const at = left.indexOf(entry);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

async function expectUsers({ app, book }: StormWorld): Promise<void> {
  const emails = new Map<string, string[]>();
  for (const row of await rowsOf(app, USERS)) {
    const userId = String(row['user_id']);
    emails.set(userId, [...(emails.get(userId) ?? []), String(row['email'])]);
  }
  const wrong = [...book.users.values()].filter((user) => {
    const found = emails.get(user.userId) ?? [];
    return found.length !== 1 || !user.emails.includes(found[0] as string);
  });
  expect(wrong).toEqual([]);
  expect(emails.size).toBe(book.users.size);
}

async function expectReadable(
  { book, random }: StormWorld,
  instances: readonly HttpClient[],
): Promise<void> {
  const orders = [...book.orders.values()];
  const share = Math.min(1, MOST_READ / orders.length);
  const chosen = orders.filter(() => random.next() < share);
  for (const http of instances) {
    const wrong: string[] = [];
    const lane = async (list: IterableIterator<BookedOrder>): Promise<void> => {
      for (const { orderId, owner, cents } of list) {
        const reply = await http.get(`/api/users/${owner}/orders/${orderId}`);
        if (reply.status !== 200 || Number(reply.json['amountCents']) !== cents) {
          wrong.push(`${orderId}: ${reply.status} ${reply.text}`);
        }
      }
    };
    const list = chosen.values();
    await Promise.all(Array.from({ length: 8 }, () => lane(list)));
    expect(wrong).toEqual([]);
  }
}
