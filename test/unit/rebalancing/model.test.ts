import { describe, expect, it } from 'vitest';
import type { FenceState } from '../../../src/database/ownership.ts';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import {
  decideGate,
  fenceHoldMs,
  forecastStallMs,
  nextMoveStep,
} from '../../../src/rebalancing/model.ts';
import type { Move, MoveStep, PassFigures } from '../../../src/rebalancing/model.ts';
import { newProgress } from '../../../src/rebalancing/progress.ts';
import type { MovePhase, MoveRecord } from '../../../src/rebalancing/progress.ts';

const MOVE: Move = { id: 'm', bucket: 7 as BucketId, from: 0 as ShardId, to: 1 as ShardId };
const EPOCH = 5;

const row = (
  state: FenceState['state'],
  epoch = EPOCH,
  more: Partial<FenceState> = {},
): FenceState => ({
  state,
  epoch: state === 'absent' ? 0 : epoch,
  movedTo: null,
  token: null,
  fencedForMs: null,
  ...more,
});

const record = (phase: MovePhase, more: Partial<MoveRecord> = {}): MoveRecord => ({
  moveId: 'm',
  from: 0 as ShardId,
  epoch: EPOCH,
  phase,
  progress: newProgress(new Map()),
  startedAt: '2026-01-01 00:00:00.000',
  updatedAt: '2026-01-01 00:00:00.000',
  ...more,
});

const published = (phase: MovePhase): MoveRecord => ({
  ...record(phase),
  progress: { ...newProgress(new Map()), published: true },
});

const given = row('gone', EPOCH + 1, { movedTo: 1 as ShardId });
const receiving = row('receiving');
const other = record('copying', { moveId: 'other' });

const CASES: readonly (readonly [
  string,
  FenceState,
  FenceState,
  MoveRecord | undefined,
  string,
])[] = [
  ['nothing was done', row('owned'), row('absent'), undefined, 'prepare'],
  ['fenced by hand before it began', row('fenced'), row('absent'), undefined, 'prepare'],
  [
    'the target had the bucket before',
    row('owned'),
    row('gone', 4),
    record('owned', { epoch: 2 }),
    'prepare',
  ],
  [
    'the target left at a later epoch',
    row('owned'),
    row('gone', 6),
    undefined,
    'stuck contradiction',
  ],
  ['both own it', row('owned'), row('owned', 6), record('owned'), 'stuck contradiction'],
  ['both own it, one fenced', row('owned'), row('fenced'), undefined, 'stuck contradiction'],
  ['receiving, copying', row('owned'), receiving, record('copying'), 'copy'],
  ['receiving, copied', row('owned'), receiving, record('checking'), 'check'],
  ['receiving without a record', row('owned'), receiving, undefined, 'stuck contradiction'],
  ['receiving for another move', row('owned'), receiving, other, 'stuck target-busy'],
  [
    'receiving since another epoch',
    row('owned', 7),
    receiving,
    record('copying'),
    'stuck stale-copy',
  ],
  [
    'a record that says owned too early',
    row('owned'),
    receiving,
    record('owned'),
    'stuck contradiction',
  ],
  ['being cancelled', row('owned'), receiving, record('cancelling'), 'cancel'],
  [
    'being cancelled, fenced',
    row('fenced', EPOCH, { fencedForMs: 100 }),
    receiving,
    record('cancelling'),
    'cancel',
  ],
  ['being cancelled at another epoch', row('owned', 9), receiving, record('cancelling'), 'cancel'],
  [
    'fenced by a mover',
    row('fenced', EPOCH, { fencedForMs: 300 }),
    receiving,
    record('checking'),
    'await-fence 300',
  ],
  [
    'fenced, past the end',
    row('fenced', EPOCH, { fencedForMs: -5 }),
    receiving,
    record('checking'),
    'await-fence 0',
  ],
  ['fenced without an end', row('fenced'), receiving, record('checking'), 'stuck fenced-by-hand'],
  ['decided', given, receiving, record('checking'), 'take-over'],
  ['decided while a cancellation was marked', given, receiving, record('cancelling'), 'take-over'],
  ['decided, but the record is of another move', given, receiving, other, 'stuck target-busy'],
  ['decided, no record', given, receiving, undefined, 'stuck target-busy'],
  ['decided, and on its way back there', given, row('receiving', 8), other, 'done'],
  [
    'gone, the target received an older epoch',
    given,
    row('receiving', 3),
    record('copying'),
    'stuck contradiction',
  ],
  ['taken over', given, row('owned', EPOCH + 1), record('owned'), 'publish'],
  [
    'taken over and fenced for the next move',
    given,
    row('fenced', EPOCH + 1),
    record('owned'),
    'publish',
  ],
  ['published', given, row('owned', EPOCH + 1), published('owned'), 'done'],
  ['taken over by another move', given, row('owned', EPOCH + 1), other, 'done'],
  ['moved there again later', given, row('owned', 9), record('owned'), 'done'],
  ['moved on from there', given, row('gone', EPOCH + 2), undefined, 'done'],
  ['the target left before it came', given, row('gone', 3), undefined, 'stuck contradiction'],
  ['the target knows nothing', given, row('absent'), undefined, 'stuck contradiction'],
  [
    'the target owns an older epoch',
    given,
    row('owned', EPOCH),
    record('owned'),
    'stuck contradiction',
  ],
  [
    'given to somebody else',
    row('gone', 6, { movedTo: 2 as ShardId }),
    row('absent'),
    undefined,
    'stuck source-not-owner',
  ],
  ['never had it', row('absent'), row('absent'), undefined, 'stuck source-not-owner'],
  ['receives it itself', row('receiving'), row('absent'), undefined, 'stuck source-not-owner'],
];

