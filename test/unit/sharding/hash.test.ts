import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { initialBucketMap } from '../../../src/sharding/bucket-map.ts';
import { BUCKET_COUNT, bucketOf } from '../../../src/sharding/hash.ts';
import { routeKey } from '../../../src/sharding/router.ts';

/** DESIGN 2 and FACTS-mysql 4. */
const GOLDEN: readonly (readonly [key: string, bucket: number])[] = [
  ['1001', 195],
  ['2002', 930],
  ['3003', 56],
  ['4004', 235],
  ['1', 202],
  ['0', 973],
  ['9223372036854775807', 374],
  ['-1', 950],
  ['-42', 508],
  ['-9223372036854775808', 300],
];

const signed64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

/** About the length of one block of MD5, where another way of hashing begins. */
const lengths = fc.string({ unit: 'grapheme-ascii', minLength: 40, maxLength: 70 });

describe('bucketOf', () => {
  it.each(GOLDEN)('puts %s into bucket %i', (key, bucket) => {
    expect(bucketOf(key)).toBe(bucket);
  });

  it('is the first two bytes of the MD5 modulo 1024, for every key', () => {
    fc.assert(
      fc.property(
        fc.oneof(signed64.map(String), fc.string({ unit: 'grapheme' }), lengths),
        (key) => {
          const digest = createHash('md5').update(key, 'utf8').digest('hex');
          expect(bucketOf(key)).toBe(Number.parseInt(digest.slice(0, 4), 16) % BUCKET_COUNT);
        },
      ),
    );
  });

  it('spreads keys evenly: no bucket is twice as full as it should be', () => {
    const perBucket = 40;
    const counts = Array.from({ length: BUCKET_COUNT }, () => 0);
    for (let key = 1; key <= BUCKET_COUNT * perBucket; key++) {
      const bucket = bucketOf(String(key));
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }
    // Six standard deviations of a Poisson count.
    const most = perBucket + 6 * Math.sqrt(perBucket);
    expect(Math.max(...counts)).toBeLessThan(most);
    expect(Math.min(...counts)).toBeGreaterThan(perBucket - (most - perBucket));
  });
});

describe('the first map', () => {
  it.each(GOLDEN)(
    'routes %s to the shard of its bucket modulo the number of shards',
    (key, bucket) => {
      for (const count of [1, 2, 3, 7]) {
        const map = initialBucketMap({
          clusterId: 'c',
          shardNames: Array.from({ length: count }, (_, index) => `shard-${index}`),
          updatedAt: '2026-01-01T00:00:00.000Z',
        });
        expect(routeKey(map, key)).toEqual({
          bucket,
          shard: bucket % count,
          epoch: 1,
          mapVersion: 1,
        });
      }
    },
  );
});
