import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import { canonicalJson, errorOfRecord, stepErrorOf } from '../../../src/sagas/model.ts';

/** The same value with its fields in another order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toReversed();
  return Object.fromEntries(entries.map(([name, part]) => [name, reversed(part)]));
}

describe('canonical JSON', () => {
  test('is the same whatever the order of fields, and loses nothing', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(reversed(value))).toBe(text);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test('keeps the order of arrays', () => {
    expect(canonicalJson([2, 1])).not.toBe(canonicalJson([1, 2]));
  });
});

describe('errors in records', () => {
  test.each(['shard-unavailable', 'storage-unavailable', 'too-many-requests'])(
    '%s may be tried again',
    (code) => {
      const error = errorOfRecord({ code, message: 'Away.' });
      expect(error).toBeInstanceOf(RetryableError);
      expect(error).toMatchObject({ code, message: 'Away.', retryAfterSeconds: 2 });
    },
  );

  test('any other is final, and tells what it told', () => {
    const problems = [{ path: '/email', message: 'is taken' }];
    const error = new PermanentError('email-taken', 'Taken.', { problems, details: { a: 1 } });
    const again = errorOfRecord(stepErrorOf(error));
    expect(again).toBeInstanceOf(PermanentError);
    expect(again).toMatchObject({ code: 'email-taken', message: 'Taken.', problems });
    expect(again.details).toEqual({});
  });
});
