import '../../support/seed.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  combine,
  isSummedByBucket,
  mergeGroups,
  reportResult,
  totalsOf,
} from '../../../src/revenue/model.ts';
import type { BucketSum, GroupSum, ShardAnswer } from '../../../src/revenue/model.ts';
import { BUCKET_COUNT } from '../../../src/sharding/hash.ts';
import { summedTogether } from '../../support/revenue-answers.ts';

const sum = (bucket: number, changes: Partial<BucketSum> = {}): BucketSum => ({
  bucket,
  epoch: 1,
  orders: 1,
  cents: 100n,
  ...changes,
});

/** Answers of `shards` shards that own all buckets in turn. */
function settled(shards: number): ShardAnswer[] {
  return Array.from({ length: shards }, (_, shard) => ({
    shard,
    sightings: [],
    sums: Array.from({ length: BUCKET_COUNT }, (_each, bucket) => sum(bucket)).filter(
      ({ bucket }) => bucket % shards === shard,
    ),
  }));
}

describe('combining the shards’ answers', () => {
  test('takes every bucket once when nothing moves', () => {
    const combined = combine(settled(3));
    expect(combined.missing).toEqual([]);
    expect(totalsOf(combined, [0, 1, 2])).toEqual({
      totalCents: '102400',
      orders: 1024,
      perShard: [
        { shard: 0, totalCents: '34200', orders: 342 },
        { shard: 1, totalCents: '34100', orders: 341 },
        { shard: 2, totalCents: '34100', orders: 341 },
      ],
    });
  });

  test('takes the later owner of a bucket that two shards answered for, in any order', () => {
    const sums = [sum(0, { epoch: 2, orders: 7, cents: 700n })];
    const later: ShardAnswer = { shard: 1, sums, sightings: [] };
    for (const answers of [
      [...settled(3), later],
      [later, ...settled(3)],
    ]) {
      const combined = combine(answers);
      expect(combined.chosen.get(0)).toMatchObject({ answer: later, sum: later.sums[0] });
      expect(totalsOf(combined, [0, 1, 2]).orders).toBe(1023 + 7);
    }
  });

  test('names the buckets that nobody answered for', () => {
    const [first, ...others] = settled(3);
    const sums = first?.sums.filter(({ bucket }) => bucket > 3) ?? [];
    const without = { shard: 0, sums, sightings: [] };
    expect(combine([without, ...others]).missing).toEqual([0, 3]);
    expect(combine([]).missing).toHaveLength(BUCKET_COUNT);
  });

  test('refuses two owners of one epoch', () => {
    const twin: ShardAnswer = { shard: 1, sums: [sum(0)], sightings: [] };
    expect(() => combine([...settled(3), twin])).toThrow('two shards own one bucket');
  });

  test('a shard asked twice is no second owner', () => {
    expect(combine([...settled(3), ...settled(3)]).missing).toEqual([]);
  });

  test('counts each bucket once at its highest epoch, whatever the answers', () => {
    const claim = fc.record({
      bucket: fc.integer({ min: 0, max: 20 }),
      epoch: fc.integer({ min: 1, max: 5 }),
      orders: fc.integer({ min: 0, max: 1_000_000 }),
      cents: fc.bigInt({ min: 0n, max: 2n ** 62n }),
    });
    fc.assert(
      // The shard follows from bucket and epoch, as by the protocol each epoch has one owner.
      fc.property(fc.array(claim, { maxLength: 60 }), (claims) => {
        const answers = claims.map((each) => ({
          shard: (each.bucket + each.epoch) % 4,
          sums: [each],
          sightings: [],
        }));
        const best = new Map<number, BucketSum>();
        for (const each of claims) {
          if (each.epoch > (best.get(each.bucket)?.epoch ?? 0)) best.set(each.bucket, each);
        }
        const combined = combine(answers);
        const { totalCents, orders, perShard } = totalsOf(combined, [0, 1, 2, 3]);
        const expected = [...best.values()];
        expect(totalCents).toBe(String(expected.reduce((all, { cents }) => all + cents, 0n)));
        expect(orders).toBe(expected.reduce((all, own) => all + own.orders, 0));
        expect(perShard.reduce((all, own) => all + BigInt(own.totalCents), 0n)).toBe(
          BigInt(totalCents),
        );
        expect(combined.missing).toHaveLength(BUCKET_COUNT - best.size);
      }),
    );
  });
});

