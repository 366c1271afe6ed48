import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { QueueServiceClient } from '@azure/storage-queue';
import { createPool, type Pool } from 'mysql2/promise';
import { z } from 'zod';
import { SQL_AT, createOrderIds } from '../orders.ts';
import { PLAIN_INSERT } from '../statements.ts';

/**
 * What the host is measured against, as a process of its own: Node's HTTP server and a loop over a queue, which insert
 * the order they are given and nothing else. `bare.ts` names servers, queue and limits in the environment.
 */
const settings = z
  .object({
    shards: z.array(
      z.object({
        host: z.string(),
        port: z.int(),
        user: z.string(),
        password: z.string(),
        database: z.string(),
      }),
    ),
    connections: z.int(),
    storage: z.string(),
    queue: z.string(),
    batchSize: z.int(),
    newBatchThreshold: z.int(),
  })
  .parse(JSON.parse(process.env['BENCH_BARE'] ?? '{}'));

/** The caller has looked up bucket and shard. */
interface Order {
  readonly shard: number;
  readonly bucket: number;
  readonly userId: string;
  readonly amountCents: number;
}

const pools: readonly Pool[] = settings.shards.map((shard) =>
  createPool({ ...shard, connectionLimit: settings.connections }),
);
const nextId = createOrderIds();

async function insert({ shard, bucket, userId, amountCents }: Order): Promise<string> {
  const orderId = nextId();
  await pools[shard]?.execute(PLAIN_INSERT, [bucket, orderId, userId, amountCents, SQL_AT]);
  return orderId;
}

async function readJson(incoming: IncomingMessage): Promise<Order> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Order;
}

const server = createServer((incoming, response) => {
  const answer = async (): Promise<void> => {
    const order = await readJson(incoming);
    const orderId = await insert(order);
    const { userId, amountCents } = order;
    const body = JSON.stringify({ orderId, userId, amountCents, createdAt: SQL_AT });
    response.writeHead(201, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    });
    response.end(body);
  };
  answer().catch((error: unknown) => response.writeHead(500).end(String(error)));
});

/** As the host takes messages by host.json: a batch at a time, the next one when few are left in work. */
async function consume(): Promise<never> {
  const queue = QueueServiceClient.fromConnectionString(settings.storage).getQueueClient(
    settings.queue,
  );
  await queue.createIfNotExists();
  const running = new Set<Promise<unknown>>();
  for (;;) {
    if (running.size > settings.newBatchThreshold) {
      await Promise.race(running);
      continue;
    }
    const { receivedMessageItems } = await queue.receiveMessages({
      numberOfMessages: settings.batchSize,
      visibilityTimeout: 60,
    });
    if (receivedMessageItems.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    for (const { messageId, popReceipt, messageText } of receivedMessageItems) {
      const work = insert(
        JSON.parse(Buffer.from(messageText, 'base64').toString('utf8')) as Order,
      ).then(() => queue.deleteMessage(messageId, popReceipt));
      running.add(work);
      void work.finally(() => running.delete(work));
    }
  }
}

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(JSON.stringify({ origin: `http://127.0.0.1:${port}` }));
});
if (settings.queue !== '') await consume();
