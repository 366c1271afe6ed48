import { Readable } from 'node:stream';
import type { InvocationContext, StorageQueueFunctionOptions } from '@azure/functions';
import {
  durableClientInput,
  orchestrationClient,
  type OrchestrationClient,
} from '../durable/client.ts';
import { PermanentError } from '../kernel/errors.ts';
import { errorFields, type Logger } from '../kernel/logger.ts';
import { ATTRIBUTES, METRICS } from '../kernel/telemetry-names.ts';
import { timestampOf, type Timestamp } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { ndjsonBody } from './batch-body.ts';
import { ORDERS_QUEUE, openCopy } from './defer.ts';
import { derivedIngestionId, startIngestion, takeIn } from './intake.ts';
import {
  asCopy,
  identify,
  parseOrdersMessage,
  type Identity,
  type OrdersMessage,
} from './queue-message.ts';
import { orPutOff, writeMessage } from './queue-orders.ts';
import { createIngestionStore } from './store.ts';

/** The part of `app` of `@azure/functions` that is used. */
export interface QueueApp {
  storageQueue(name: string, options: StorageQueueFunctionOptions): void;
}

/** Registers the trigger of the queue `orders`. */
export function registerOrdersQueue(app: QueueApp, services: Services): void {
  app.storageQueue('orders-queue', {
    queueName: ORDERS_QUEUE,
    connection: 'AzureWebJobsStorage',
    extraInputs: [durableClientInput],
    handler: (message, context) =>
      takeMessage(services, {
        message,
        metadata: context.triggerMetadata ?? {},
        client: () => orchestrationClient(context),
        logger: loggerOf(services, context),
      }),
  });
}

/** A message as the trigger delivers it. */
export interface Delivery {
  /** Parsed JSON; the text itself when it is none. */
  readonly message: unknown;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly client: () => OrchestrationClient;
  readonly logger: Logger;
}

/**
 * Does what one message of the queue `orders` asks for (API.md). Idempotent: a redelivery, and a copy of ours, change
 * nothing. Throws when the message cannot be carried out as it is; the host then tries again and in the end moves it
 * to the poison queue.
 */
export async function takeMessage(services: Services, delivery: Delivery): Promise<void> {
  const { logger } = delivery;
  try {
    const copy = asCopy(delivery.message);
    const now = timestampOf(services.clock.nowMs()) as Timestamp;
    const identity = identify(delivery.metadata, copy, now);
    tellDelivery(services, identity, now);
    const known = logger.with({ messageId: identity.messageId });
    const original = copy === undefined ? delivery.message : await openCopy(services, copy);
    await carryOut(services, { ...delivery, logger: known }, { identity, message: original });
  } catch (error) {
    logger.log('error', 'ingestion.message_failed', errorFields(error));
    throw error;
  }
}

/** Its age, and the trace in which a copy of ours was put off. */
function tellDelivery({ telemetry }: Services, identity: Identity, now: Timestamp): void {
  if (!telemetry.enabled) return;
  const ageMs = Math.max(0, Date.parse(now) - Date.parse(identity.insertedAt));
  telemetry.histogram(METRICS.queueAge).record(ageMs, { [ATTRIBUTES.queue]: ORDERS_QUEUE });
  const { traceparent } = identity.deferral ?? {};
  if (traceparent !== undefined) telemetry.link(traceparent);
}

async function carryOut(
  services: Services,
  delivery: Delivery,
  original: { readonly identity: Identity; readonly message: unknown },
): Promise<void> {
  const { logger } = delivery;
  const request = parseOrdersMessage(original.message);
  if (request.kind === 'single') {
    const direct = { ...original, kind: 'single' as const, orders: [request.order] };
    await writeMessage(services, logger, direct);
  } else if (request.kind === 'orders' && request.batchId === undefined) {
    const direct = { ...original, kind: 'message' as const, orders: request.orders };
    await writeMessage(services, logger, direct);
  } else {
    await orPutOff(services, logger, original, () =>
      ingestMessage(services, delivery.client(), request, original.identity),
    );
  }
}

/** Hands the orders of a message to an ingestion, which can be followed under its batch id. */
async function ingestMessage(
  services: Services,
  client: OrchestrationClient,
  request: Exclude<OrdersMessage, { kind: 'single' }>,
  identity: Identity,
): Promise<void> {
  const ingestionId = request.batchId ?? derivedIngestionId(`message:${identity.messageId}`);
  if (request.batchId === undefined) {
    // This very message was taken in before: nothing to compare, and the blob may have changed since.
    const known = await createIngestionStore(services.blobs).readManifest(ingestionId);
    if (known !== undefined) {
      await startIngestion(client, ingestionId);
      return;
    }
  }
  await takeIn(services, client, {
    ingestionId,
    body: await bodyOf(services, request),
    maxBytes: services.config.BATCH_MAX_BYTES,
    createdAt: identity.insertedAt,
  });
}

async function bodyOf(
  services: Services,
  request: Exclude<OrdersMessage, { kind: 'single' }>,
): Promise<Readable> {
  if (request.kind === 'orders') {
    const lines = request.orders.map((order) => `${JSON.stringify(order)}\n`);
    return Readable.from([Buffer.from(lines.join(''))]);
  }
  const source = await services.blobs.openForeign(request.container, request.name);
  if (source === undefined) {
    throw new PermanentError('not-found', `There is no blob ${request.container}/${request.name}.`);
  }
  // Copied, so that what is ingested cannot change any more.
  return ndjsonBody(source, { maxOrders: services.config.BATCH_MAX_ORDERS });
}

function loggerOf(services: Services, context: InvocationContext): Logger {
  const { id, dequeueCount } = context.triggerMetadata ?? {};
  return services.logger.with({
    functionName: 'orders-queue',
    invocationId: context.invocationId,
    queueMessageId: id,
    dequeueCount,
  });
}
