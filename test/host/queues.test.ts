import { beforeEach, describe, expect, test } from 'vitest';
import { startAzurite, type Azurite } from './support/azurite.ts';
import { spawnHost, type SpawnedHost } from './support/spawn-host.ts';

interface Seen {
  readonly seen: readonly {
    readonly message?: unknown;
    readonly poison?: unknown;
    readonly meta: Record<string, unknown>;
  }[];
  readonly mostRunning: number;
}

let azurite: Azurite;

beforeEach(async () => {
  azurite = await startAzurite();
});

function startQueueHost(options: { env?: Record<string, string>; dataDir?: string } = {}) {
  const env = { Orders: azurite.connectionString, COLLECT_QUEUE: 'collected', ...options.env };
  return spawnHost({ app: 'queue-app', ...options, env });
}

async function send(queue: string, text: string, encoding: 'base64' | 'none' = 'base64') {
  const client = azurite.queues.getQueueClient(queue);
  await client.createIfNotExists();
  await client.sendMessage(encoding === 'base64' ? Buffer.from(text).toString('base64') : text);
  return client;
}

async function readSeen(host: SpawnedHost): Promise<Seen> {
  return (await (await host.fetch('/api/seen')).json()) as Seen;
}

async function waitForSeen(host: SpawnedHost, count: number): Promise<Seen> {
  return expect
    .poll(() => readSeen(host).then((state) => (state.seen.length >= count ? state : undefined)), {
      timeout: 30_000,
    })
    .toBeDefined()
    .then(() => readSeen(host));
}

async function messagesOf(queue: string): Promise<string[]> {
  const client = azurite.queues.getQueueClient(queue);
  const { peekedMessageItems } = await client.peekMessages({ numberOfMessages: 32 });
  return peekedMessageItems.map((item) => Buffer.from(item.messageText, 'base64').toString());
}

describe('queue trigger', () => {
  test('gives the function the parsed message and its metadata, then deletes it', async () => {
    const host = await startQueueHost();
    const queue = await send('collected', '{"id":"o-1","amount":5,"Tags":["a"]}');
    const { seen } = await waitForSeen(host, 1);
    expect(seen[0]?.message).toEqual({ id: 'o-1', amount: 5, Tags: ['a'] });
    expect(seen[0]?.meta).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      dequeueCount: 1,
      popReceipt: expect.any(String),
      amount: 5,
      tags: ['a'],
      queueTrigger: { id: 'o-1', amount: 5, tags: ['a'] },
      insertionTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/),
      expirationTime: expect.any(String),
      nextVisibleTime: expect.any(String),
    });
    await expect.poll(async () => (await queue.getProperties()).approximateMessagesCount).toBe(0);
  });

  test('starts before its queue exists and delivers plain text', async () => {
    const host = await startQueueHost();
    await send('collected', 'just text');
    const { seen } = await waitForSeen(host, 1);
    expect(seen[0]?.message).toBe('just text');
  });

  test('runs no more than batchSize + newBatchThreshold at once', async () => {
    for (let count = 0; count < 20; count += 1) await send('collected', '{"waitMs":150}');
    const host = await startQueueHost();
    const { mostRunning } = await waitForSeen(host, 20);
    expect(mostRunning).toBeGreaterThan(2);
    expect(mostRunning).toBeLessThanOrEqual(6);
  });

  test('honours messageEncoding none, overridden through the environment', async () => {
    const env = { AzureFunctionsJobHost__extensions__queues__messageEncoding: 'none' };
    const host = await startQueueHost({ env });
    await send('collected', '{"plain":true}', 'none');
    const { seen } = await waitForSeen(host, 1);
    expect(seen[0]?.message).toEqual({ plain: true });
  });

  test('moves a message to the poison queue after maxDequeueCount failures', async () => {
    const host = await startQueueHost();
    await send('fails', 'bad one');
    const { seen } = await waitForSeen(host, 1);
    expect(seen[0]?.poison).toBe('bad one');
    expect(host.output().match(/fail attempt \d/g)).toEqual([
      'fail attempt 1',
      'fail attempt 2',
      'fail attempt 3',
    ]);
    expect(await messagesOf('fails')).toEqual([]);
  });

  test('moves a message that is not base64 to the poison queue unread', async () => {
    const host = await startQueueHost();
    await send('collected', '*** not base64 ***', 'none');
    await host.waitFor(/queue_message_poisoned/);
    const poison = azurite.queues.getQueueClient('collected-poison');
    const { peekedMessageItems } = await poison.peekMessages();
    expect(peekedMessageItems[0]?.messageText).toBe('*** not base64 ***');
    expect((await readSeen(host)).seen).toEqual([]);
  });

  test('takes a message up again at once after kill -9', async () => {
    const host = await startQueueHost();
    await send('collected', '{"waitMs":1000,"id":"held"}');
    await host.waitFor(/collect waits/);
    await host.signal('SIGKILL');
    const second = await startQueueHost({ dataDir: host.dataDir });
    const { seen } = await waitForSeen(second, 1);
    expect(seen[0]?.message).toMatchObject({ id: 'held' });
    expect(seen[0]?.meta['dequeueCount']).toBe(2);
  });

  test('ignores that somebody else deleted the message meanwhile', async () => {
    const host = await startQueueHost();
    const queue = await send('collected', '{"waitMs":800,"id":"stolen"}');
    await host.waitFor(/collect waits/);
    await queue.clearMessages();
    await waitForSeen(host, 1);
    await send('collected', '{"id":"next"}');
    const { seen } = await waitForSeen(host, 2);
    expect(seen.map((entry) => (entry.message as { id: string }).id)).toEqual(['stolen', 'next']);
  });

  test('goes on when the storage account is away for a while', async () => {
    const host = await startQueueHost();
    await azurite.signal('SIGKILL');
    await host.waitFor(/queue_poll_failed/);
    expect((await host.fetch('/api/seen')).status).toBe(200);
  });
});

describe('queue output', () => {
  test('creates the queue, sends one message per element and wakes the listener', async () => {
    const host = await startQueueHost();
    const response = await host.fetch('/api/send', {
      method: 'POST',
      body: JSON.stringify([{ id: 1 }, 'text', 7]),
    });
    expect(response.status).toBe(202);
    const { seen } = await waitForSeen(host, 3);
    expect(seen.map((entry) => entry.message)).toEqual(
      expect.arrayContaining([{ id: 1 }, 'text', 7]),
    );
  });

  test('fills the queue name from the message for a return binding', async () => {
    await startQueueHost();
    await send('orders', '{"id":"o-9","region":"North"}');
    await expect
      .poll(() => messagesOf('region-north').catch(() => []), { timeout: 20_000 })
      .toEqual(['{"routed":"o-9"}']);
  });

  test('fails the function when the queue name has no value', async () => {
    const host = await startQueueHost();
    await send('orders', '{"id":"o-10"}');
    await host.waitFor(/needs a value for \{region\}/);
    await host.waitFor(/queue_message_poisoned/);
    expect(await messagesOf('orders-poison')).toEqual(['{"id":"o-10"}']);
  });
});

describe('starting by hand', () => {
  test('runs a queue function with the given text', async () => {
    const host = await startQueueHost();
    const response = await host.fetch('/admin/functions/collect', {
      method: 'POST',
      body: JSON.stringify({ input: '{"by":"hand"}' }),
    });
    expect(response.status).toBe(202);
    const { seen } = await waitForSeen(host, 1);
    expect(seen[0]?.message).toEqual({ by: 'hand' });
  });
});
