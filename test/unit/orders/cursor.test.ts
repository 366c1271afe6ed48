import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  MAX_ID,
  parseOrderId,
  parseUserId,
  type OrderId,
  type UserId,
} from '../../../src/kernel/ids.ts';
import { timestampOf, type Timestamp } from '../../../src/kernel/time.ts';
import { decodeCursor, encodeCursor } from '../../../src/orders/cursor.ts';
import '../../support/seed.ts';

const id = fc.bigInt({ min: 1n, max: MAX_ID }).map(String);
const position = fc.record({
  orderId: id.map((text) => parseOrderId(text) as OrderId),
  createdAt: fc
    .integer({ min: 0, max: Date.UTC(9999, 11, 31, 23, 59, 59, 999) })
    .map((ms) => timestampOf(ms) as Timestamp),
});
const userId = id.map((text) => parseUserId(text) as UserId);

describe('cursors', () => {
  test('lead back to where they came from, and are safe in a URL', () => {
    fc.assert(
      fc.property(userId, position, (user, place) => {
        const cursor = encodeCursor(user, place);
        expect(decodeCursor(user, cursor)).toEqual(place);
        expect(encodeURIComponent(cursor)).toBe(cursor);
      }),
    );
  });

  test('of another user are refused', () => {
    fc.assert(
      fc.property(userId, userId, position, (one, two, place) => {
        fc.pre(one !== two);
        expect(decodeCursor(two, encodeCursor(one, place))).toBeUndefined();
      }),
    );
  });

  test('any other text is refused', () => {
    const user = '1001' as UserId;
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(decodeCursor(user, text)).toBeUndefined();
        expect(decodeCursor(user, Buffer.from(text).toString('base64url'))).toBeUndefined();
      }),
    );
  });

  test('a changed cursor is refused or means another place, never the same', () => {
    const user = '1001' as UserId;
    fc.assert(
      fc.property(
        position,
        fc.nat(),
        fc.constantFrom('A', 'a', '0', '_', '-', '=', '+', '/', ' '),
        (place, at, char) => {
          const cursor = encodeCursor(user, place);
          const changed =
            cursor.slice(0, at % cursor.length) + char + cursor.slice((at % cursor.length) + 1);
          fc.pre(changed !== cursor);
          expect(decodeCursor(user, changed)).not.toEqual(place);
        },
      ),
    );
  });

  test.each(['1.1001.0.1.9', '2.1001.0.1', '1.1001.-1.1', '1.1001.0.0', '1.1001.1e3.1', ''])(
    '%s is refused',
    (text) => {
      const cursor = Buffer.from(text).toString('base64url');
      expect(decodeCursor('1001' as UserId, cursor)).toBeUndefined();
    },
  );
});
