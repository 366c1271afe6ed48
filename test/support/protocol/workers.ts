import { isGivenAway } from '../../../src/database/ownership.ts';
import { assertNever } from '../../../src/kernel/exhaustive.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { nextMoveStep } from '../../../src/rebalancing/model.ts';
import type { MoveStep, StuckReason } from '../../../src/rebalancing/model.ts';
import { assignBucket } from '../../../src/sharding/bucket-map.ts';
import type { BucketMap } from '../../../src/sharding/bucket-map.ts';
import { SIDE_PROGRAMS } from './side-workers.ts';
import {
  BUCKET,
  fenceStateOf,
  freshToken,
  moveOf,
  moveRecordOf,
  sourceOf,
  targetOf,
} from './state.ts';
import type { At, Row, State } from './state.ts';
import {
  compare,
  decided,
  fence,
  give,
  lift,
  record,
  renew,
  sourceRow,
  sourceRows,
  writeRows,
} from './switch-steps.ts';
import { claimToken, goOn, idleAgain, isSame, send } from './turn.ts';
import type { Program, Transition, Turn } from './turn.ts';

/**
 * The deliveries of a move, statement by statement, as in `src/rebalancing/{advance,prepare,copy,switch,finish}.ts`.
 * What a step is follows from the product's own `nextMoveStep` and `isGivenAway`.
 */
const DELIVERY: Program = {
  idle: (turn) => startsOf(turn),
  // readStanding: the target after the source.
  target: (turn) => stand(turn),
  // A standing that makes no sense is believed only when the source has not changed meanwhile.
  again: (turn) => lookAgain(turn),
  'prepare-source': (turn) =>
    goOn(turn, 'reads the source', { at: 'prepare-target', row: sourceRow(turn) }),
  'prepare-target': (turn) => prepare(turn),
  receive: (turn) => receive(turn),
  claim: (turn) => claim(turn),
  'copy-read': (turn) => goOn(turn, 'reads a chunk', { at: 'copy-write', rows: sourceRows(turn) }),
  'copy-write': (turn) =>
    writeRows(turn, { upsert: true, phase: 'checking' }, (worker) => idleAgain(worker)),
  // decideGate: another pass or the fence, in any order.
  gate: (turn) => [
    ...goOn(turn, 'reads for a pass', { at: 'pass-write', rows: sourceRows(turn) }),
    ...fence(turn),
  ],
  'pass-write': (turn) =>
    writeRows(turn, { upsert: false, phase: 'checking' }, (worker) => ({
      ...worker,
      at: 'gate',
      rows: null,
    })),
  renew: (turn) => renew(turn),
  'verify-read': (turn) =>
    turn.faults.has('no-verification')
      ? goOn(turn, 'trusts its pass', { at: 'record' })
      : goOn(turn, 'reads under the fence', { at: 'verify-target', rows: sourceRows(turn) }),
  'verify-target': (turn) => compare(turn, 'verify-write'),
  'verify-write': (turn) =>
    writeRows(turn, { upsert: false, phase: null }, (worker) => ({
      ...worker,
      at: 'verify-again',
      rows: null,
    })),
  'verify-again': (turn) =>
    goOn(turn, 'reads again', { at: 'verify-compare', rows: sourceRows(turn) }),
  'verify-compare': (turn) => compare(turn, 'lift'),
  record: (turn) => record(turn),
  give: (turn) => give(turn),
  lift: (turn) => lift(turn),
  'lift-read': (turn) =>
    isGivenAway(fenceStateOf(sourceRow(turn)), decided(turn))
      ? goOn(turn, 'finds it decided', { at: 'take', fence: null, tried: null, token: null })
      : [finished(turn, 'finds it lifted')],
  'take-first': (turn) => takeOver(turn, 'give'),
  take: (turn) => takeOver(turn, 'finish-source'),
  'finish-source': (turn) =>
    goOn(turn, 'reads the source', { at: 'finish-target', row: sourceRow(turn), fence: null }),
  'finish-target': (turn) => finish(turn),
  'finish-take': (turn) => takeOver(turn, 'publish'),
  publish: (turn) => publish(turn),
  save: (turn) => {
    const { move } = turn.worker;
    const statement = { kind: 'save-published', shard: targetOf(move), move } as const;
    return send(turn, statement, (worker) => idleAgain(worker));
  },
  'lift-expired': (turn) => {
    const statement = { kind: 'lift-expired', shard: sourceOf(turn.worker.move) } as const;
    return send(turn, statement, (worker) => idleAgain(worker));
  },
};

const PROGRAMS: Program = { ...DELIVERY, ...SIDE_PROGRAMS };

/** What a worker may do next. Nobody has to: a worker that never goes on is one that died. */
export function workerSteps(turn: Turn): readonly Transition[] {
  const { worker } = turn;
  const name = worker.at === 'idle' && worker.kind !== 'delivery' ? worker.kind : worker.at;
  return PROGRAMS[name]?.(turn) ?? [];
}

function finished(turn: Turn, label: string): Transition {
  const [transition] = goOn(turn, label, idleAgain(turn.worker));
  return transition as Transition;
}

/** A move is begun when the one before is published; deliveries of it may begin at any time after, also late. */
function startsOf(turn: Turn): readonly Transition[] {
  const { state, moves } = turn;
  const begun = Math.min(moves, state.map.epoch);
  return Array.from({ length: begun }, (_, move) =>
    goOn(turn, `looks at move ${move}`, { at: 'target', move, row: state.own[sourceOf(move)] }),
  ).flat();
}

