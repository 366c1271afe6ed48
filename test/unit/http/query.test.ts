import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseQuery } from '../../../src/http/query.ts';
import '../../support/seed.ts';

const ORIGIN = 'http://localhost:7071/api/users';

describe('parseQuery', () => {
  test.each([
    ['', {}],
    ['?', {}],
    ['?a=1&b=', { a: '1', b: '' }],
    ['?a', { a: '' }],
    ['?a=1=2', { a: '1=2' }],
    ['?a=x+y%2Bz', { a: 'x y+z' }],
    ['?email=%F0%9F%98%80%40example.com#fragment', { email: '😀@example.com' }],
    ['?code=key&clientId=app&a=1', { a: '1' }],
    ['?__proto__=1', Object.fromEntries([['__proto__', '1']])],
  ])('%s', (query, expected) => {
    expect(parseQuery(`${ORIGIN}${query}`)).toEqual(expected);
  });

  test.each(['?a=1&a=1', '?a=%', '?a=%e0%80', '?%=1', '?a=%ud800'])('refuses %s', (query) => {
    expect(() => parseQuery(`${ORIGIN}${query}`)).toThrow('not valid');
  });

  test('refuses more parameters than any route takes', () => {
    const query = Array.from({ length: 51 }, (_, index) => `p${index}=1`).join('&');
    expect(() => parseQuery(`${ORIGIN}?${query}`)).toThrow('not valid');
  });

  test('reads back whatever was encoded', () => {
    const value = fc.string({ unit: 'grapheme' });
    fc.assert(
      fc.property(fc.dictionary(value, value, { maxKeys: 20 }), (values) => {
        const { code: _, clientId: __, clientid: ___, ...own } = values;
        const query = Object.entries(own).map(
          ([name, text]) => `${encodeURIComponent(name)}=${encodeURIComponent(text)}`,
        );
        expect({ ...parseQuery(`${ORIGIN}?${query.join('&')}`) }).toEqual({ ...own });
      }),
    );
  });
});
