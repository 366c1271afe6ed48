import { parseOrderId, type OrderId, type UserId } from '../kernel/ids.ts';
import { timestampOf, type Timestamp } from '../kernel/time.ts';

/** Where a page ended: the next one begins after this order. */
export interface Position {
  readonly createdAt: Timestamp;
  readonly orderId: OrderId;
}

/** Longest cursor there is: version, three numbers of at most 19 digits, base64url. */
const MAX_CURSOR_LENGTH = 100;

/** An opaque text for a position in one user's orders. */
export function encodeCursor(userId: UserId, position: Position): string {
  const parts = ['1', userId, Date.parse(position.createdAt), position.orderId];
  return Buffer.from(parts.join('.')).toString('base64url');
}

/** The position, or `undefined` when the text is not a cursor that {@link encodeCursor} made for this user. */
export function decodeCursor(userId: UserId, cursor: string): Position | undefined {
  if (cursor.length > MAX_CURSOR_LENGTH) return undefined;
  const text = Buffer.from(cursor, 'base64url').toString('latin1');
  const [version, owner, time = '', id, ...rest] = text.split('.');
  const createdAt = /^\d{1,15}$/.test(time) ? timestampOf(Number(time)) : undefined;
  const orderId = parseOrderId(id);
  if (createdAt === undefined || orderId === undefined) return undefined;
  if (version !== '1' || owner !== userId || rest.length > 0) return undefined;
  const position = { createdAt, orderId };
  // Decoding is lenient (padding, stray characters); only the one canonical text counts.
  return encodeCursor(userId, position) === cursor ? position : undefined;
}
