import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createBlobStore } from '../../src/storage/blob-store.ts';
import type { BlobStore, QueueStore } from '../../src/storage/contracts.ts';
import { createQueueStore } from '../../src/storage/queue-store.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createTestStorage } from '../support/storage.ts';

let databases: TestDatabases;
let blobs: BlobStore;
let queues: QueueStore;

beforeAll(async () => {
  databases = await createTestDatabases();
  const clients = createTestStorage(databases);
  blobs = createBlobStore(clients);
  queues = createQueueStore(clients);
});
afterEach(() => databases.recover());
afterAll(() => databases.drop());

async function contentOf(stream: Readable | undefined): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream ?? []) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

const MEBIBYTE = 1024 * 1024;

describe('before anything was written', () => {
  test('reads find nothing', async () => {
    expect(await blobs.read('reports', 'x')).toBeUndefined();
    expect(await blobs.open('reports', 'x')).toBeUndefined();
    expect(await blobs.list('reports', '', 10)).toEqual([]);
    await expect(blobs.delete('reports', 'x')).resolves.toBeUndefined();
    expect(await queues.length(`${databases.prefix}-none`)).toBe(0);
    expect(await queues.peek(`${databases.prefix}-none`, 5)).toEqual([]);
    expect(await queues.move(`${databases.prefix}-none`, `${databases.prefix}-b`, 5)).toBe(0);
  });
});

describe('small blobs', () => {
  test('are written, read, listed and deleted', async () => {
    await blobs.write('reports', 'list/b', 'zwei €');
    await blobs.write('reports', 'list/a', 'eins');
    await blobs.write('reports', 'list/a', 'eins!');
    await blobs.write('reports', 'other', '');
    expect(await blobs.read('reports', 'list/a')).toBe('eins!');
    expect(await blobs.read('reports', 'list/b')).toBe('zwei €');
    expect(await blobs.read('reports', 'other')).toBe('');
    expect(await blobs.list('reports', 'list/', 10)).toEqual(['list/a', 'list/b']);
    expect(await blobs.list('reports', 'list/', 1)).toEqual(['list/a']);
    const dated = await blobs.listDated('reports', 'list/', 10);
    expect(dated.map(({ name }) => name)).toEqual(['list/a', 'list/b']);
    for (const { writtenAtMs } of dated) {
      expect(Math.abs(writtenAtMs - Date.now())).toBeLessThan(60_000);
    }
    await blobs.delete('reports', 'list/a');
    expect(await blobs.read('reports', 'list/a')).toBeUndefined();
  });

  test('are created by exactly one of many', async () => {
    const created = await Promise.all(
      Array.from({ length: 16 }, (_, index) => blobs.create('reports', 'once', `by ${index}`)),
    );
    expect(created.filter(Boolean)).toHaveLength(1);
    expect(await blobs.read('reports', 'once')).toBe(`by ${created.indexOf(true)}`);
  });

  test('larger than the reader allows are refused', async () => {
    await blobs.write('reports', 'long', 'x'.repeat(1_001));
    await expect(blobs.read('reports', 'long', 1_000)).rejects.toMatchObject({
      code: 'payload-too-large',
    });
  });
});

