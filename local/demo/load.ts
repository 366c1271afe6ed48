import { setTimeout as sleep } from 'node:timers/promises';
import { QueueServiceClient } from '@azure/storage-queue';
import { z } from 'zod';
import { type Api, expectReply, revenueReply } from './api.ts';
import { type ProgressLine, startProgress } from '../progress-line.ts';
import type { DemoCustomer, DemoOrder } from './superstore.ts';
import type { Tally } from './tally.ts';

/** Requests in flight: enough to share the disk's flushes, few enough for two cores. */
const WIDTH = 16;
/** How long nothing may move before the demonstration says that it is stuck, milliseconds. */
const STUCK_AFTER_MS = 120_000;
const POLL_MS = 500;
/** The storage emulator reads all of a queue on each call: thousands of waiting messages would measure the emulator. */
const MESSAGES_AHEAD = 200;

/** Runs `work` on each item, `WIDTH` at a time. */
async function forEach<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
  };
  await Promise.all(Array.from({ length: WIDTH }, lane));
}

/** Registers the customers over HTTP; a customer that exists is a replay. */
export async function registerCustomers(
  api: Api,
  customers: readonly DemoCustomer[],
): Promise<Tally> {
  const progress = startProgress({
    label: 'customers',
    total: customers.length,
    unit: 'customers',
  });
  let done = 0;
  let created = 0;
  await forEach(customers, async (customer) => {
    const key = { 'idempotency-key': `demo-user-${customer.userId}` };
    const reply = await api.send('POST', '/users', customer, key);
    expectReply(reply, [200, 201], z.object({ userId: z.string() }), 'registration');
    if (!reply.replayed) created += 1;
    progress.update((done += 1));
  });
  progress.finish(done);
  return { sent: customers.length, created };
}

export interface QueueOptions {
  readonly api: Api;
  readonly storageConnectionString: string;
  readonly orders: readonly DemoOrder[];
  /** Orders that must be there in the end, with what was there before. */
  readonly expectedOrders: number;
}

/** Sends each order as one message to the `orders` queue, and waits until all are rows and the queue is empty. */
export async function sendThroughQueue(options: QueueOptions): Promise<Tally> {
  const service = QueueServiceClient.fromConnectionString(options.storageConnectionString);
  const queue = service.getQueueClient('orders');
  await queue.createIfNotExists();
  const before = await countOrders(options.api);
  const progress = startProgress({
    label: 'orders   ',
    total: options.orders.length,
    unit: 'orders',
  });
  const waiting = async (): Promise<number> =>
    (await queue.getProperties()).approximateMessagesCount ?? 0;
  let sent = 0;
  const send = async (): Promise<void> => {
    for (let from = 0; from < options.orders.length; from += MESSAGES_AHEAD) {
      while ((await waiting()) >= MESSAGES_AHEAD) await sleep(POLL_MS / 5);
      await forEach(options.orders.slice(from, from + MESSAGES_AHEAD), async (order) => {
        await queue.sendMessage(Buffer.from(JSON.stringify(order)).toString('base64'));
        sent += 1;
      });
    }
  };
  const left = async (): Promise<number> => options.orders.length - sent + (await waiting());
  const [after] = await Promise.all([waitUntilTaken(options, progress, left), send()]);
  progress.finish(options.orders.length);
  return { sent: options.orders.length, created: after - before };
}

async function waitUntilTaken(
  options: QueueOptions,
  progress: ProgressLine,
  messagesLeft: () => Promise<number>,
): Promise<number> {
  let lastLeft = Number.POSITIVE_INFINITY;
  let movedAt = performance.now();
  for (;;) {
    const left = await messagesLeft();
    const orders = await countOrders(options.api);
    // The queue may hold more than was sent here: what an interrupted run left behind.
    progress.update(Math.max(0, options.orders.length - left));
    if (left === 0 && orders >= options.expectedOrders) return orders;
    if (left !== lastLeft) movedAt = performance.now();
    lastLeft = left;
    if (performance.now() - movedAt > STUCK_AFTER_MS) {
      throw new Error(
        `nothing has moved for ${STUCK_AFTER_MS / 1000} s: ${left} messages left, ${orders} of ${options.expectedOrders} orders; look at GET /api/ops/poison?queue=orders and at the host's log`,
      );
    }
    await sleep(POLL_MS);
  }
}

export async function countOrders(api: Api): Promise<number> {
  const reply = await api.send('GET', '/revenue');
  return expectReply(reply, [200], revenueReply, 'revenue').orders;
}
