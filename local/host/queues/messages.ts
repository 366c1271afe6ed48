import type { TypedData } from '../contracts.ts';
import { isRecord } from '../app/errors.ts';

export type MessageEncoding = 'base64' | 'none';

/** A message as Azure Storage delivers it; `text` is still encoded. */
export interface ReceivedMessage {
  readonly messageId: string;
  readonly popReceipt: string;
  readonly text: string;
  readonly dequeueCount: number;
  readonly insertedOn: Date;
  readonly expiresOn: Date;
  readonly nextVisibleOn: Date;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The bytes of a message, or undefined when the text is not the base64 that was promised. */
export function decodeMessage(text: string, encoding: MessageEncoding): Buffer | undefined {
  if (encoding === 'none') return Buffer.from(text);
  return BASE64.test(text) ? Buffer.from(text, 'base64') : undefined;
}

/** The text to put on the queue. */
export function encodeMessage(body: Buffer, encoding: MessageEncoding): string {
  return encoding === 'base64' ? body.toString('base64') : body.toString('utf8');
}

/** .NET writes times of a queue message with seconds and a numeric offset. */
function formatTime(time: Date): TypedData {
  return { json: JSON.stringify(time.toISOString().replace(/\.\d{3}Z$/, '+00:00')) };
}

function toTypedData(value: unknown): TypedData {
  if (typeof value === 'string') return { string: value };
  return value === null || value === undefined ? {} : { json: JSON.stringify(value) };
}

/**
 * The metadata of a queue trigger: the message's own fields, and each top-level property of a JSON
 * object, which binding expressions such as `{customerId}` refer to.
 */
export function queueMetadata(message: ReceivedMessage, text: string): Record<string, TypedData> {
  const own: Record<string, TypedData> = {
    QueueTrigger: { string: text },
    Id: { string: message.messageId },
    PopReceipt: { string: message.popReceipt },
    DequeueCount: { json: String(message.dequeueCount) },
    InsertionTime: formatTime(message.insertedOn),
    ExpirationTime: formatTime(message.expiresOn),
    NextVisibleTime: formatTime(message.nextVisibleOn),
  };
  const taken = new Set(Object.keys(own).map((name) => name.toLowerCase()));
  for (const [name, value] of Object.entries(parseObject(text))) {
    if (!taken.has(name.toLowerCase())) own[name] = toTypedData(value);
  }
  return own;
}

function parseObject(text: string): Record<string, unknown> {
  if (!text.trimStart().startsWith('{')) return {};
  try {
    const parsed: unknown = JSON.parse(text);
    return isRecord(parsed) ? parsed : {};
  } catch {
    return {};
  }
}