describe('streams', () => {
  test.each([0, 1, 4 * MEBIBYTE, 4 * MEBIBYTE + 1, 11 * MEBIBYTE])(
    '%i bytes arrive as they were sent, with their SHA-256',
    async (size) => {
      const sent = randomBytes(size);
      const pieces = Array.from({ length: Math.ceil(size / 300_000) }, (_, index) =>
        sent.subarray(index * 300_000, (index + 1) * 300_000),
      );
      const result = await blobs.upload('ingestions', `size-${size}`, Readable.from(pieces), {
        maxBytes: size,
      });
      expect(result).toEqual({
        bytes: size,
        sha256: createHash('sha256').update(sent).digest('hex'),
      });
      const received = await contentOf(await blobs.open('ingestions', `size-${size}`));
      expect(received.equals(sent)).toBe(true);
    },
  );

  test('past the limit leave no blob, and the old one as it was', async () => {
    const source = () => Readable.from([randomBytes(9 * MEBIBYTE)]);
    const tooMuch = { maxBytes: 9 * MEBIBYTE - 1 };
    await expect(blobs.upload('ingestions', 'limit', source(), tooMuch)).rejects.toMatchObject({
      code: 'payload-too-large',
      retryable: false,
    });
    expect(await blobs.read('ingestions', 'limit')).toBeUndefined();
    await blobs.write('ingestions', 'limit', 'old');
    await expect(blobs.upload('ingestions', 'limit', source(), tooMuch)).rejects.toThrow();
    expect(await blobs.read('ingestions', 'limit')).toBe('old');
  });

  test('that break off at the source leave no blob and say what the source said', async () => {
    const broken = Readable.from(
      (function* () {
        yield randomBytes(5 * MEBIBYTE);
        throw new Error('the caller went away');
      })(),
    );
    const upload = blobs.upload('ingestions', 'broken', broken, { maxBytes: 100 * MEBIBYTE });
    await expect(upload).rejects.toThrow('the caller went away');
    expect(await blobs.read('ingestions', 'broken')).toBeUndefined();
  });

  test('uploaded to one name at once are never mixed', async () => {
    const contents = [1, 2, 3].map((fill) => Buffer.alloc(9 * MEBIBYTE, fill));
    const outcomes = await Promise.allSettled(
      contents.map((content) =>
        blobs.upload('ingestions', 'race', Readable.from([content]), { maxBytes: 10 * MEBIBYTE }),
      ),
    );
    expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true);
    const stored = await contentOf(await blobs.open('ingestions', 'race'));
    expect(contents.some((content) => content.equals(stored))).toBe(true);
  });

  test('go on where they were after the storage was away', async () => {
    const sent = randomBytes(11 * MEBIBYTE);
    await blobs.upload('ingestions', 'resume', Readable.from([sent]), { maxBytes: sent.length });
    const stream = (await blobs.open('ingestions', 'resume')) as Readable;
    const parts: Buffer[] = [];
    for await (const part of stream) {
      parts.push(part as Buffer);
      if (parts.length > 1) continue;
      await databases.stack.stopStorage();
      await databases.stack.startStorage();
    }
    expect(Buffer.concat(parts).equals(sent)).toBe(true);
  });

  test('of a blob that is overwritten meanwhile end with an error instead of a mixture', async () => {
    const first = Buffer.alloc(9 * MEBIBYTE, 1);
    await blobs.upload('ingestions', 'swap', Readable.from([first]), { maxBytes: first.length });
    const stream = (await blobs.open('ingestions', 'swap')) as Readable;
    await blobs.upload('ingestions', 'swap', Readable.from([Buffer.alloc(9 * MEBIBYTE, 2)]), {
      maxBytes: first.length,
    });
    await expect(contentOf(stream)).rejects.toMatchObject({ code: 'conflict', retryable: true });
  });

  test('of a container that a message names are read, but never the host’s own', async () => {
    await blobs.write('ingestions', 'named', 'content');
    const container = `${databases.prefix}-ingestions`;
    expect((await contentOf(await blobs.openForeign(container, 'named'))).toString()).toBe(
      'content',
    );
    for (const name of ['azure-webjobs-secrets', 'No Such', '..', 'none-of-this-name']) {
      expect(await blobs.openForeign(name, 'named')).toBeUndefined();
    }
    expect(await blobs.openForeign(container, '')).toBeUndefined();
  });
});

describe('queues', () => {
  const name = (suffix: string): string => `${databases.prefix}-${suffix}`;

  test('keep text as it is, 48 KiB of it, and create themselves', async () => {
    const text = '€'.repeat(16 * 1024);
    await queues.send(name('texts'), text);
    await queues.send(name('texts'), 'second');
    const peeked = await queues.peek(name('texts'), 100);
    expect(peeked.map((message) => message.text)).toEqual([text, 'second']);
    expect(peeked[0]?.dequeueCount).toBe(0);
    expect(Date.parse(peeked[0]?.insertedAt ?? '')).toBeGreaterThan(0);
    expect(await queues.length(name('texts'))).toBe(2);
    await expect(queues.send(name('texts'), `${text}x`)).rejects.toMatchObject({
      code: 'payload-too-large',
    });
  });

  test('put a message off', async () => {
    await queues.send(name('later'), 'not yet', { visibleInSeconds: 604_800 });
    expect(await queues.peek(name('later'), 1)).toEqual([]);
    expect(await queues.length(name('later'))).toBe(1);
  });

  test('move messages, at most as many as asked, losing none', async () => {
    const texts = Array.from({ length: 40 }, (_, index) => `message ${index}`);
    for (const text of texts) await queues.send(name('from'), text);
    expect(await queues.move(name('from'), name('to'), 35)).toBe(35);
    expect(await queues.length(name('from'))).toBe(5);
    expect(await queues.move(name('from'), name('to'), 100)).toBe(5);
    expect(await queues.length(name('from'))).toBe(0);
    expect(await queues.length(name('to'))).toBe(40);
  });
});

describe('while the storage is away', () => {
  test('every call fails clearly and soon, and works again afterwards', async () => {
    await blobs.write('reports', 'there', 'text');
    await databases.stack.stopStorage();
    const startMs = performance.now();
    const calls: readonly (() => Promise<unknown>)[] = [
      () => blobs.read('reports', 'there'),
      () => blobs.open('reports', 'there'),
      () => blobs.write('reports', 'there', 'other'),
      () => blobs.create('reports', 'there', 'other'),
      () => blobs.list('reports', '', 10),
      () => blobs.delete('reports', 'there'),
      () => blobs.upload('reports', 'there', Readable.from(['x']), { maxBytes: 1 }),
      () => queues.send(`${databases.prefix}-q`, 'x'),
      () => queues.peek(`${databases.prefix}-q`, 1),
      () => queues.length(`${databases.prefix}-q`),
    ];
    for (const outcome of await Promise.allSettled(calls.map((call) => call()))) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { code: 'storage-unavailable', retryable: true },
      });
    }
    expect(performance.now() - startMs).toBeLessThan(5_000);
    await databases.stack.startStorage();
    expect(await blobs.read('reports', 'there')).toBe('text');
  });
});
