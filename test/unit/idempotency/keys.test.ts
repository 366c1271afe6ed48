import { describe, expect, test } from 'vitest';
import {
  bucketOfKey,
  idempotencyHeaders,
  keyHash,
  requestHash,
} from '../../../src/idempotency/keys.ts';

describe('idempotency keys', () => {
  test.each(['a', '5f1c0c1e-7d0b-4c55-9a3e-3f0c2f0f9b11', '"quoted"', '!'.repeat(255)])(
    '%s is taken as it is',
    (key) => {
      expect(idempotencyHeaders.parse({ 'idempotency-key': key })).toEqual({
        'idempotency-key': key,
      });
    },
  );

  test.each(['', ' ', 'a b', 'a\tb', 'ä', 'a\u0000', 'x'.repeat(256)])('%j is refused', (key) => {
    expect(idempotencyHeaders.safeParse({ 'idempotency-key': key }).success).toBe(false);
  });

  test('none is fine', () => {
    expect(idempotencyHeaders.parse({})).toEqual({});
  });

  test('namespaces and keys cannot be shifted into each other', () => {
    expect(keyHash('1', '1x')).not.toBe(keyHash('11', 'x'));
    expect(keyHash('users', 'k')).toMatch(/^[0-9a-f]{64}$/);
    expect(bucketOfKey(keyHash('users', 'k'))).toBe(bucketOfKey(keyHash('users', 'k')));
  });

  test('requests differ by every part, also by what is absent and by type', () => {
    const contents = [['a', null], [null, 'a'], ['a'], ['a', 1], ['a', '1'], ['a","1']] as const;
    const hashes = contents.map((content) => requestHash(content));
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
