import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import {
  assignBucket,
  bucketsOf,
  initialBucketMap,
  parseBucketMap,
  reconcileShards,
} from '../../../src/sharding/bucket-map.ts';
import type { BucketMap } from '../../../src/sharding/bucket-map.ts';
import { BUCKET_COUNT } from '../../../src/sharding/hash.ts';

const NOW = '2026-01-01T00:00:00.000Z';
const LATER = '2026-02-02T00:00:00.000Z';

const names = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `shard-${index}`);

function firstMap(shardNames: readonly string[]): BucketMap {
  return initialBucketMap({ clusterId: 'cluster', shardNames, updatedAt: NOW });
}

/** A map in which buckets have moved about. */
const anyMap = fc
  .tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 1000 }))
  .chain(([count, version]) =>
    fc
      .array(fc.integer({ min: 0, max: count - 1 }), {
        minLength: BUCKET_COUNT,
        maxLength: BUCKET_COUNT,
      })
      .map((assignment): BucketMap => ({ ...firstMap(names(count)), version, assignment })),
  );

describe('the first map', () => {
  it('gives bucket i to shard i mod N, as evenly as can be', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), (count) => {
        const map = firstMap(names(count));
        expect(map.assignment).toEqual(
          Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket % count),
        );
        expect(map.epochs).toEqual(Array.from({ length: BUCKET_COUNT }, () => 1));
        const sizes = names(count).map((_, id) => bucketsOf(map, id as ShardId).length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 20 },
    );
  });
});

describe('parseBucketMap', () => {
  it('reads back what was written', () => {
    fc.assert(
      fc.property(anyMap, (map) => {
        expect(parseBucketMap(JSON.stringify(map))).toEqual(map);
      }),
      { numRuns: 20 },
    );
  });

  const good = firstMap(names(3));
  const broken: readonly (readonly [string, unknown])[] = [
    ['text that is no JSON', undefined],
    ['a bucket too few', { ...good, assignment: good.assignment.slice(1) }],
    ['an owner that is not listed', { ...good, assignment: good.assignment.with(5, 3) }],
    ['a negative owner', { ...good, assignment: good.assignment.with(5, -1) }],
    ['an epoch of zero', { ...good, epochs: good.epochs.with(5, 0) }],
    ['no shards', { ...good, shards: [] }],
    ['another format', { ...good, formatVersion: 2 }],
    ['an unknown field', { ...good, extra: 1 }],
    ['a version of zero', { ...good, version: 0 }],
  ];

  it.each(broken)('refuses %s', (_, value) => {
    const text = value === undefined ? '{' : JSON.stringify(value);
    expect(() => parseBucketMap(text)).toThrow(
      expect.objectContaining({ code: 'configuration-invalid', retryable: false }),
    );
  });
});

describe('bucketsOf', () => {
  it('splits all buckets among the shards, ascending', () => {
    fc.assert(
      fc.property(anyMap, (map) => {
        const perShard = map.shards.map((shard) => bucketsOf(map, shard.id as ShardId));
        for (const buckets of perShard) {
          expect(buckets).toEqual(buckets.toSorted((a, b) => a - b));
        }
        expect(perShard.flat().toSorted((a, b) => a - b)).toEqual(
          Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket),
        );
      }),
      { numRuns: 20 },
    );
  });
});

describe('reconcileShards', () => {
  it('finds nothing to do for the shards of the map', () => {
    fc.assert(
      fc.property(anyMap, (map) => {
        const listed = map.shards.map((shard) => shard.name);
        expect(reconcileShards(map, listed, LATER)).toEqual({ kind: 'same' });
      }),
      { numRuns: 20 },
    );
  });

  it('takes new shards at the end, without moving a bucket', () => {
    fc.assert(
      fc.property(anyMap, fc.integer({ min: 1, max: 5 }), (map, added) => {
        const listed = names(map.shards.length + added);
        const outcome = reconcileShards(map, listed, LATER);
        expect(outcome).toMatchObject({
          kind: 'extended',
          map: {
            version: map.version + 1,
            assignment: map.assignment,
            epochs: map.epochs,
            clusterId: map.clusterId,
            updatedAt: LATER,
          },
        });
        const next = outcome.kind === 'extended' ? outcome.map : map;
        expect(next.shards.map((shard) => shard.name)).toEqual(listed);
        expect(next.shards.slice(map.shards.length).map((shard) => shard.state)).toEqual(
          Array.from({ length: added }, () => 'new'),
        );
        expect(parseBucketMap(JSON.stringify(next))).toEqual(next);
        expect(reconcileShards(next, listed, LATER)).toEqual({ kind: 'same' });
      }),
      { numRuns: 20 },
    );
  });

  it('refuses every other order of the shards', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 2, max: 8 })
          .chain((count) =>
            fc.shuffledSubarray(names(count), { minLength: count, maxLength: count }),
          ),
        (listed) => {
          const inOrder = names(listed.length);
          const expected = listed.every((name, index) => name === inOrder[index])
            ? 'same'
            : 'contradiction';
          expect(reconcileShards(firstMap(inOrder), listed, LATER).kind).toBe(expected);
        },
      ),
    );
  });

  it('refuses to lose a shard that owns buckets, and lets an empty one go', () => {
    const map = firstMap(names(3));
    const outcome = reconcileShards(map, names(2), LATER);
    expect(outcome).toMatchObject({
      kind: 'contradiction',
      problems: [expect.stringContaining('owns 341 buckets')],
    });
    const drained = { ...map, assignment: map.assignment.map((owner) => owner % 2) };
    expect(reconcileShards(drained, names(2), LATER)).toEqual({ kind: 'same' });
  });

  it('names every contradiction at once', () => {
    const outcome = reconcileShards(firstMap(names(4)), ['a', 'b'], LATER);
    expect(outcome.kind === 'contradiction' && outcome.problems).toHaveLength(4);
  });
});

describe('assignBucket', () => {
  const change = { bucket: 4 as BucketId, to: 1 as ShardId, epoch: 2, updatedAt: LATER };

  it('gives the bucket to its new owner at its epoch', () => {
    const map = firstMap(names(3));
    const moving = {
      ...map,
      moves: [
        { bucket: 4, from: 1, to: 1 },
        { bucket: 5, from: 2, to: 1 },
      ],
    };
    const next = assignBucket(moving, { ...change, to: 1 as ShardId });
    expect(next).toMatchObject({ version: 2, updatedAt: LATER, moves: [{ bucket: 5 }] });
    expect(next?.assignment[4]).toBe(1);
    expect(next?.epochs[4]).toBe(2);
    const others = (bucket: number): boolean => bucket !== 4;
    expect(next?.assignment.filter((_, bucket) => others(bucket))).toEqual(
      map.assignment.filter((_, bucket) => others(bucket)),
    );
  });

  it('changes nothing when the map knows of it, or of a later owner', () => {
    const once = assignBucket(firstMap(names(3)), change) as BucketMap;
    expect(assignBucket(once, change)).toBeUndefined();
    expect(assignBucket(once, { ...change, to: 2 as ShardId })).toBeUndefined();
    expect(assignBucket(once, { ...change, to: 2 as ShardId, epoch: 3 })?.assignment[4]).toBe(2);
  });

  it('makes a new shard active with its first bucket', () => {
    const outcome = reconcileShards(firstMap(names(2)), names(3), LATER);
    if (outcome.kind !== 'extended') throw new Error('the map was not extended');
    const next = assignBucket(outcome.map, { ...change, to: 2 as ShardId });
    expect(next?.shards.map(({ state }) => state)).toEqual(['active', 'active', 'active']);
  });
});