describe('buckets that a shard sums together', () => {
  const later: ShardAnswer = { shard: 1, sums: [sum(0, { epoch: 2, orders: 7 })], sightings: [] };

  test('count as if they were summed one by one', () => {
    const [first, ...others] = settled(3);
    for (const answers of [
      settled(3).map(summedTogether),
      [first as ShardAnswer, ...others.map(summedTogether)],
    ]) {
      const combined = combine(answers);
      expect(combined).toMatchObject({ missing: [], entangled: [] });
      expect(totalsOf(combined, [0, 1, 2])).toEqual(totalsOf(combine(settled(3)), [0, 1, 2]));
    }
  });

  test('are entangled when one of them has a later owner, whoever is asked first', () => {
    const answers = settled(3).map(summedTogether);
    expect(combine([...answers, later]).entangled).toEqual([0]);
    expect(combine([summedTogether(later), ...answers]).entangled).toEqual([0]);
  });

  test('are not entangled by an earlier owner that was asked bucket by bucket', () => {
    const [first, ...others] = settled(3);
    const newer = others.map((answer) => ({
      ...answer,
      sums: answer.shard === 1 ? [...answer.sums, ...later.sums] : answer.sums,
    }));
    const combined = combine([first as ShardAnswer, ...newer.map(summedTogether)]);
    expect(combined.entangled).toEqual([]);
    expect(totalsOf(combined, []).orders).toBe(1023 + 7);
  });
});

describe('groups', () => {
  test('merging adds by key, in the order of the keys, beyond 2^53', () => {
    const max = String(2n ** 62n);
    expect(
      mergeGroups([
        [
          [20260102, 1, max],
          [20260101, 2, '5'],
        ],
        [[20260102, 3, max]],
      ]),
    ).toEqual([
      [20260101, 2, '5'],
      [20260102, 4, String(2n ** 63n)],
    ]);
  });

  test('merging in parts is merging at once', () => {
    const group = fc.tuple(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 0, max: 1_000 }),
      fc.bigInt({ min: 0n, max: 2n ** 60n }).map(String),
    );
    fc.assert(
      fc.property(fc.array(fc.array(group)), (lists: GroupSum[][]) => {
        const inParts = lists.reduce<GroupSum[]>((all, list) => mergeGroups([all, list]), []);
        expect(inParts).toEqual(mergeGroups(lists));
      }),
    );
  });

  test.each([
    ['day', 20260131, '2026-01-31'],
    ['day', 99991231, '9999-12-31'],
    ['month', 202601, '2026-01'],
    ['none', 0, 'all'],
  ] as const)('by %s the key %i is %s', (groupBy, key, text) => {
    expect(reportResult([[key, 2, '30']], groupBy)).toEqual({
      totalCents: '30',
      orders: 2,
      groups: [{ key: text, totalCents: '30', orders: 2 }],
    });
  });

  test('a report without orders has no groups, or the one for all', () => {
    expect(reportResult([], 'day')).toEqual({ totalCents: '0', orders: 0, groups: [] });
    expect(reportResult([], 'none').groups).toEqual([{ key: 'all', totalCents: '0', orders: 0 }]);
  });
});

test.each([
  [{ owned: 341, others: 0 }, false],
  [{ owned: 341, others: 17 }, false],
  [{ owned: 341, others: 34 }, true],
  [{ owned: 0, others: 1 }, true],
  [{ owned: 0, others: 0 }, false],
])('a shard with buckets %o is summed bucket by bucket: %s', (counts, expected) => {
  expect(isSummedByBucket(counts)).toBe(expected);
});
