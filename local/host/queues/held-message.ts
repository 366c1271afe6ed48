import type { QueueClient } from '@azure/storage-queue';
import type { HostLogger } from '../contracts.ts';
import type { HostStore } from '../host-store.ts';
import { errorMessage } from '../app/errors.ts';
import type { ReceivedMessage } from './messages.ts';
import { isStatus } from './outputs.ts';

/**
 * How long a received message stays invisible. Azure's host takes 10 minutes; a development host is
 * killed often, and a message must not be lost from sight for that long. It is renewed at half time.
 */
export const LEASE_SECONDS = 60;

/** What holding messages of one queue needs. */
export interface HoldOptions {
  readonly queue: QueueClient;
  /** Where messages go that failed too often; undefined for a queue that is itself a poison queue. */
  readonly poisonQueue: QueueClient | undefined;
  readonly connection: string;
  readonly store: HostStore;
  readonly logger: HostLogger;
}

/**
 * A message this host has taken from a queue: keeps it invisible until it is deleted, given back or
 * moved to the poison queue. Somebody else's delete or a lost lease shows as 404 or a pop receipt
 * mismatch (400); both mean the message is no longer ours, and are ignored.
 */
export class HeldMessage {
  readonly #options: HoldOptions;
  readonly #message: ReceivedMessage;
  #popReceipt: string;
  #renewal: Promise<void> = Promise.resolve();
  readonly #timer: NodeJS.Timeout;

  constructor(options: HoldOptions, message: ReceivedMessage) {
    this.#options = options;
    this.#message = message;
    this.#popReceipt = message.popReceipt;
    this.#timer = setInterval(
      () => {
        this.#renewal = this.#renew();
      },
      (LEASE_SECONDS / 2) * 1000,
    );
  }

  /** The function succeeded: the message is gone for good. */
  async remove(): Promise<void> {
    await this.#end('delete', () =>
      this.#options.queue.deleteMessage(this.#message.messageId, this.#popReceipt),
    );
  }

  /** Makes the message visible again after `delayMs` (whole seconds on the wire, rounded up). */
  async giveBack(delayMs: number): Promise<void> {
    await this.#end('give_back', () =>
      this.#options.queue.updateMessage(
        this.#message.messageId,
        this.#popReceipt,
        undefined,
        Math.ceil(delayMs / 1000),
      ),
    );
  }

  /** Copies the still encoded text to the poison queue, then deletes the message: never lost between. */
  async poison(): Promise<void> {
    const { queue, poisonQueue, logger } = this.#options;
    if (poisonQueue === undefined) {
      // Left invisible: it comes back when its lease ends.
      await this.#end('keep_poison', () => Promise.resolve());
      return;
    }
    await this.#end('poison', async () => {
      try {
        await poisonQueue.sendMessage(this.#message.text);
      } catch (error) {
        if (!isStatus(error, 404)) throw error;
        await poisonQueue.createIfNotExists();
        await poisonQueue.sendMessage(this.#message.text);
      }
      await queue.deleteMessage(this.#message.messageId, this.#popReceipt);
      logger.log('warn', 'queue_message_poisoned', {
        queue: queue.name,
        poisonQueue: poisonQueue.name,
        messageId: this.#message.messageId,
        dequeueCount: this.#message.dequeueCount,
      });
    });
  }

  async #renew(): Promise<void> {
    const { queue, connection, store } = this.#options;
    const { messageId } = this.#message;
    try {
      const answer = await queue.updateMessage(
        messageId,
        this.#popReceipt,
        undefined,
        LEASE_SECONDS,
      );
      if (answer.popReceipt === undefined) return;
      this.#popReceipt = answer.popReceipt;
      store.saveClaims([
        { connection, queue: queue.name, messageId, popReceipt: this.#popReceipt },
      ]);
    } catch (error) {
      this.#report('renew', error);
    }
  }

  async #end(action: string, work: () => Promise<unknown>): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewal;
    try {
      await work();
    } catch (error) {
      this.#report(action, error);
    }
    this.#options.store.dropClaim(this.#message.messageId);
  }

  #report(action: string, error: unknown): void {
    const isGone = isStatus(error, 404) || isStatus(error, 400);
    this.#options.logger.log(isGone ? 'debug' : 'warn', 'queue_message_not_settled', {
      action,
      queue: this.#options.queue.name,
      messageId: this.#message.messageId,
      message: errorMessage(error),
    });
  }
}
