import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from '../sagas/watch.ts';
import { until } from '../http.ts';
import type { StormWorld } from './world.ts';

/** Longer than all outages of a storm together; a batch waits them out. */
const FEED_TIMEOUT_MS = 600_000;

interface SentOrder {
  readonly orderId: string;
  readonly owner: string;
  readonly cents: number;
}

function makeOrders(world: StormWorld, count: number): SentOrder[] {
  return Array.from({ length: count }, () => {
    const cents = 1 + world.random.below(10_000);
    world.book.sending(cents);
    return { orderId: String(world.next()), owner: world.book.anyUser(world.random).userId, cents };
  });
}

function asInput({ orderId, owner, cents }: SentOrder): Record<string, unknown> {
  return { orderId, userId: owner, amountCents: cents };
}

/** Sends a batch, waits until it was ingested, and books its orders. */
export async function ingestBatch(world: StormWorld, count: number): Promise<void> {
  const { app, book, caller } = world;
  const orders = makeOrders(world, count);
  const body = orders.map((order) => `${JSON.stringify(asInput(order))}\n`).join('');
  const headers = {
    'content-type': 'application/x-ndjson',
    'idempotency-key': `storm-batch-${world.next()}`,
  };
  const send = (): ReturnType<typeof app.http.request> =>
    app.http.request('POST', '/api/orders/batch', { headers, body });
  const answer = await caller.insist('batch', send, [202]);
  if (answer.kind !== 'as-wanted') return;
  const url = String(answer.reply.json['statusUrl']);
  const report = await until(
    () => ask(() => app.http.get(url)),
    (reply) => reply?.status === 200 && reply.json['status'] !== 'running',
    { timeoutMs: FEED_TIMEOUT_MS, everyMs: 300 },
  );
  const { status, inserted, duplicates, conflicts, rejected } = report?.json ?? {};
  const told = [status, inserted, duplicates, conflicts, rejected].join(' ');
  if (told !== `completed ${count} 0 0 0`) caller.fail('batch', `${told} of ${count}`);
  for (const order of orders) book.acknowledged(order);
}

/** Puts orders on the queue, one half singly and one half as a list, and books them once the queue is empty. */
export async function feedQueue(world: StormWorld, count: number): Promise<void> {
  const { app, book } = world;
  const orders = makeOrders(world, count);
  const half = Math.floor(count / 2);
  const list = { orders: orders.slice(half).map(asInput) };
  const messages = [...orders.slice(0, half).map(asInput), list];
  const deadline = performance.now() + FEED_TIMEOUT_MS;
  for (;;) {
    // Storage may be away; what is sent twice has its effect once.
    const isSent = await app.enqueueAll('orders', messages).then(
      () => true,
      () => false,
    );
    if (isSent) break;
    if (performance.now() > deadline) throw new Error('the queue takes no message');
    await sleep(500);
  }
  await queueIsEmpty(world);
  for (const order of orders) book.acknowledged(order);
}

async function queueIsEmpty({ app }: StormWorld): Promise<void> {
  const deadline = performance.now() + FEED_TIMEOUT_MS;
  for (;;) {
    try {
      await app.queueDrained('orders', Math.max(1, deadline - performance.now()));
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(500);
    }
  }
}
