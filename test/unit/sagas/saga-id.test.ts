import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BucketId } from '../../../src/kernel/ids.ts';
import {
  homeBucketOf,
  sagaIdAt,
  sagaIdOfKey,
  sagaIdSchema,
  type SagaId,
} from '../../../src/sagas/saga-id.ts';
import { BUCKET_COUNT, bucketOf } from '../../../src/sharding/hash.ts';

describe('saga ids', () => {
  test('an id of ours carries its home', () => {
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket += 1) {
      const sagaId = sagaIdAt(bucket as BucketId, 'x');
      expect(homeBucketOf(sagaId)).toBe(bucket);
    }
  });

  test.each(['order-7', 's1-400-x', 's1-fff-x', 's1-0c-x', 'S1-0c3-x', 's1-0c3', 'x-s1-0c3-x'])(
    'any other id is at home in its hash: %s',
    (text) => expect(homeBucketOf(text as SagaId)).toBe(bucketOf(text)),
  );

  test('every id that is taken has a home', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^(s1-)?[A-Za-z0-9_.:-]{1,90}$/), (text) => {
        const bucket = homeBucketOf(sagaIdSchema.parse(text));
        expect(bucket).toBeGreaterThanOrEqual(0);
        expect(bucket).toBeLessThan(BUCKET_COUNT);
      }),
    );
  });

  test('the id of a key is always the same, and each namespace has its own', () => {
    const sagaId = sagaIdOfKey('users', 'key-1');
    expect(sagaIdOfKey('users', 'key-1')).toBe(sagaId);
    expect(sagaIdSchema.parse(sagaId)).toBe(sagaId);
    const others = [sagaIdOfKey('users', 'key-2'), sagaIdOfKey('orders', 'key-1')];
    expect(new Set([sagaId, ...others]).size).toBe(3);
    expect(homeBucketOf(sagaId)).toBe(bucketOf(sagaId));
  });

  test.each(['', ' ', 'a b', 'a/b', 'ü', 'x'.repeat(101), 'a?b', 'a#b'])('no saga id: %j', (text) =>
    expect(sagaIdSchema.safeParse(text).success).toBe(false),
  );
});
