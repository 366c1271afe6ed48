import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareIds, MAX_ID, parseIdText } from '../../../src/kernel/ids.ts';

describe('parseIdText', () => {
  test.each([
    ['1', '1'],
    [1, '1'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
    ['9223372036854775807', '9223372036854775807'],
  ])('accepts %s', (input, expected) => {
    expect(parseIdText(input)).toBe(expected);
  });

  test.each([
    '0',
    '-1',
    '01',
    '+1',
    ' 1',
    '1 ',
    '1.0',
    '1e3',
    '9223372036854775808',
    '99999999999999999999',
    '',
    '１',
    0,
    -1,
    1.5,
    Number.MAX_SAFE_INTEGER + 1,
    Number.NaN,
    null,
    undefined,
    true,
    1n,
    ['1'],
    {},
  ])('refuses %s', (input) => {
    expect(parseIdText(input)).toBeUndefined();
  });

  test('accepts every number of the range and nothing past it', () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 70n), 2n ** 70n), (value) => {
        const expected = value >= 1n && value <= MAX_ID ? value.toString() : undefined;
        expect(parseIdText(value.toString())).toBe(expected);
      }),
    );
  });
});

test('compareIds orders by value', () => {
  fc.assert(
    fc.property(fc.bigInt(1n, MAX_ID), fc.bigInt(1n, MAX_ID), (a, b) => {
      const expected = a < b ? -1 : a > b ? 1 : 0;
      expect(Math.sign(compareIds(a.toString(), b.toString()))).toBe(expected);
    }),
  );
});
