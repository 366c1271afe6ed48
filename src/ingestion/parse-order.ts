import { parseOrderId, parseUserId } from '../kernel/ids.ts';
import { parseAmountCents } from '../kernel/money.ts';
import { parseTimestamp } from '../kernel/time.ts';
import { describeProblems, parseNewOrder, type NewOrder } from '../orders/model.ts';

export type ParsedLine =
  | { readonly kind: 'order'; readonly order: NewOrder }
  | { readonly kind: 'reject'; readonly message: string };

/** Longest message kept per reject. */
const MAX_MESSAGE = 300;

/** One line of a batch as an order, or why it is none. Never throws. */
export function parseOrderLine(text: string | undefined): ParsedLine {
  if (text === undefined) return reject('the line is too long for an order');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return reject('the line is not valid JSON');
  }
  const order = wellFormed(value);
  if (order !== undefined) return { kind: 'order', order };
  const parsed = parseNewOrder(value);
  return parsed.kind === 'valid'
    ? { kind: 'order', order: parsed.order }
    : reject(describeProblems(parsed.problems));
}

/**
 * What the schema accepts, by the same parsers, without its cost: batches are mostly well-formed. Undefined means
 * "ask the schema", which says what is wrong.
 */
function wellFormed(value: unknown): NewOrder | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  for (const key in fields) {
    if (key !== 'userId' && key !== 'amountCents' && key !== 'orderId' && key !== 'createdAt') {
      return undefined;
    }
  }
  const userId = parseUserId(fields['userId']);
  const amountCents = parseAmountCents(fields['amountCents']);
  if (userId === undefined || amountCents === undefined) return undefined;
  const orderId = parseOrderId(fields['orderId']);
  const createdAt = parseTimestamp(fields['createdAt']);
  if (orderId === undefined && fields['orderId'] !== undefined) return undefined;
  if (createdAt === undefined && fields['createdAt'] !== undefined) return undefined;
  return {
    userId,
    amountCents,
    ...(orderId !== undefined && { orderId }),
    ...(createdAt !== undefined && { createdAt }),
  };
}

function reject(message: string): ParsedLine {
  return {
    kind: 'reject',
    message: message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message,
  };
}
