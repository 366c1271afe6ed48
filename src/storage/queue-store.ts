import type { QueueClient } from '@azure/storage-queue';
import { BugError, PermanentError } from '../kernel/errors.ts';
import type { StorageClients } from './clients.ts';
import type { QueueMessage, QueueStore } from './contracts.ts';
import { failedWith } from './storage-errors.ts';

/** The service takes 64 KiB of message text; base64 makes four bytes of three. */
const MAX_TEXT_BYTES = 48 * 1024;
/** Messages per read: the service's limit. */
const MAX_BATCH = 32;
/** How long messages being moved are invisible to others; a move of 32 takes milliseconds. */
const MOVE_VISIBILITY_SECONDS = 60;
/** Messages never expire by themselves (the service's default is 7 days): an order is not dropped for waiting. */
const NEVER = -1;

/** A {@link QueueStore} on the account's queue service. `send` is at least once: a broken connection may leave a message twice. */
export function createQueueStore(clients: StorageClients): QueueStore {
  const queue = async (name: string): Promise<QueueClient> =>
    (await clients.queues()).getQueueClient(name);
  return {
    send: async (name, text, options = {}) => {
      if (Buffer.byteLength(text) > MAX_TEXT_BYTES) throw tooLarge();
      const encoded = Buffer.from(text).toString('base64');
      await sendEncoded(clients, await queue(name), encoded, options.visibleInSeconds ?? 0);
    },
    peek: async (name, count) => {
      const client = await queue(name);
      const numberOfMessages = Math.min(MAX_BATCH, Math.max(1, count));
      const found = await orWhenMissing(
        clients.call(
          'queue.peek',
          (abortSignal) => client.peekMessages({ numberOfMessages, abortSignal }),
          ['QueueNotFound'],
        ),
        undefined,
      );
      return (found?.peekedMessageItems ?? []).map((item): QueueMessage => ({
        id: item.messageId,
        text: decode(item.messageText),
        insertedAt: item.insertedOn.toISOString(),
        dequeueCount: item.dequeueCount,
      }));
    },
    length: async (name) => {
      const client = await queue(name);
      const properties = await orWhenMissing(
        clients.call('queue.length', (abortSignal) => client.getProperties({ abortSignal }), [
          'QueueNotFound',
        ]),
        undefined,
      );
      return properties?.approximateMessagesCount ?? 0;
    },
    move: async (from, to, max) => {
      if (from === to) throw new BugError('a queue cannot be moved into itself');
      return moveMessages(clients, await queue(from), await queue(to), max);
    },
  };
}

async function moveMessages(
  clients: StorageClients,
  from: QueueClient,
  to: QueueClient,
  max: number,
): Promise<number> {
  let moved = 0;
  while (moved < max) {
    const numberOfMessages = Math.min(MAX_BATCH, max - moved);
    const batch = await orWhenMissing(
      clients.call(
        'queue.receive',
        (abortSignal) =>
          from.receiveMessages({
            numberOfMessages,
            visibilityTimeout: MOVE_VISIBILITY_SECONDS,
            abortSignal,
          }),
        ['QueueNotFound'],
      ),
      undefined,
    );
    const messages = batch?.receivedMessageItems ?? [];
    if (messages.length === 0) break;
    for (const message of messages) {
      await sendEncoded(clients, to, message.messageText, 0);
      await deleteMessage(clients, from, message);
      moved += 1;
    }
  }
  return moved;
}

async function deleteMessage(
  clients: StorageClients,
  queue: QueueClient,
  message: { readonly messageId: string; readonly popReceipt: string },
): Promise<void> {
  const gone = ['MessageNotFound', 'PopReceiptMismatch'];
  try {
    await clients.call(
      'queue.delete',
      (abortSignal) => queue.deleteMessage(message.messageId, message.popReceipt, { abortSignal }),
      gone,
    );
  } catch (error) {
    // A retry after a lost answer, or another mover took over after the visibility time: it is doubled, not lost.
    if (!failedWith(error, ...gone)) throw error;
  }
}

async function sendEncoded(
  clients: StorageClients,
  queue: QueueClient,
  encoded: string,
  visibilityTimeout: number,
): Promise<void> {
  const send = (answers?: readonly string[]) =>
    clients.call(
      'queue.send',
      (abortSignal) =>
        queue.sendMessage(encoded, { visibilityTimeout, messageTimeToLive: NEVER, abortSignal }),
      answers,
    );
  try {
    await send(['QueueNotFound']);
  } catch (error) {
    if (!failedWith(error, 'QueueNotFound')) throw error;
    await clients.call('queue.create', (abortSignal) => queue.createIfNotExists({ abortSignal }));
    await send();
  }
}

async function orWhenMissing<T, F>(call: Promise<T>, fallback: F): Promise<T | F> {
  try {
    return await call;
  } catch (error) {
    if (failedWith(error, 'QueueNotFound')) return fallback;
    throw error;
  }
}

/** Base64 as the Functions host writes it; text that is not base64 (sent by hand) is shown as it is. */
function decode(text: string): string {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes.toString('utf8') : text;
}

function tooLarge(): PermanentError {
  return new PermanentError(
    'payload-too-large',
    `A queue message holds at most ${MAX_TEXT_BYTES} bytes of text; put more into a blob and send its name.`,
  );
}
