import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseOrderLine } from '../../../src/ingestion/parse-order.ts';
import { parseNewOrder } from '../../../src/orders/model.ts';

const value = fc.oneof(
  fc.constantFrom<unknown>('1', '0', '01', '9223372036854775807', '9223372036854775808', '', null),
  fc.constantFrom<unknown>(
    '2026-01-31T09:30:00Z',
    '2026-02-31T09:30:00Z',
    '2026-01-31T09:30:00.5+01:00',
  ),
  fc.integer(),
  fc.double(),
  fc.jsonValue(),
);
const order = fc.record(
  { userId: value, amountCents: value, orderId: value, createdAt: value, extra: value },
  { requiredKeys: [] },
);

describe('one line of a batch', () => {
  it('means the same by the fast way as by the schema', () => {
    const good = fc.record(
      {
        userId: fc.constantFrom<unknown>('1', 77, '9223372036854775807'),
        amountCents: fc.integer({ min: 1, max: 2_147_483_647 }),
        orderId: fc.constantFrom<unknown>('5', 6),
        createdAt: fc.constantFrom('2026-01-31T09:30:00Z', '2026-01-31t09:30:00.123456+02:00'),
      },
      { requiredKeys: ['userId', 'amountCents'] },
    );
    fc.assert(
      fc.property(fc.oneof(good, order, fc.jsonValue()), (candidate) => {
        const text = JSON.stringify(candidate);
        const expected = parseNewOrder(JSON.parse(text));
        const parsed = parseOrderLine(text);
        expect(parsed.kind === 'order' ? parsed.order : 'reject').toEqual(
          expected.kind === 'valid' ? expected.order : 'reject',
        );
      }),
      { numRuns: 800 },
    );
  });

  it.each([undefined, '{', 'x', '{"userId":"1"'])('rejects %j with a reason', (text) => {
    const parsed = parseOrderLine(text);
    expect(parsed).toMatchObject({
      kind: 'reject',
      message: expect.stringMatching(/^the line is/),
    });
  });

  it('names the field that is wrong', () => {
    expect(parseOrderLine('{"userId":"0","amountCents":5}')).toMatchObject({
      kind: 'reject',
      message: expect.stringContaining('/userId'),
    });
  });
});
