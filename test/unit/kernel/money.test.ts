import { expect, test } from 'vitest';
import { parseAmountCents } from '../../../src/kernel/money.ts';

test.each([1, 4999, 2_147_483_647])('%d cents are an amount', (value) => {
  expect(parseAmountCents(value)).toBe(value);
});

test.each([0, -1, 0.5, 2_147_483_648, Number.NaN, Number.POSITIVE_INFINITY, '100', null, 5n])(
  '%s is not',
  (value) => {
    expect(parseAmountCents(value)).toBeUndefined();
  },
);
