import { describe, expect, test } from 'vitest';
import { bucketOf } from '../../../src/sharding/hash.ts';
import {
  ORDER_STATE,
  startWalk,
  walkOn,
  type Holding,
} from '../../../src/verification/order-holding.ts';

interface Row {
  readonly user: string;
  readonly state: keyof typeof ORDER_STATE;
  readonly peer?: string;
  readonly saga?: string;
  readonly amount?: number;
  readonly placedFor?: string;
}

function holding(row: Row): Holding {
  const { user, peer } = row;
  const state = ORDER_STATE[row.state];
  return {
    bucket: bucketOf(user),
    orderId: '1',
    order: {
      userId: user,
      placedFor: row.placedFor ?? null,
      amountCents: row.amount ?? 5,
      createdAt: '2026-01-01T00:00:00.000Z',
      state,
    },
    transfer:
      peer === undefined
        ? undefined
        : { userId: user, peerUserId: peer, state, sagaId: row.saga ?? 's', updatedAt: '' },
  };
}

/** Walks from the first row over the others, each found in its user's bucket. */
function walk(rows: readonly Row[]): string {
  const [first, ...rest] = rows.map(holding);
  const all = new Map([first, ...rest].map((each) => [each?.bucket, each]));
  let next = first && startWalk(first);
  for (let steps = 0; next !== undefined && steps < 50; steps += 1) {
    const nothing = { bucket: next.bucket, orderId: '1', order: undefined, transfer: undefined };
    const step = walkOn(next, all.get(next.bucket) ?? nothing);
    if (step.kind !== 'on') return step.kind === 'wrong' ? step.problem : step.kind;
    next = step.walk;
  }
  return 'nothing to follow';
}

const moved = (user: string, peer: string, saga = 's'): Row => ({
  user,
  state: 'moved',
  peer,
  saga,
});

describe('an order that has moved', () => {
  test.each<[string, readonly Row[]]>([
    ['is plain at its target', [moved('1', '2'), { user: '2', state: 'plain' }]],
    ['is locked for the next', [moved('1', '2'), { user: '2', state: 'locked', peer: '3' }]],
    ['is pending by the same saga', [moved('1', '2'), { user: '2', state: 'pending', peer: '1' }]],
    ['moved on', [moved('1', '2'), moved('2', '3', 't'), { user: '3', state: 'plain' }]],
    [
      'was given on inside its bucket',
      [moved('1', '2'), { user: '2', state: 'plain', placedFor: '2' }],
    ],
    [
      'is just coming back to its target',
      [
        moved('1', '2'),
        { user: '2', state: 'pending', peer: '3', saga: 't' },
        { user: '3', state: 'locked', peer: '2', saga: 't' },
      ],
    ],
  ])('%s: fits', (_, rows) => {
    expect(walk(rows)).toBe('fits');
  });

  test.each<[string, readonly Row[]]>([
    ['successor-missing', [moved('1', '2')]],
    ['successor-missing', [moved('1', '2'), moved('2', '3')]],
    ['successor-differs', [moved('1', '2'), { user: '2', state: 'plain', amount: 6 }]],
    ['moved-in-a-circle', [moved('1', '2'), moved('2', '1')]],
    ['successor-without-transfer', [moved('1', '2'), { user: '2', state: 'pending' }]],
    [
      'pending-without-source',
      [moved('1', '2'), { user: '2', state: 'pending', peer: '3', saga: 't' }],
    ],
    [
      'pending-without-source',
      [
        moved('1', '2'),
        { user: '2', state: 'pending', peer: '3', saga: 't' },
        { user: '3', state: 'locked', peer: '2', saga: 'u' },
      ],
    ],
  ])('%s: %j', (problem, rows) => {
    expect(walk(rows)).toBe(problem);
  });

  test('whose source shows it all the same is visible twice', () => {
    const source = holding(moved('1', '2'));
    const start = { ...source, order: source.order && { ...source.order, state: 0 } };
    const begun = startWalk(start);
    expect(begun && walkOn(begun, holding({ user: '2', state: 'plain' }))).toEqual({
      kind: 'wrong',
      problem: 'visible-twice',
    });
  });
});

describe('an order that is locked', () => {
  const locked: Row = { user: '1', state: 'locked', peer: '2' };
  test.each<[string, readonly Row[]]>([
    ['fits', [locked]],
    ['fits', [locked, { user: '2', state: 'pending', peer: '1' }]],
    // A stranger's order of the same id.
    ['fits', [locked, { user: '2', state: 'plain', amount: 6 }]],
    ['visible-twice', [locked, { user: '2', state: 'plain' }]],
  ])('%s: %j', (expected, rows) => {
    expect(walk(rows)).toBe(expected);
  });
});

test('a plain order and a pending one have nothing to follow', () => {
  expect(walk([{ user: '1', state: 'plain' }])).toBe('nothing to follow');
  expect(walk([{ user: '1', state: 'pending', peer: '2' }])).toBe('nothing to follow');
});
