import type { StorageQueueFunctionOptions } from '@azure/functions';
import {
  durableClientInput,
  orchestrationClient,
  type OrchestrationClient,
} from '../durable/client.ts';
import { backoffMs } from '../kernel/backoff.ts';
import { AppError, isRetryable } from '../kernel/errors.ts';
import { errorFields, type Logger } from '../kernel/logger.ts';
import { timestampOf } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { isIdInUse, readSaga } from './journal.ts';
import { isEnded } from './model.ts';
import type { SagaModule } from './modules.ts';
import { parseSagaMessage, type SagaEnvelope, type SagaMessage } from './queue-message.ts';

export const SAGAS_QUEUE = 'sagas';

/** As for orders: back soon after a restart of a server, without pressing it. */
const DEFER = { firstMs: 2_000, factor: 2, maxMs: 60_000 };

/** The part of `app` of `@azure/functions` that is used. */
export interface SagasQueueApp {
  storageQueue(name: string, options: StorageQueueFunctionOptions): void;
}

/** Registers the trigger of the queue `sagas`; `modules` are the kinds it takes. */
export function registerSagasQueue(
  app: SagasQueueApp,
  services: Services,
  modules: readonly SagaModule[],
): void {
  app.storageQueue('sagas-queue', {
    queueName: SAGAS_QUEUE,
    connection: 'AzureWebJobsStorage',
    extraInputs: [durableClientInput],
    handler: (message, context) => {
      const { id, dequeueCount } = context.triggerMetadata ?? {};
      return takeSagaMessage(services, modules, {
        message,
        messageId: id,
        client: () => orchestrationClient(context),
        logger: services.logger.with({
          functionName: 'sagas-queue',
          invocationId: context.invocationId,
          queueMessageId: id,
          dequeueCount,
        }),
      });
    },
  });
}

/** A message as the trigger delivers it. */
export interface SagaDelivery {
  /** Parsed JSON; the text itself when it is none. */
  readonly message: unknown;
  readonly messageId: unknown;
  readonly client: () => OrchestrationClient;
  readonly logger: Logger;
}

/**
 * Has the saga of one message carried out, or begun. Idempotent: a redelivery finds the saga under the same id. A saga
 * that is refused is carried out, too: its answer is in the journal (`GET /api/sagas/{id}`). A shard or the runtime being
 * away puts the message off. Throws for a message that cannot be carried out as it is (no known kind, an input that its
 * kind does not take, an id that was used for another request); the host then tries again and in the end moves it to the
 * poison queue.
 */
export async function takeSagaMessage(
  services: Services,
  modules: readonly SagaModule[],
  delivery: SagaDelivery,
): Promise<void> {
  try {
    const message = parseSagaMessage(delivery.message, delivery.messageId, modules);
    const { kind, deferred } = message.envelope;
    if (deferred?.traceparent !== undefined) services.telemetry.link(deferred.traceparent);
    const logger = delivery.logger.with({ sagaId: message.sagaId, kind });
    await carryOut(services, { ...delivery, logger }, message);
  } catch (error) {
    delivery.logger.log('error', 'sagas.message_failed', errorFields(error));
    throw error;
  }
}

async function carryOut(
  services: Services,
  { client, logger }: SagaDelivery,
  saga: SagaMessage,
): Promise<void> {
  const { module, sagaId, message, envelope } = saga;
  try {
    await module.submit(services, client(), { sagaId, message });
    logger.log('debug', 'sagas.message_taken');
  } catch (error) {
    const reason = isIdInUse(error) ? error : await whyUnanswered(services, saga, error);
    if (reason === undefined) {
      logger.log('info', 'sagas.message_refused', { errorCode: codeOf(error) });
    } else if (isRetryable(reason)) {
      await putOff(services, saga, reason);
      logger.log('warn', 'sagas.message_deferred', { errorCode: codeOf(reason) });
    } else if (envelope.sagaId === undefined) {
      // The host moves the text alone, and a message sent back from the poison queue has a new id.
      await send(services, { ...envelope, sagaId }, 0);
      logger.log('warn', 'sagas.message_relabelled', errorFields(reason));
    } else {
      throw reason;
    }
  }
}

/** Undefined when the journal has the saga's answer; otherwise the error to act on. */
async function whyUnanswered(
  services: Services,
  { sagaId }: SagaMessage,
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof AppError)) return error;
  try {
    const record = await readSaga(services, sagaId);
    return record !== undefined && isEnded(record) ? undefined : error;
  } catch (unread) {
    return isRetryable(unread) ? unread : error;
  }
}

/**
 * Puts a copy on the queue, invisible for a while, so that the delivery at hand may complete and a shard that is away
 * does not use up the message's tries. The copy carries the saga's id, so that two of them are one. Throws `reason` when
 * the message has been put off for as long as messages are.
 */
async function putOff(services: Services, saga: SagaMessage, reason: unknown): Promise<void> {
  const { clock, config, random } = services;
  const { envelope, sagaId } = saga;
  const nowMs = clock.nowMs();
  const firstSeenAt = envelope.deferred?.firstSeenAt ?? String(timestampOf(nowMs));
  if (nowMs - Date.parse(firstSeenAt) >= config.INGEST_DEFER_MAX_MS) throw reason;
  const attempt = (envelope.deferred?.attempt ?? 0) + 1;
  const waitMs = backoffMs(DEFER, attempt, random);
  const traceparent = services.telemetry.traceparent();
  const traced = traceparent === undefined ? {} : { traceparent };
  const copy = { ...envelope, sagaId, deferred: { firstSeenAt, attempt, ...traced } };
  await send(services, copy, Math.ceil(waitMs / 1_000));
}

function send(services: Services, copy: SagaEnvelope, visibleInSeconds: number): Promise<void> {
  return services.queues.send(SAGAS_QUEUE, JSON.stringify(copy), { visibleInSeconds });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof AppError ? error.code : undefined;
}
