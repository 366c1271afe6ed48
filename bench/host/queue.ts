import { QueueServiceClient, type QueueClient } from '@azure/storage-queue';
import { ORDERS_QUEUE } from '../../src/ingestion/defer.ts';
import { mapBounded } from '../../src/kernel/bounded.ts';
import type { UserId } from '../../src/kernel/ids.ts';
import { inRounds } from '../drive.ts';
import { figureOf } from '../figures.ts';
import { readHostJson } from './host-json.ts';
import { atLeast, type Line, lineOf } from '../lines.ts';
import { type BenchOptions, scaled } from '../options.ts';
import { someUser } from '../orders.ts';
import { bareOrder, startBare } from './bare.ts';
import type { HostWorld } from './world.ts';

/** In a round. The storage emulator looks through the whole queue at each call: more would measure the emulator. */
const MESSAGES = 500;
const AMOUNT = 4_999;
const SENDERS = 16;
const POLL_MS = 20;
/** An empty queue is looked at this often, so that no round begins with a pause; the default is up to 2 s. */
const POLLING = {
  AzureFunctionsJobHost__extensions__queues__maxPollingInterval: '00:00:00.100',
} as const;
const STUCK_AFTER_MS = 60_000;

/** Takes messages from a queue, in a process of its own. */
interface Consumer {
  readonly queue: QueueClient;
  readonly pid: number;
  readonly message: (userId: UserId) => unknown;
}

/**
 * Orders from queue messages through the host, beside a raw loop of dequeue, plain prepared INSERT and delete with the
 * same batches. Measured is how long a full queue takes to get empty.
 */
export async function benchQueue(
  world: HostWorld,
  options: BenchOptions,
): Promise<readonly Line[]> {
  const messages = scaled(options, MESSAGES, 20);
  const service = QueueServiceClient.fromConnectionString(world.storageConnectionString);
  const host = await world.startHost({ settings: POLLING });
  const { queues: limits } = readHostJson();
  const most = limits.batchSize + limits.newBatchThreshold;
  const name = 'bench-orders';
  const bare = await startBare(world, { connections: most, queue: { name, ...limits } });
  const product: Consumer = {
    queue: ordersQueue(world),
    pid: host.pid,
    message: (userId) => ({ userId, amountCents: AMOUNT }),
  };
  const limit: Consumer = {
    queue: service.getQueueClient(name),
    pid: bare.pid,
    message: (userId) => bareOrder(world, userId, AMOUNT),
  };
  const perSecond = (consumer: Consumer) => async (): Promise<number> => {
    const texts = Array.from({ length: messages }, () =>
      JSON.stringify(consumer.message(someUser(world.users, options.random))),
    );
    return (messages * 1_000) / (await emptiedMs(consumer, texts));
  };
  try {
    await Promise.all([product.queue.createIfNotExists(), limit.queue.createIfNotExists()]);
    const measures = { product: perSecond(product), limit: perSecond(limit) };
    const results = await inRounds(options, measures);
    const show = (rates: readonly number[]): string => figureOf(rates).median.toFixed(0);
    return [
      lineOf({
        what: `an order from the queue, ${limits.batchSize} at a time`,
        limit: 'raw loop: dequeue, INSERT, delete',
        ratios: results.product.map((rate, round) => rate / (results.limit[round] ?? Number.NaN)),
        target: atLeast(0.7),
        note: `${show(results.product)} of ${show(results.limit)} messages per s, ${messages} each time`,
      }),
    ];
  } finally {
    await host.stop();
  }
}

/** The queue from which the product takes orders. */
export function ordersQueue({ storageConnectionString }: HostWorld): QueueClient {
  return QueueServiceClient.fromConnectionString(storageConnectionString).getQueueClient(
    ORDERS_QUEUE,
  );
}

/** Fills the queue while its consumer is frozen, so that both begin with all of it, and lets it go. */
async function emptiedMs({ queue, pid }: Consumer, texts: readonly string[]): Promise<number> {
  process.kill(pid, 'SIGSTOP');
  try {
    await mapBounded(texts, SENDERS, (text) =>
      queue.sendMessage(Buffer.from(text).toString('base64')),
    );
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  const startedAtMs = performance.now();
  for (;;) {
    const { approximateMessagesCount = 0 } = await queue.getProperties();
    const ms = performance.now() - startedAtMs;
    if (approximateMessagesCount === 0) return ms;
    if (ms > STUCK_AFTER_MS) throw new Error(`${approximateMessagesCount} messages are left.`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
