import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  ARCS,
  bucketMapScheme,
  CHANGES,
  moduloScheme,
  RESIDUES,
  ringScheme,
  START,
} from '../../../../bench/simulation/schemes.ts';
import { initialBucketMap } from '../../../../src/sharding/bucket-map.ts';
import { BUCKET_COUNT } from '../../../../src/sharding/hash.ts';

/** Number of cells that change their owner from one to another, and who gives and takes. */
function changed(before: Uint16Array, after: Uint16Array) {
  const [givers, takers] = [new Set<number>(), new Set<number>()];
  let cells = 0;
  for (let cell = 0; cell < before.length; cell++) {
    const [from, to] = [before[cell] as number, after[cell] as number];
    if (from === to) continue;
    cells++;
    givers.add(from);
    takers.add(to);
  }
  return { cells, givers: [...givers], takers: [...takers] };
}

describe('the bucket map', () => {
  const scheme = bucketMapScheme(Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket));
  const first = scheme.owners(START);

  test('begins as the product does', () => {
    const shardNames = Array.from({ length: START }, (_, n) => `s${n}`);
    const map = initialBucketMap({ clusterId: 'x', shardNames, updatedAt: '2026-01-01' });
    expect([...first]).toEqual(map.assignment);
  });

  test.each([
    [65, 15],
    [72, 112],
    [128, 512],
  ])(
    'gives %d shards what they need and moves %d buckets, to those that joined',
    (shards, moves) => {
      const found = changed(first, scheme.owners(shards));
      expect(found.cells).toBe(moves);
      expect(Math.min(...found.takers)).toBe(START);
    },
  );

  test('moves only what the shard that leaves has', () => {
    const found = changed(first, scheme.owners(START - 1));
    expect(found.cells).toBe(BUCKET_COUNT / START);
    expect(found.givers).toEqual([START - 1]);
  });
});

test('remainders by every number of shards come from one', () => {
  for (const shards of [START, ...CHANGES]) {
    const owners = moduloScheme.owners(shards);
    for (const hashed of [0, 1, 63, 524_159, 524_160, 3_141_592_653, 2 ** 32 - 1]) {
      expect(owners[hashed % RESIDUES]).toBe(hashed % shards);
    }
  }
});

describe('a ring', () => {
  test('gives each position to the next point', () => {
    const owners = ringScheme(3, 'draw').owners(5);
    const points = [0, 1, 2, 3, 4]
      .flatMap((shard) =>
        [0, 1, 2].map((point) => {
          const at = hash('md5', `draw/${shard}/${point}`, 'buffer').readUInt32BE(0);
          return { shard, arc: Math.floor((at / 2 ** 32) * ARCS) };
        }),
      )
      .toSorted((a, b) => a.arc - b.arc);
    for (let arc = 0; arc < ARCS; arc += 997) {
      const next = points.find((point) => point.arc >= arc) ?? points[0];
      expect(owners[arc]).toBe(next?.shard);
    }
  });

  test.each([1, 128])(
    'with %d points of each moves only to those that join, or from the one that leaves',
    (points) => {
      const scheme = ringScheme(points, 'draw');
      const first = scheme.owners(START);
      const joined = changed(first, scheme.owners(72));
      expect(Math.min(...joined.takers)).toBeGreaterThanOrEqual(START);
      expect(joined.cells).toBeGreaterThan(0);
      const left = changed(first, scheme.owners(START - 1));
      expect(left.givers).toEqual([START - 1]);
    },
  );
});
