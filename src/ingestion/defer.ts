import { backoffMs } from '../kernel/backoff.ts';
import { PermanentError, type AppError } from '../kernel/errors.ts';
import { timestampOf } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import type { Copy, Deferral, Identity } from './queue-message.ts';
import { CONTAINER } from './store.ts';

export const ORDERS_QUEUE = 'orders';

/** From 2 s to a minute: short enough to come back soon after a restart of a server, long enough not to press it. */
const DEFER = { firstMs: 2_000, factor: 2, maxMs: 60_000 };

/** The queue's limit for a message's text (`QueueStore.send`). */
const MAX_TEXT_BYTES = 48 * 1024;

type DeferServices = Pick<
  Services,
  'blobs' | 'clock' | 'config' | 'probe' | 'queues' | 'random' | 'telemetry'
>;

/**
 * Puts a message off: a copy goes on the queue, invisible for a while, and the delivery at hand may then complete, so
 * that a shard that is away does not use up the message's tries. Throws `reason` when it has been put off for too long.
 *
 * A crash between the copy and the completion leaves two copies. Both carry the original's identity, from which ids
 * and times derive, so the second finds the first's orders as duplicates.
 */
export async function putOff(
  services: DeferServices,
  identity: Identity,
  message: unknown,
  reason: AppError,
): Promise<void> {
  const nowMs = services.clock.nowMs();
  const before = identity.deferral;
  const firstSeenAt = before?.firstSeenAt ?? (timestampOf(nowMs) as string);
  if (nowMs - Date.parse(firstSeenAt) >= services.config.INGEST_DEFER_MAX_MS) throw reason;
  const attempt = (before?.attempt ?? 0) + 1;
  const waitMs = backoffMs(DEFER, attempt, services.random);
  await services.probe.reach('ingestion.beforeDefer');
  await sendCopy(services, message, {
    deferral: { ...origin(identity), firstSeenAt, attempt },
    visibleInSeconds: Math.ceil(waitMs / 1_000),
  });
  await services.probe.reach('ingestion.afterDefer');
}

/**
 * Replaces a message that is bound for the poison queue by a copy that carries its identity. The host moves a text
 * only, and a message sent back from there has a new id: without this, orders of it that were written and have derived
 * ids would be inserted again under new ones.
 */
export async function keepIdentity(
  services: DeferServices,
  identity: Identity,
  message: unknown,
): Promise<void> {
  await sendCopy(services, message, {
    deferral: { ...origin(identity), firstSeenAt: null, attempt: 0 },
    visibleInSeconds: 0,
  });
}

/** The message in a copy. Throws `not-found` when it was too large for the copy and its blob is gone. */
export async function openCopy(services: Pick<Services, 'blobs'>, copy: Copy): Promise<unknown> {
  if ('message' in copy) return copy.message;
  const text = await services.blobs.read(CONTAINER, copy.spilled);
  if (text === undefined) {
    throw new PermanentError(
      'not-found',
      'The message was stored apart and is not there any more.',
    );
  }
  return JSON.parse(text) as unknown;
}

function origin(identity: Identity): Pick<Deferral, 'messageId' | 'insertedAt'> {
  return { messageId: identity.messageId, insertedAt: identity.insertedAt };
}

async function sendCopy(
  services: DeferServices,
  message: unknown,
  options: { readonly deferral: Deferral; readonly visibleInSeconds: number },
): Promise<void> {
  const { deferral, visibleInSeconds } = options;
  const traceparent = services.telemetry.traceparent();
  const deferred = traceparent === undefined ? deferral : { ...deferral, traceparent };
  const whole = JSON.stringify({ deferred, message });
  let text = whole;
  if (Buffer.byteLength(whole) > MAX_TEXT_BYTES) {
    // Not an ingestion's folder: those have no dot.
    const spilled = `.messages/${encodeURIComponent(deferral.messageId)}.json`;
    await services.blobs.write(CONTAINER, spilled, JSON.stringify(message));
    text = JSON.stringify({ deferred, spilled });
  }
  await services.queues.send(ORDERS_QUEUE, text, { visibleInSeconds });
}