function standing({ state, worker }: Turn): MoveStep {
  const to = targetOf(worker.move);
  return nextMoveStep(
    moveOf(worker.move),
    fenceStateOf(worker.row as Row),
    fenceStateOf(state.own[to]),
    moveRecordOf(state.rec[to]),
  );
}

function stand(turn: Turn): readonly Transition[] {
  const step = standing(turn);
  const seen = { row: null, target: null };
  switch (step.kind) {
    case 'prepare':
      return goOn(turn, 'is to prepare', { ...seen, at: 'prepare-source' });
    case 'copy':
    case 'check':
      return goOn(turn, `is to ${step.kind}`, { ...seen, at: 'claim' });
    case 'await-fence':
      return goOn(turn, 'waits for the fence', { ...seen, at: 'lift-expired' });
    case 'take-over':
    case 'publish':
      return goOn(turn, 'is to finish', { ...seen, at: 'finish-source' });
    case 'cancel':
      return goOn(turn, 'is to cancel', { ...seen, at: 'mark' });
    case 'done':
      return [finished(turn, 'finds it done')];
    case 'stuck':
      return doubt(turn, step.reason);
    default:
      return assertNever(step);
  }
}

/** Believed when two looks in a row have seen the same rows. */
function doubt(turn: Turn, reason: StuckReason): readonly Transition[] {
  const { state, worker, faults } = turn;
  const target = state.own[targetOf(worker.move)];
  const same = worker.target !== null && isSame(worker.target, target);
  if (same || faults.has('look-once')) return stuck(turn, reason);
  return goOn(turn, 'doubts what it sees', { at: 'again', target });
}

function lookAgain(turn: Turn): readonly Transition[] {
  const { worker } = turn;
  const row = sourceRow(turn);
  const target = isSame(row, worker.row as Row) ? worker.target : null;
  return goOn(turn, 'reads the source again', { at: 'target', row, target });
}

function stuck(turn: Turn, reason: StuckReason): readonly Transition[] {
  if (reason === 'contradiction') return goOn(turn, 'is told of a contradiction', { at: 'misled' });
  return [finished(turn, `is told ${reason}`)];
}

function prepare(turn: Turn): readonly Transition[] {
  const { state, worker } = turn;
  const step = standing(turn);
  if (step.kind === 'stuck') return doubt(turn, step.reason);
  if (step.kind !== 'prepare') return [finished(turn, 'finds it prepared')];
  // The bound of the exploration: a late delivery of a finished move would begin it anew for ever.
  if ((worker.row as Row).epoch > turn.moves) return [finished(turn, 'is out of bounds')];
  const to = targetOf(worker.move);
  if (state.rows[to].some((value) => value !== 0)) return [finished(turn, 'finds an old copy')];
  return goOn(turn, 'finds the target free', { at: 'receive', target: state.own[to] });
}

function receive(turn: Turn): readonly Transition[] {
  const { state, worker } = turn;
  const [row, seen] = [worker.row as Row, worker.target as Row];
  const token = worker.next ?? freshToken(state);
  const { move } = worker;
  const shard = targetOf(move);
  const statement = { kind: 'receive', shard, move, epoch: row.epoch, token, seen } as const;
  return send(turn, statement, (at) => idleAgain(at), { next: token });
}

/** openSession; the record is read with the claim, since nobody else writes it from then on, except to cancel. */
function claim(turn: Turn): readonly Transition[] {
  const { worker } = turn;
  const shard = targetOf(worker.move);
  const token = claimToken(turn);
  const { move } = worker;
  const statement = { kind: 'claim', shard, move, token, held: null, toCancel: false } as const;
  return send(
    turn,
    statement,
    (at, affected, after) => {
      const rec = after.rec[shard];
      if (!affected || rec === null) return idleAgain(at);
      const next = rec.phase === 'copying' ? 'copy-read' : 'gate';
      return { ...at, at: next, token, next: null, epoch: rec.epoch };
    },
    turn.faults.has('one-claim-token') ? { next: token } : {},
  );
}

function takeOver(turn: Turn, next: string): readonly Transition[] {
  const { move, epoch } = turn.worker;
  const statement = { kind: 'take', shard: targetOf(move), epoch } as const;
  return send(turn, statement, (worker) => ({ ...worker, at: next }));
}

/** ownedRecord */
function finish(turn: Turn): readonly Transition[] {
  const { state, worker } = turn;
  const to = targetOf(worker.move);
  const rec = state.rec[to];
  if (rec?.move !== worker.move) return [finished(turn, 'finds another move')];
  const at = { epoch: rec.epoch, to: to as unknown as ShardId };
  if (!isGivenAway(fenceStateOf(worker.row as Row), at)) {
    return [finished(turn, 'finds it undecided')];
  }
  return goOn(turn, 'finds it decided', { at: 'finish-take', row: null, epoch: rec.epoch });
}

/** assignBucket behind a compare-and-set: it never sets a bucket back to an earlier epoch. */
function publish(turn: Turn): readonly Transition[] {
  const { state, worker } = turn;
  const to = targetOf(worker.move);
  const epoch = worker.epoch + 1;
  const change = { bucket: BUCKET, to: to as unknown as ShardId, epoch, updatedAt: '' };
  const next = assignBucket(mapOf(state.map), change);
  const map = next === undefined ? state.map : { shard: next.assignment[0] as At, epoch };
  return goOn({ ...turn, state: { ...state, map } }, 'publishes', { at: 'save' });
}

function mapOf(map: State['map']): BucketMap {
  return {
    formatVersion: 1,
    clusterId: 'c',
    version: 1,
    shards: [],
    assignment: [map.shard],
    epochs: [map.epoch],
    moves: [],
    updatedAt: '',
  };
}
