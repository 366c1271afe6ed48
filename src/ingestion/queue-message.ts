import { z } from 'zod';
import { PermanentError } from '../kernel/errors.ts';
import { fieldProblems } from '../kernel/schemas.ts';
import { parseTimestamp, type Timestamp } from '../kernel/time.ts';
import { INGESTION_ID } from './model.ts';

/** Orders per message (API.md); as many as derived ids have ordinals for. */
export const MAX_MESSAGE_ORDERS = 500;

const batchId = z.string().regex(INGESTION_ID, '1 to 100 letters, digits, - and _ are expected');

const ordersMessage = z.strictObject({
  orders: z.array(z.unknown()).min(1).max(MAX_MESSAGE_ORDERS),
  batchId: batchId.optional(),
});

const blobMessage = z.strictObject({
  blob: z.string().regex(/^[^/]+\/.+$/, '"container/name" is expected'),
  batchId: batchId.optional(),
});

/**
 * A message that was put on the queue again by us, with what it was when it came first: its orders' ids and times
 * derive from that, so that a copy inserts nothing twice.
 */
const deferredSchema = z.strictObject({
  messageId: z.string(),
  insertedAt: z.string(),
  /** When it was first put off; null for a copy made only to keep the identity. */
  firstSeenAt: z.string().nullable(),
  attempt: z.int().min(0),
  /** W3C: where it was put off, for a link between the traces. */
  traceparent: z.string().optional(),
});
export type Deferral = z.infer<typeof deferredSchema>;

const copySchema = z.union([
  z.strictObject({ deferred: deferredSchema, message: z.unknown() }),
  /** Too large for a message with its envelope: the original lies in this blob. */
  z.strictObject({ deferred: deferredSchema, spilled: z.string() }),
]);
export type Copy = z.infer<typeof copySchema>;

/** What a message asks for. */
export type OrdersMessage =
  | { readonly kind: 'single'; readonly order: unknown }
  | {
      readonly kind: 'orders';
      readonly orders: readonly unknown[];
      readonly batchId: string | undefined;
    }
  | {
      readonly kind: 'blob';
      readonly container: string;
      readonly name: string;
      readonly batchId: string | undefined;
    };

/** Which message this is, whatever copy of it was delivered. */
export interface Identity {
  readonly messageId: string;
  /** When the message came first: the time of orders that name none. */
  readonly insertedAt: Timestamp;
  readonly deferral: Deferral | undefined;
}

/** The original in a copy made by us; undefined when the message is no copy. */
export function asCopy(value: unknown): Copy | undefined {
  return isObjectWith(value, 'deferred') ? parseOrThrow(copySchema, value) : undefined;
}

/** What the message asks for; its orders are not looked at yet. Throws `validation-failed`. */
export function parseOrdersMessage(value: unknown): OrdersMessage {
  if (isObjectWith(value, 'orders')) {
    const message = parseOrThrow(ordersMessage, value);
    return { kind: 'orders', orders: message.orders, batchId: message.batchId };
  }
  if (isObjectWith(value, 'blob')) {
    const message = parseOrThrow(blobMessage, value);
    const slash = message.blob.indexOf('/');
    return {
      kind: 'blob',
      container: message.blob.slice(0, slash),
      name: message.blob.slice(slash + 1),
      batchId: message.batchId,
    };
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return { kind: 'single', order: value };
  }
  throw PermanentError.validation('The message is not a JSON object.', []);
}

/** Identity of a delivered message, from the trigger's metadata or from the copy's envelope. */
export function identify(
  metadata: Readonly<Record<string, unknown>>,
  copy: Copy | undefined,
  fallback: Timestamp,
): Identity {
  if (copy !== undefined) {
    const { messageId, insertedAt } = copy.deferred;
    return {
      messageId,
      insertedAt: parseTimestamp(insertedAt) ?? fallback,
      deferral: copy.deferred,
    };
  }
  const messageId = metadata['id'];
  if (typeof messageId !== 'string' || messageId === '') {
    throw new PermanentError('internal', 'The message came without an id.');
  }
  const inserted = metadata['insertionTime'];
  const text = inserted instanceof Date ? inserted.toISOString() : inserted;
  return { messageId, insertedAt: parseTimestamp(text) ?? fallback, deferral: undefined };
}

function isObjectWith(value: unknown, field: string): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, field);
}

function parseOrThrow<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw PermanentError.validation('The message is not valid.', fieldProblems(parsed.error));
}
