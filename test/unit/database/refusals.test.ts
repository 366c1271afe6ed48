import { describe, expect, test } from 'vitest';
import type { SqlRow, SqlRunner } from '../../../src/database/contracts.ts';
import { refusalAfterNothing, refusalInRow } from '../../../src/database/refusals.ts';
import type { BucketId } from '../../../src/kernel/ids.ts';

describe('refusalInRow', () => {
  test.each<[SqlRow | undefined, unknown]>([
    [{ state: 'owned', moved_to: null }, undefined],
    [undefined, { kind: 'refused', state: 'absent', movedTo: null }],
    [
      { state: 'fenced', moved_to: null },
      { kind: 'refused', state: 'fenced', movedTo: null },
    ],
    [
      { state: 'gone', moved_to: 0 },
      { kind: 'refused', state: 'gone', movedTo: 0 },
    ],
    [
      { state: 'receiving', moved_to: null },
      { kind: 'refused', state: 'receiving', movedTo: null },
    ],
  ])('%j', (row, refusal) => {
    expect(refusalInRow(row)).toEqual(refusal);
  });
});

describe('refusalAfterNothing', () => {
  const ask = (rows: readonly SqlRow[]): ReturnType<typeof refusalAfterNothing> =>
    refusalAfterNothing(
      { select: () => Promise.resolve(rows) } as unknown as SqlRunner,
      195 as BucketId,
    );

  test('tells where the bucket went', async () => {
    expect(await ask([{ state: 'gone', epoch: 2, moved_to: 1 }])).toMatchObject({ movedTo: 1 });
    expect(await ask([])).toMatchObject({ state: 'absent' });
  });

  test('a fence lifted in between has the caller come back', async () => {
    const owned = [{ state: 'owned', epoch: 1, moved_to: null }];
    expect(await ask(owned)).toEqual({ kind: 'refused', state: 'fenced', movedTo: null });
  });
});
