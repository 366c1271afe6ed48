import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from '../../../src/kernel/backoff.ts';

test('a wait lies between half and the whole of its step, and never past the cap', () => {
  const policy = { firstMs: 100, factor: 2, maxMs: 5_000 };
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 60 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (attempt, random) => {
        const step = Math.min(5_000, 100 * 2 ** (attempt - 1));
        const wait = backoffMs(policy, attempt, () => random);
        expect(wait).toBeGreaterThanOrEqual(Math.floor(step / 2));
        expect(wait).toBeLessThanOrEqual(step);
      },
    ),
  );
});
