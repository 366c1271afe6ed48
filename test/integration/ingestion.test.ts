import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { takeMessage } from '../../src/ingestion/queue.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import type { Probe } from '../../src/kernel/probe.ts';
import { addUsers, ordersOn, setOwnership, usersOnShard } from '../support/batch-orders.ts';
import { createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import { silentLogger } from '../support/drive-orchestrator.ts';
import { until } from '../support/http.ts';
import { createIngestionApp, type IngestionApp } from '../support/ingestion-app.ts';
import { createRandom } from '../support/random.ts';
import { createTestStorage } from '../support/storage.ts';

const SETTINGS = { INGEST_CHUNK_ROWS: '200', CIRCUIT_OPEN_MS: '200', REQUEST_DEADLINE_MS: '1500' };
/** The least there may be: some 600 orders first, then 2 400. */
const SEGMENTED = { ...SETTINGS, INGEST_SEGMENT_BYTES: '131072' };

let databases: TestDatabases;
let app: IngestionApp;
let segmented: IngestionApp;
let users: string[];
let nextId = 1;
let nextBatch = 1;

beforeAll(async () => {
  databases = await createTestDatabases();
  app = createIngestionApp(databases, { settings: SETTINGS });
  segmented = createIngestionApp(databases, { settings: SEGMENTED });
  users = [0, 1, 2].flatMap((shard) => usersOnShard(app.instance, shard, 20));
  await addUsers(app.instance, users);
});
afterEach(() => databases.recover());
afterAll(async () => {
  await app.instance.database.close();
  await segmented.instance.database.close();
  await databases.drop();
});

const aBatchId = (): string => `batch-${nextBatch++}`;

function someOrders(
  count: number,
  fields: Record<string, unknown> = {},
): Record<string, unknown>[] {
  return Array.from({ length: count }, (_, index) => ({
    userId: users[index % users.length],
    amountCents: 1 + index,
    orderId: String(nextId++),
    ...fields,
  }));
}

const ndjson = (orders: readonly unknown[]): Readable =>
  Readable.from([Buffer.from(orders.map((order) => JSON.stringify(order)).join('\n'))]);

async function allOrders(): Promise<number> {
  const stored = await Promise.all([0, 1, 2].map((shard) => ordersOn(app.instance, shard)));
  return stored.reduce((sum, orders) => sum + orders.size, 0);
}

describe('an ingestion', () => {
  it.each([[90], [2_500]])('of %i orders writes each once and tells', async (count) => {
    const ingestionId = aBatchId();
    const before = await allOrders();
    expect(await app.takeIn({ ingestionId, body: ndjson(someOrders(count)) })).toBe('accepted');
    expect(app.started).toContain(ingestionId);
    expect(await app.status(ingestionId)).toMatchObject({ status: 'running', inserted: 0 });
    const run = await app.run(ingestionId);
    const status = await app.status(ingestionId);
    expect(status).toMatchObject({
      ingestionId,
      status: 'completed',
      received: count,
      inserted: count,
      duplicates: 0,
      conflicts: 0,
      rejected: 0,
      rejects: [],
      startedAt: '2026-04-01T00:00:00.000Z',
    });
    expect(status?.perShard.reduce((sum, part) => sum + part.inserted, 0)).toBe(count);
    expect(await allOrders()).toBe(before + count);
    console.log(
      `${count} orders: ${run.actions} durable actions, ${run.historyBytes} bytes of history = ${((run.historyBytes / count) * 1000).toFixed(0)} bytes per 1 000 orders`,
    );
    expect(run.historyBytes / Math.max(1, count / 1_000)).toBeLessThan(
      // A history begins with one event or another: below 1 000 orders the batch is what counts.
      count >= 1_000 ? 12 * 1024 : (12 * 1024 * 1_000) / count,
    );
  });

  it.each([600, 2_500])(
    'of %i orders counts exactly although every activity runs twice, in any order',
    async (count) => {
      const random = createRandom();
      const ingestionId = aBatchId();
      const orders = [
        ...someOrders(count),
        ...someOrders(50, { orderId: undefined }),
        { userId: users[0], amountCents: 0 },
      ];
      await app.takeIn({ ingestionId, body: ndjson(orders) });
      await segmented.run(ingestionId, { redeliver: 1, random: () => random.next() });
      expect(await app.status(ingestionId), `SEED=${random.seed}`).toMatchObject({
        received: count + 51,
        inserted: count + 50,
        duplicates: 0,
        rejected: 1,
      });
      // The whole orchestration a second time, as after a start that raced: nothing changes.
      await app.run(ingestionId);
      expect(await app.status(ingestionId)).toMatchObject({ inserted: count + 50, duplicates: 0 });
    },
  );

  it('counts exactly although the process dies at every dangerous instant', async () => {
    const random = createRandom();
    const deaths = { left: 25 };
    const probe: Probe = {
      reach: () => {
        if (deaths.left > 0 && random.next() < 0.4) {
          deaths.left--;
          throw new Error('killed');
        }
      },
    };
    const mortal = createIngestionApp(databases, { settings: SEGMENTED, probe });
    const ingestionId = aBatchId();
    await app.takeIn({ ingestionId, body: ndjson(someOrders(3_000)) });
    const run = await mortal.run(ingestionId, { random: () => random.next(), redeliver: 0.2 });
    await mortal.instance.database.close();
    expect(run.state, `SEED=${random.seed} ${run.error}`).toBe('completed');
    expect(await app.status(ingestionId), `SEED=${random.seed}`).toMatchObject({
      status: 'completed',
      inserted: 3_000,
      duplicates: 0,
    });
  });

  it('lists refused orders with their lines', async () => {
    const ingestionId = aBatchId();
    const [first] = someOrders(1);
    const lines = [
      JSON.stringify(first),
      '{',
      '',
      JSON.stringify({ ...first, amountCents: 999_999 }),
      '{"userId":"123456789","amountCents":5}',
      '{"userId":"1","amountCents":5,"colour":"red"}',
    ];
    await app.takeIn({ ingestionId, body: Readable.from([Buffer.from(lines.join('\n'))]) });
    await app.run(ingestionId);
    const status = await app.status(ingestionId);
    expect(status).toMatchObject({ received: 5, inserted: 1, conflicts: 1, rejected: 3 });
    expect(status?.rejects.map(({ line, code }) => [line, code])).toEqual([
      [2, 'validation-failed'],
      [5, 'user-not-found'],
      [6, 'validation-failed'],
    ]);
    expect(status?.conflicting).toMatchObject([{ line: 4, code: 'order-conflict' }]);
  });

  it('tells lines and figures of all segments, and gives each order one id wherever it is cut', async () => {
    const ingestionId = aBatchId();
    const orders = someOrders(4_000, { orderId: undefined });
    const lines = orders.map((order) => JSON.stringify(order));
    const broken = [3, 1_500, 3_999];
    for (const line of broken) lines[line - 1] = '{';
    lines[1_999] = `"${'x'.repeat(70_000)}"`;
    await app.takeIn({ ingestionId, body: Readable.from([Buffer.from(lines.join('\n'))]) });
    const before = await allOrders();
    await segmented.run(ingestionId, { redeliver: 0.5 });
    const segments = await app.services.blobs.list('ingestions', `${ingestionId}/segments/`, 100);
    expect(segments.length).toBeGreaterThan(2);
    const status = await app.status(ingestionId);
    const figures = { received: 4_000, inserted: 3_996, duplicates: 0, rejected: 4 };
    expect(status).toMatchObject(figures);
    expect(status?.rejects.map(({ line }) => line)).toEqual([3, 1_500, 2_000, 3_999]);
    expect(await allOrders()).toBe(before + 3_996);
    // Nothing is left of the chunks but what tells of rejects.
    const left = await app.services.blobs.list('ingestions', `${ingestionId}/try-`, 100);
    expect(left.every((name) => name.includes('/rejects/'))).toBe(true);
  });

  it('follows a bucket that moved after it was planned', async () => {
    const [user = ''] = usersOnShard(app.instance, 0, 1, 70_000);
    const bucket = bucketOf(user);
    await addUsers(app.instance, [user]);
    const ingestionId = aBatchId();
    const orders = [...someOrders(30), ...someOrders(20, { userId: user })];
    await app.takeIn({ ingestionId, body: ndjson(orders) });
    await setOwnership(app.instance, 0, { bucket, state: 'gone', movedTo: 1 });
    await app.instance.database.onShard(
      1 as never,
      (shard) =>
        shard.packet([
          `INSERT INTO users (bucket, user_id, email, email_key, created_at) VALUES (${bucket}, ${user}, 'm', UNHEX(SHA2('m${user}', 256)), '2026-01-01')`,
        ]),
      { deadlineMs: 10_000 },
    );
    await setOwnership(app.instance, 1, { bucket, state: 'owned' });
    await app.run(ingestionId, { redeliver: 1 });
    const status = await app.status(ingestionId);
    expect(status).toMatchObject({ inserted: 50, duplicates: 0, rejected: 0 });
    const moved = await ordersOn(app.instance, 1);
    expect([...moved.values()].filter((order) => order.startsWith(`${user}/`))).toHaveLength(20);
  });

  it('counts exactly although a bucket moves on between two deliveries of its orders', async () => {
    const [user = ''] = usersOnShard(app.instance, 0, 1, 80_000);
    const bucket = bucketOf(user);
    await addUsers(app.instance, [user]);
    const move = async (from: number, to: number): Promise<void> => {
      const stored = await ordersOn(app.instance, from);
      const orders = [...stored].filter(([, order]) => order.startsWith(`${user}/`));
      await setOwnership(app.instance, from, { bucket, state: 'gone', movedTo: to });
      await copyUser(user, to, orders);
      await setOwnership(app.instance, to, { bucket, state: 'owned' });
    };
    let written = 0;
    const probe: Probe = {
      reach: async (point) => {
        // The second is what shard 0 left for shard 1: written there, and nobody learns of it.
        if (point !== 'ingestion.afterChunk' || ++written !== 2) return;
        await move(1, 2);
        throw new Error('killed');
      },
    };
    const mortal = createIngestionApp(databases, { settings: SETTINGS, probe });
    const ingestionId = aBatchId();
    const orders = someOrders(20, { userId: user });
    await app.takeIn({ ingestionId, body: ndjson(orders) });
    await move(0, 1);
    await mortal.run(ingestionId);
    await mortal.instance.database.close();
    expect(written).toBeGreaterThan(2);
    const figures = { status: 'completed', inserted: 20, duplicates: 0, conflicts: 0 };
    expect(await app.status(ingestionId)).toMatchObject(figures);
  });

  it('under the same id takes the same content once and refuses other content', async () => {
    const ingestionId = aBatchId();
    const orders = someOrders(5);
    expect(await app.takeIn({ ingestionId, body: ndjson(orders) })).toBe('accepted');
    expect(await app.takeIn({ ingestionId, body: ndjson(orders) })).toBe('replayed');
    await expect(app.takeIn({ ingestionId, body: ndjson(orders.slice(1)) })).rejects.toMatchObject({
      code: 'idempotency-conflict',
    });
    const inputs = await app.services.blobs.list('ingestions', `${ingestionId}/input-`, 10);
    expect(inputs).toHaveLength(1);
  });

  it.each(['ingestion.afterUpload', 'ingestion.afterManifest', 'ingestion.afterStart'] as const)(
    'is completed by a repeat after a crash at %s',
    async (point) => {
      const ingestionId = aBatchId();
      const orders = someOrders(5);
      const dying = createIngestionApp(databases, {
        probe: {
          reach: (at) => {
            if (at === point) throw new Error('killed');
          },
        },
      });
      await expect(dying.takeIn({ ingestionId, body: ndjson(orders) })).rejects.toThrow('killed');
      await dying.instance.database.close();
      expect(await app.takeIn({ ingestionId, body: ndjson(orders) })).toBe(
        point === 'ingestion.afterUpload' ? 'accepted' : 'replayed',
      );
      expect(app.started).toContain(ingestionId);
    },
  );

  it('that was accepted but never started is started by asking for it', async () => {
    const ingestionId = aBatchId();
    await app.takeIn({ ingestionId, body: ndjson(someOrders(3)) });
    app.started.splice(app.started.indexOf(ingestionId), 1);
    expect(await app.status(ingestionId)).toMatchObject({ status: 'running' });
    expect(app.started).toContain(ingestionId);
    expect(await app.status('nothing-here')).toBeUndefined();
  });

  it('goes on with the other shards while one is stopped, and ends when it is back', async () => {
    const ingestionId = aBatchId();
    const patient = createIngestionApp(databases, {
      settings: { ...SEGMENTED, INGEST_CHUNK_DEADLINE_MS: '1000' },
    });
    await app.takeIn({ ingestionId, body: ndjson(someOrders(1_500)) });
    await databases.stack.stopShard(2);
    const running = patient.run(ingestionId);
    await until(
      () => Promise.all([0, 1].map((shard) => ordersOn(app.instance, shard))),
      (stored) => stored.every((orders) => orders.has(String(nextId - 3)) || orders.size > 500),
      { timeoutMs: 20_000 },
    );
    await databases.stack.startShard(2);
    await running;
    await patient.instance.database.close();
    expect(await app.status(ingestionId)).toMatchObject({ status: 'completed', inserted: 1_500 });
  });
});

describe('a message of the queue', () => {
  const deliver = (message: unknown, id: string): Promise<void> =>
    takeMessage(app.services, {
      message,
      metadata: { id, insertionTime: '2026-05-01T00:00:00+00:00', dequeueCount: '1' },
      client: () => app.client,
      logger: silentLogger,
    });
  /** Takes all visible messages off the queue. */
  const waitingOnQueue = async (): Promise<Record<string, unknown>[]> => {
    const clients = createTestStorage(databases);
    const queue = (await clients.queues()).getQueueClient('orders');
    const found: Record<string, unknown>[] = [];
    for (;;) {
      const { receivedMessageItems } = await queue.receiveMessages({ numberOfMessages: 32 });
      if (receivedMessageItems.length === 0) return found;
      for (const item of receivedMessageItems) {
        found.push(
          JSON.parse(Buffer.from(item.messageText, 'base64').toString()) as Record<string, unknown>,
        );
        await queue.deleteMessage(item.messageId, item.popReceipt);
      }
    }
  };

  it('with orders that lack an id inserts them once, however often it comes', async () => {
    const before = await allOrders();
    const message = { orders: someOrders(20, { orderId: undefined }) };
    await deliver(message, 'm-1');
    await deliver(message, 'm-1');
    expect(await allOrders()).toBe(before + 20);
    await deliver(message, 'm-2');
    expect(await allOrders()).toBe(before + 40);
  });

  it('that is malformed is refused and writes nothing', async () => {
    const before = await allOrders();
    for (const message of ['text', 7, null, [], {}, { orders: [] }, { blob: 'x' }, { colour: 1 }]) {
      await expect(deliver(message, 'm-3')).rejects.toMatchObject({ code: 'validation-failed' });
    }
    await expect(
      deliver({ orders: Array.from({ length: 501 }, () => someOrders(1)[0]) }, 'm-3'),
    ).rejects.toMatchObject({ code: 'validation-failed' });
    expect(await allOrders()).toBe(before);
  });

  it('is refused for an unknown user only after its other orders were written', async () => {
    const before = await allOrders();
    const message = { orders: [...someOrders(3), { userId: '4242424242', amountCents: 5 }] };
    // What was written might be inserted again under a new message id, so the first refusal keeps the identity.
    await deliver(message, 'm-4');
    expect(await allOrders()).toBe(before + 3);
    const copies = (await waitingOnQueue()).filter((copy) => 'deferred' in copy);
    expect(copies).toMatchObject([{ deferred: { messageId: 'm-4', firstSeenAt: null }, message }]);
    await expect(deliver(copies[0], 'm-5')).rejects.toMatchObject({ code: 'user-not-found' });
    await addUsers(app.instance, ['4242424242']);
    await deliver(copies[0], 'm-6');
    await deliver(copies[0], 'm-7');
    expect(await allOrders()).toBe(before + 4);
  });

  it('is put off while a shard is away, and inserts nothing twice when it and its copy come', async () => {
    const before = await allOrders();
    const message = { orders: someOrders(30, { orderId: undefined }) };
    await databases.stack.stopShard(1);
    await deliver(message, 'm-8');
    await databases.stack.startShard(1);
    const copies = await until(waitingOnQueue, (found) => found.length > 0, { timeoutMs: 10_000 });
    expect(copies).toMatchObject([{ deferred: { messageId: 'm-8', attempt: 1 } }]);
    await until(
      async () => {
        await deliver(copies[0], 'm-9');
        return allOrders();
      },
      (count) => count === before + 30,
      { timeoutMs: 20_000 },
    );
    await deliver(message, 'm-8');
    await waitingOnQueue();
    expect(await allOrders()).toBe(before + 30);
  });

  it('that has been put off for too long is refused', async () => {
    await databases.stack.stopShard(1);
    const copy = {
      deferred: {
        messageId: 'm-10',
        insertedAt: '2026-01-01T00:00:00.000Z',
        firstSeenAt: '2026-01-01T00:00:00.000Z',
        attempt: 300,
      },
      message: { orders: someOrders(60) },
    };
    await expect(deliver(copy, 'm-11')).rejects.toMatchObject({ code: 'shard-unavailable' });
  });

  it('of full size is put off through a blob', async () => {
    const orders = someOrders(500, { createdAt: '2026-05-01T00:00:00.000000000+00:00' });
    while (Buffer.byteLength(JSON.stringify({ orders })) > 48 * 1024) orders.pop();
    const before = await allOrders();
    const message = { orders };
    await databases.stack.stopShard(1);
    await deliver(message, 'm-12');
    await databases.stack.startShard(1);
    const copies = await until(waitingOnQueue, (found) => found.length > 0, { timeoutMs: 10_000 });
    expect(copies).toMatchObject([{ deferred: { messageId: 'm-12' }, spilled: expect.anything() }]);
    await until(
      async () => {
        await deliver(copies[0], 'm-13');
        return allOrders();
      },
      (count) => count === before + orders.length,
      { timeoutMs: 20_000 },
    );
    await waitingOnQueue();
  });

  it('with a batch id becomes an ingestion that can be followed', async () => {
    const orders = someOrders(10);
    await deliver({ orders, batchId: 'list-9' }, 'm-14');
    await deliver({ orders, batchId: 'list-9' }, 'm-15');
    await expect(
      deliver({ orders: orders.slice(1), batchId: 'list-9' }, 'm-16'),
    ).rejects.toMatchObject({ code: 'idempotency-conflict' });
    await app.run('list-9');
    expect(await app.status('list-9')).toMatchObject({ inserted: 10 });
  });

  it('with a blob takes a copy of it, so that what is ingested cannot change', async () => {
    const container = `${databases.prefix}-drop`;
    const clients = createTestStorage(databases);
    const drop = (await clients.blobs()).getContainerClient(container);
    await drop.createIfNotExists();
    const put = async (text: string): Promise<void> => {
      await drop.getBlockBlobClient('a/orders.ndjson').upload(text, Buffer.byteLength(text));
    };
    await put(
      someOrders(4)
        .map((order) => JSON.stringify(order))
        .join('\n'),
    );
    const message = { blob: `${container}/a/orders.ndjson` };
    await deliver(message, 'm-17');
    const ingestionId = app.started.at(-1) ?? '';
    await put('changed');
    await deliver(message, 'm-17');
    await app.run(ingestionId);
    expect(await app.status(ingestionId)).toMatchObject({ received: 4, inserted: 4 });
    await expect(deliver({ blob: `${container}/none` }, 'm-18')).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});

/** What a finished move leaves at its target. */
async function copyUser(
  user: string,
  shard: number,
  orders: readonly (readonly [string, string])[],
): Promise<void> {
  const bucket = bucketOf(user);
  const rows = orders.map(([orderId, order]) => {
    const [, cents] = order.split('/');
    return `(${bucket}, ${orderId}, ${user}, ${cents}, '2026-04-01')`;
  });
  await app.instance.database.onShard(
    shard as never,
    (target) =>
      target.packet([
        `INSERT INTO users (bucket, user_id, email, email_key, created_at) VALUES (${bucket}, ${user}, 'm', UNHEX(SHA2('m${user}', 256)), '2026-01-01')`,
        ...(rows.length === 0
          ? []
          : [
              `INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at) VALUES ${rows.join(',')}`,
            ]),
      ]),
    { deadlineMs: 10_000 },
  );
}
