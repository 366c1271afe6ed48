import type { QueueClient } from '@azure/storage-queue';
import { errorMessage, errorStack } from '../app/errors.ts';
import type { QueueSettings } from '../app/host-json.ts';
import type { HostLogger, IndexedFunction, Invoker } from '../contracts.ts';
import type { HostStore } from '../host-store.ts';
import { settledWithin } from '../settled-within.ts';
import { PollingBackoff } from './backoff.ts';
import { connectionName, queueName, type QueueConnections } from './connections.ts';
import { HeldMessage, LEASE_SECONDS, type HoldOptions } from './held-message.ts';
import { decodeMessage, queueMetadata, type ReceivedMessage } from './messages.ts';
import { isStatus } from './outputs.ts';

const POISON_SUFFIX = '-poison';

export interface QueueListenerOptions {
  readonly fn: IndexedFunction;
  readonly connections: QueueConnections;
  readonly settings: QueueSettings;
  readonly invoker: Invoker;
  readonly store: HostStore;
  readonly logger: HostLogger;
}

/** Polls the queue of one function and runs the function for each message. */
export class QueueListener {
  readonly connection: string;
  readonly queueName: string;
  readonly #options: QueueListenerOptions;
  readonly #queue: QueueClient;
  readonly #hold: HoldOptions;
  readonly #backoff: PollingBackoff;
  readonly #running = new Set<Promise<void>>();
  #stopping = false;
  #wake: () => void = () => undefined;
  #loop: Promise<void> = Promise.resolve();

  /** Throws `HostStartError` when the connection is not configured. */
  constructor(options: QueueListenerOptions) {
    const { fn, connections, store, logger, settings } = options;
    this.#options = options;
    this.connection = connectionName(fn.trigger);
    this.queueName = queueName(fn.trigger);
    this.#queue = connections.queue(this.connection, this.queueName);
    this.#backoff = new PollingBackoff(settings.maxPollingIntervalMs);
    const poisonQueue = this.queueName.endsWith(POISON_SUFFIX)
      ? undefined
      : connections.queue(this.connection, `${this.queueName}${POISON_SUFFIX}`);
    this.#hold = { queue: this.#queue, poisonQueue, connection: this.connection, store, logger };
  }

  start(): void {
    this.#loop = this.#poll();
  }

  /** Polls at once: somebody on this machine put a message on the queue. */
  wake(): void {
    this.#backoff.reset();
    this.#wake();
  }

  /** Takes no more messages and waits up to `drainMs` for the ones in work. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    this.#wake();
    await this.#loop;
    await settledWithin(Promise.allSettled(this.#running), drainMs);
  }

  async #poll(): Promise<void> {
    while (!this.#stopping) {
      if (this.#running.size > this.#options.settings.newBatchThreshold) {
        await Promise.race(this.#running);
        continue;
      }
      const messages = await this.#receive();
      if (messages.length === 0) {
        await this.#sleep(this.#backoff.next());
        continue;
      }
      this.#backoff.reset();
      this.#claim(messages);
      for (const message of messages) this.#track(this.#process(message));
    }
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => undefined;
  }

  /** An empty list also for a missing queue or an unreachable account: the listener goes on polling. */
  async #receive(): Promise<readonly ReceivedMessage[]> {
    try {
      const answer = await this.#queue.receiveMessages({
        numberOfMessages: this.#options.settings.batchSize,
        visibilityTimeout: LEASE_SECONDS,
      });
      return answer.receivedMessageItems.map((item) => ({ ...item, text: item.messageText }));
    } catch (error) {
      const level = isStatus(error, 404) ? 'debug' : 'warn';
      this.#options.logger.log(level, 'queue_poll_failed', {
        function: this.#options.fn.name,
        queue: this.queueName,
        message: errorMessage(error),
      });
      return [];
    }
  }

  /** Noted before work begins, so that a restarted host gives the messages back at once. */
  #claim(messages: readonly ReceivedMessage[]): void {
    const { connection, queueName: queue } = this;
    this.#options.store.saveClaims(
      messages.map(({ messageId, popReceipt }) => ({ connection, queue, messageId, popReceipt })),
    );
  }

  #track(work: Promise<void>): void {
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }

  async #process(message: ReceivedMessage): Promise<void> {
    const { settings, fn, logger } = this.#options;
    const held = new HeldMessage(this.#hold, message);
    const body = decodeMessage(message.text, settings.messageEncoding);
    if (message.dequeueCount > settings.maxDequeueCount || body === undefined) {
      await held.poison();
      return;
    }
    try {
      await this.#invoke(message, body);
      await held.remove();
    } catch (error) {
      logger.log('error', 'queue_function_failed', {
        function: fn.name,
        messageId: message.messageId,
        dequeueCount: message.dequeueCount,
        message: errorMessage(error),
        stack: errorStack(error instanceof Error ? (error.cause ?? error) : error),
      });
      if (message.dequeueCount >= settings.maxDequeueCount) await held.poison();
      else await held.giveBack(settings.visibilityTimeoutMs);
      if (settings.visibilityTimeoutMs === 0) this.wake();
    }
  }

  async #invoke(message: ReceivedMessage, body: Buffer): Promise<void> {
    const { fn, invoker } = this.#options;
    const text = body.toString('utf8');
    await invoker.invoke({
      fn,
      triggerData: fn.trigger['dataType'] === 'binary' ? { bytes: body } : { string: text },
      triggerMetadata: queueMetadata(message, text),
    });
  }
}

/** Makes the messages visible that a killed host still held; the ones that are gone are forgotten. */
export async function releaseClaims(options: {
  readonly connections: QueueConnections;
  readonly store: HostStore;
  readonly logger: HostLogger;
}): Promise<void> {
  const { connections, store, logger } = options;
  for (const claim of store.claims()) {
    try {
      const queue = connections.queue(claim.connection, claim.queue);
      await queue.updateMessage(claim.messageId, claim.popReceipt, undefined, 0);
    } catch (error) {
      logger.log('debug', 'queue_claim_lapsed', { ...claim, message: errorMessage(error) });
    }
    store.dropClaim(claim.messageId);
  }
}