function told(step: MoveStep): string {
  if (step.kind === 'stuck') return `stuck ${step.reason}`;
  return step.kind === 'await-fence' ? `await-fence ${step.waitMs}` : step.kind;
}

describe('nextMoveStep', () => {
  it.each(CASES)('%s', (_, source, target, at, expected) => {
    expect(told(nextMoveStep(MOVE, source, target, at))).toBe(expected);
  });

  it('does what writes only where the rows allow it, over all combinations', () => {
    const all = combinations();
    expect(all).toHaveLength(5 * 5 * 9 * 4 * 4 * 3 * 3);
    expect(all.filter((combination) => !isAllowed(combination))).toEqual([]);
    // Every kind of step occurs, or the rule above would say nothing of it.
    expect(new Set(all.map(stepOf)).size).toBe(9);
  });
});

interface Combination {
  readonly source: FenceState;
  readonly target: FenceState;
  readonly at: MoveRecord | undefined;
}

function combinations(): readonly Combination[] {
  const states = ['absent', 'owned', 'fenced', 'receiving', 'gone'] as const;
  const phases = ['copying', 'checking', 'cancelling', 'owned'] as const;
  const records = [
    undefined,
    ...phases.flatMap((phase) => [record(phase), record(phase, { moveId: 'other' })]),
  ];
  const epochs = [EPOCH - 1, EPOCH, EPOCH + 1, EPOCH + 2];
  const sources = states.flatMap((state) =>
    epochs.flatMap((epoch) =>
      [null, 1 as ShardId, 2 as ShardId].flatMap((movedTo) =>
        [null, -1, 50].map((fencedForMs) => row(state, epoch, { movedTo, fencedForMs })),
      ),
    ),
  );
  const targets = states.flatMap((state) => epochs.map((epoch) => row(state, epoch)));
  return sources.flatMap((source) =>
    targets.flatMap((target) => records.map((at) => ({ source, target, at }))),
  );
}

const stepOf = ({ source, target, at }: Combination): MoveStep['kind'] =>
  nextMoveStep(MOVE, source, target, at).kind;

function isAllowed(combination: Combination): boolean {
  const { source, target, at } = combination;
  const ours = at?.moveId === 'm';
  const received = target.state === 'receiving';
  switch (stepOf(combination)) {
    case 'prepare':
      return (
        ['owned', 'fenced'].includes(source.state) && ['absent', 'gone'].includes(target.state)
      );
    case 'copy':
    case 'check':
      return ours && received && source.state === 'owned' && source.epoch === target.epoch;
    case 'await-fence':
      return ours && received && source.state === 'fenced' && source.fencedForMs !== null;
    case 'cancel':
      return ours && received && source.state !== 'gone';
    case 'take-over':
      return (
        ours &&
        received &&
        source.state === 'gone' &&
        source.movedTo === 1 &&
        source.epoch === target.epoch + 1
      );
    case 'publish':
      return ours && source.state === 'gone' && source.epoch === target.epoch;
    case 'done':
      return source.state === 'gone' && source.movedTo === 1 && target.epoch >= source.epoch;
    case 'stuck':
      return true;
  }
}

const figures = (rowsDiffering: number, digestMs: number, repairMs = 0): PassFigures => ({
  rows: 1_000,
  rowsDiffering,
  chunksUnsettled: 0,
  digestMs,
  repairMs,
});

describe('the gate', () => {
  it('holds a fence for twice what a switch may take, and at least 2 s', () => {
    expect(fenceHoldMs(500)).toBe(2_000);
    expect(fenceHoldMs(3_000)).toBe(6_000);
  });

  it('forecasts the next pass like the last one, with a margin and the work of the switch', () => {
    expect(forecastStallMs({ digestMs: 0, repairMs: 0 })).toBe(60);
    expect(forecastStallMs({ digestMs: 100, repairMs: 60 })).toBe(260);
  });

  const decide = (
    last: PassFigures,
    before: PassFigures | null,
    passes: number,
  ): ReturnType<typeof decideGate> =>
    decideGate({ last, before, passes, stallLimitMs: 500, maxPasses: 4 });

  it('opens under the limit when little is left', () => {
    expect(decide(figures(3, 100), null, 1)).toBe('switch');
    expect(decide(figures(3, 100), figures(1, 5), 1)).toBe('switch');
  });

  it('asks for passes while they halve what is left', () => {
    expect(decide(figures(400, 100), null, 1)).toBe('pass-again');
    expect(decide(figures(190, 100), figures(400, 100), 2)).toBe('pass-again');
    expect(decide(figures(210, 100), figures(400, 100), 2)).toBe('switch');
    expect(decide(figures(190, 100), figures(400, 100), 4)).toBe('switch');
  });

  it('does not open over the limit, and gives up after the last pass', () => {
    expect(decide(figures(0, 400), null, 1)).toBe('pass-again');
    expect(decide(figures(0, 400), figures(0, 400), 3)).toBe('pass-again');
    expect(decide(figures(0, 400), figures(0, 400), 4)).toBe('too-long');
  });
});
