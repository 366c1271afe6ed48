import { describe, expect, test } from 'vitest';
import { BUCKET_COUNT } from '../../../src/sharding/hash.ts';
import { judgeOwnership, type Word } from '../../../src/verification/ownership.ts';

const said = (
  shard: number,
  state: string,
  epoch: number,
  movedTo: number | null = null,
): Word => ({
  shard,
  bucket: 5,
  state,
  epoch,
  movedTo,
});

/** What is said of bucket 5; every other bucket is well. */
function judge(
  words: readonly Word[],
  map: { shard?: number; epoch?: number; moving?: boolean } = {},
) {
  const others = Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket)
    .filter((bucket) => bucket !== 5)
    .map((bucket) => ({ ...said(0, 'owned', 1), bucket }));
  const all = judgeOwnership([...others, ...words], {
    assignment: Array.from({ length: BUCKET_COUNT }, () => 0).with(5, map.shard ?? 0),
    epochs: Array.from({ length: BUCKET_COUNT }, () => 1).with(5, map.epoch ?? 1),
    moves: map.moving === true ? [{ bucket: 5, from: 0, to: 1 }] : [],
  });
  expect(all).toHaveLength(BUCKET_COUNT);
  expect(all.filter(({ bucket, problem }) => bucket !== 5 && problem !== null)).toEqual([]);
  const own = all[5];
  return own === undefined ? undefined : { owner: own.owner, problem: own.problem?.name ?? null };
}

describe('an owner', () => {
  test.each([
    ['is the one that owns it', [said(0, 'owned', 1)], {}],
    ['is still the one that is fenced', [said(0, 'fenced', 1), said(1, 'receiving', 0)], {}],
    ['left an old copy elsewhere', [said(0, 'owned', 3), said(1, 'gone', 2, 0)], { epoch: 3 }],
    ['was told by its source', [said(0, 'owned', 2), said(1, 'gone', 2, 0)], { epoch: 2 }],
    ['may be ahead of the map in a move', [said(0, 'owned', 2)], { shard: 1, moving: true }],
  ] as const)('%s', (_, words, map) => {
    expect(judge(words, map)).toEqual({ owner: 0, problem: null });
  });

  test('may be missing for a moment of a move, and never else', () => {
    const words = [said(0, 'gone', 2, 1), said(1, 'receiving', 2)];
    expect(judge(words, { moving: true })).toEqual({ owner: null, problem: null });
    expect(judge(words)).toEqual({ owner: null, problem: 'no-owner' });
    expect(judge([])).toEqual({ owner: null, problem: 'no-owner' });
  });

  test.each([
    ['several-owners', [said(0, 'owned', 1), said(1, 'owned', 2)], {}],
    ['several-owners', [said(0, 'fenced', 1), said(1, 'fenced', 1)], {}],
    ['epoch-is-not-the-highest', [said(0, 'owned', 1), said(1, 'fenced', 1)], {}],
    ['epoch-is-not-the-highest', [said(0, 'owned', 2), said(1, 'gone', 2, 2)], { epoch: 2 }],
    ['epoch-is-not-the-highest', [said(0, 'owned', 2), said(1, 'gone', 3, 0)], { epoch: 2 }],
    ['invalid-state', [said(0, 'mine', 1)], {}],
    ['map-names-another-shard', [said(0, 'owned', 1)], { shard: 1 }],
    ['map-names-another-epoch', [said(0, 'owned', 1)], { epoch: 2 }],
  ] as const)('%s: %j', (problem, words, map) => {
    expect(judge(words, map)?.problem).toBe(problem);
  });

  test('that is one of several is a problem also while the map lists a move', () => {
    const words = [said(0, 'owned', 1), said(1, 'owned', 2)];
    expect(judge(words, { moving: true })?.problem).toBe('several-owners');
  });
});
