import { z } from 'zod';
import { bucketOf } from '../../src/sharding/hash.ts';
import { type Api, bucketMapReply, expectReply } from './api.ts';
import type { Tally } from './tally.ts';

/** The four users of the story and their three orders (DESIGN 10). */
const USERS = [
  { userId: '1001', email: 'ada@shardline.example' },
  { userId: '2002', email: 'grace@shardline.example' },
  { userId: '3003', email: 'edsger@shardline.example' },
  { userId: '4004', email: 'barbara@shardline.example' },
];
const ORDERS = [
  { userId: '1001', orderId: '1', amountCents: 4_999 },
  { userId: '2002', orderId: '2', amountCents: 1_299 },
  { userId: '3003', orderId: '3', amountCents: 8_800 },
];
const STORY_TIME = '2026-01-15T12:00:00.000Z';

export const STORY_TOTAL_CENTS = 15_098n;
export const STORY_ORDERS = ORDERS.length;

/** Registers the four users, gives three of them an order, and shows which bucket and shard each lives in. */
export async function tellStory(api: Api, print: (line: string) => void): Promise<Tally> {
  const map = expectReply(await api.send('GET', '/ops/bucket-map'), [200], bucketMapReply, 'map');
  print(`  bucket map version ${map.version}: 1024 buckets over ${map.shards.length} shards`);
  let created = 0;
  for (const user of USERS) {
    const key = { 'idempotency-key': `demo-user-${user.userId}` };
    const reply = await api.send('POST', '/users', user, key);
    expectReply(reply, [200, 201], z.object({ userId: z.literal(user.userId) }), 'registration');
    if (!reply.replayed) created += 1;
  }
  for (const order of ORDERS) {
    const { userId, ...content } = order;
    const path = `/users/${userId}/orders`;
    const reply = await api.send('POST', path, { ...content, createdAt: STORY_TIME });
    expectReply(reply, [200, 201], z.object({ orderId: z.literal(order.orderId) }), 'order');
    if (!reply.replayed) created += 1;
  }
  print('  user   bucket  shard     orders');
  for (const { userId } of USERS) {
    const bucket = bucketOf(userId);
    const shard = map.shards[map.assignment[bucket] as number]?.name ?? '?';
    print(`  ${userId}   ${String(bucket).padStart(6)}  ${shard}   ${await ordersOf(api, userId)}`);
  }
  return { sent: USERS.length + ORDERS.length, created };
}

async function ordersOf(api: Api, userId: string): Promise<string> {
  const schema = z.object({ orders: z.array(z.object({ amountCents: z.number() })) });
  const reply = await api.send('GET', `/users/${userId}/orders`);
  const { orders } = expectReply(reply, [200], schema, 'orders');
  return orders.length === 0
    ? 'none yet'
    : orders.map((order) => `${order.amountCents} cents`).join(', ');
}
