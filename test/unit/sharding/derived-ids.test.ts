import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_ID, parseOrderId } from '../../../src/kernel/ids.ts';
import { createOrderIdDeriver } from '../../../src/sharding/derived-ids.ts';
import type { DeliveryKind } from '../../../src/sharding/derived-ids.ts';

const LIMITS: Readonly<Record<DeliveryKind, number>> = {
  single: 1,
  message: 512,
  batch: 1_048_576,
};
const anyKind = fc.constantFrom<DeliveryKind>('single', 'message', 'batch');
const anyDelivery = anyKind.chain((kind) =>
  fc.record({
    kind: fc.constant(kind),
    source: fc.string(),
    ordinal: fc.integer({ min: 0, max: LIMITS[kind] - 1 }),
  }),
);

describe('createOrderIdDeriver', () => {
  it('names the same order the same way each time', () => {
    fc.assert(
      fc.property(anyDelivery, ({ kind, source, ordinal }) => {
        const id = createOrderIdDeriver({ kind, source })(ordinal);
        expect(createOrderIdDeriver({ kind, source })(ordinal)).toBe(id);
      }),
    );
  });

  it('makes ids that are valid and no snowflakes', () => {
    fc.assert(
      fc.property(anyDelivery, ({ kind, source, ordinal }) => {
        const id = createOrderIdDeriver({ kind, source })(ordinal);
        expect(parseOrderId(id)).toBe(id);
        expect(BigInt(id) >= 1n << 62n && BigInt(id) <= MAX_ID).toBe(true);
      }),
    );
  });

  it('gives the orders of one delivery ids of their own', () => {
    for (const kind of ['message', 'batch'] as const) {
      const derive = createOrderIdDeriver({ kind, source: 'm-1' });
      const ids = Array.from({ length: 512 }, (_, ordinal) => derive(ordinal));
      expect(new Set(ids).size).toBe(512);
    }
  });

  it('tells deliveries and kinds apart', () => {
    const sources = Array.from({ length: 2_000 }, (_, index) => `m-${index}`);
    const ids = sources.flatMap((source) =>
      (['single', 'message', 'batch'] as const).map((kind) =>
        createOrderIdDeriver({ kind, source })(0),
      ),
    );
    expect(new Set(ids).size).toBe(6_000);
  });

  it('refuses an ordinal outside the kind', () => {
    for (const [kind, limit] of Object.entries(LIMITS)) {
      const derive = createOrderIdDeriver({ kind: kind as DeliveryKind, source: 's' });
      for (const ordinal of [-1, limit, 0.5, Number.NaN]) {
        expect(() => derive(ordinal)).toThrow(RangeError);
      }
      expect(derive(limit - 1)).toMatch(/^\d+$/);
    }
  });

  it('keeps its golden values: a redelivery after an upgrade must find its orders', () => {
    expect([
      createOrderIdDeriver({ kind: 'single', source: 'message-1' })(0),
      createOrderIdDeriver({ kind: 'message', source: 'message-1' })(511),
      createOrderIdDeriver({ kind: 'batch', source: 'batch-1' })(1_048_575),
    ]).toMatchInlineSnapshot(`
      [
        "6854586927919841575",
        "8731261618314197503",
        "7851678839804526591",
      ]
    `);
  });
});
