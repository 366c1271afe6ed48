import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BucketId } from '../../../src/kernel/ids.ts';
import { initialBucketMap } from '../../../src/sharding/bucket-map.ts';
import { BUCKET_COUNT, bucketOf } from '../../../src/sharding/hash.ts';
import { routeBucket, routeKey } from '../../../src/sharding/router.ts';

const anyBucket = fc.integer({ min: 0, max: BUCKET_COUNT - 1 });
const anyKey = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String);

describe('the router', () => {
  const map = initialBucketMap({
    clusterId: 'c',
    shardNames: ['a', 'b', 'c'],
    updatedAt: '2026-01-01T00:00:00.000Z',
  });

  it('sends a key where its bucket is', () => {
    fc.assert(
      fc.property(anyKey, (key) => {
        expect(routeKey(map, key)).toEqual(routeBucket(map, bucketOf(key)));
      }),
    );
  });

  it('follows a move of one bucket and leaves all others alone', () => {
    fc.assert(
      fc.property(anyBucket, anyBucket, fc.integer({ min: 0, max: 2 }), (moved, other, to) => {
        const next = {
          ...map,
          version: 2,
          assignment: map.assignment.with(moved, to),
          epochs: map.epochs.with(moved, 2),
        };
        expect(routeBucket(next, moved as BucketId)).toEqual({
          bucket: moved,
          shard: to,
          epoch: 2,
          mapVersion: 2,
        });
        fc.pre(other !== moved);
        expect(routeBucket(next, other as BucketId)).toEqual({
          ...routeBucket(map, other as BucketId),
          mapVersion: 2,
        });
      }),
    );
  });
});
