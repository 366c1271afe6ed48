import { isGivenAway } from '../../../src/database/ownership.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { fenceStateOf, other, SHARDS, sourceOf, targetOf } from './state.ts';
import type { Row } from './state.ts';
import { claimToken, goOn, idleAgain, send } from './turn.ts';
import type { Program, Transition, Turn } from './turn.ts';

/**
 * Cancelling (`src/rebalancing/cancel.ts`), callers that do a dead mover's work (`src/database/mend-bucket.ts`; lifting
 * is one statement and lies in `explore.ts`), purging (`src/rebalancing/purge.ts`).
 */
export const SIDE_PROGRAMS: Program = {
  canceller: ({ state, ...turn }) => {
    if (state.cancelsLeft === 0) return [];
    const begun = { ...turn, state: { ...state, cancelsLeft: state.cancelsLeft - 1 } };
    const move = state.map.epoch - 1;
    return goOn(begun, `begins to cancel move ${move}`, { at: 'mark', move });
  },
  mark: (turn) => mark(turn),
  'cancel-read': (turn) => cancelRead(turn),
  'cancel-lift': (turn) => {
    const { move, epoch, fence } = turn.worker;
    const token = fence as number;
    const statement = { kind: 'lift', shard: sourceOf(move), epoch, token } as const;
    return send(turn, statement, (worker) => ({ ...worker, at: 'cancel-check', fence: null }));
  },
  'cancel-check': (turn) => cancelCheck(turn),
  unmark: (turn) => {
    const { move } = turn.worker;
    const statement = { kind: 'unmark', shard: targetOf(move), move } as const;
    return send(turn, statement, (worker) => idleAgain(worker));
  },
  'delete-copy': (turn) => removal(turn, 'delete-copy', 'send-back'),
  'send-back': (turn) => removal(turn, 'send-back', 'idle'),
  healer: (turn) => healerStarts(turn),
  'heal-source': (turn) => healerLooks(turn),
  'heal-take': (turn) => {
    const { move, epoch } = turn.worker;
    const statement = { kind: 'take', shard: targetOf(move), epoch } as const;
    return send(turn, statement, (worker) => idleAgain(worker));
  },
  purger: (turn) => purgerStarts(turn),
  'purge-owner': (turn) => purgerLooks(turn),
  purge: (turn) => {
    const { move, epoch } = turn.worker;
    const statement = { kind: 'purge', shard: sourceOf(move), epoch } as const;
    return send(turn, statement, (worker) => idleAgain(worker));
  },
};

function mark(turn: Turn): readonly Transition[] {
  const token = claimToken(turn);
  const { move } = turn.worker;
  const shard = targetOf(move);
  const statement = { kind: 'claim', shard, move, token, held: null, toCancel: true } as const;
  return send(
    turn,
    statement,
    (at, affected, after) => {
      const rec = after.rec[shard];
      if (!affected || rec === null) return idleAgain(at);
      return { ...at, at: 'cancel-read', token, next: null, epoch: rec.epoch };
    },
    turn.faults.has('one-claim-token') ? { next: token } : {},
  );
}

function cancelRead(turn: Turn): readonly Transition[] {
  const { state, worker, faults } = turn;
  const row = state.own[sourceOf(worker.move)];
  const fenced = row.state === 'fenced' && row.epoch === worker.epoch;
  return fenced && !faults.has('cancel-without-lift')
    ? goOn(turn, 'finds a fence', { at: 'cancel-lift', fence: row.token })
    : goOn(turn, 'finds no fence', { at: 'cancel-check' });
}

function cancelCheck(turn: Turn): readonly Transition[] {
  const { state, worker } = turn;
  const { move, epoch } = worker;
  const row = fenceStateOf(state.own[sourceOf(move)]);
  const decided = isGivenAway(row, { epoch, to: targetOf(move) as unknown as ShardId });
  return decided && !turn.faults.has('cancel-decided')
    ? goOn(turn, 'is too late', { at: 'unmark', token: null })
    : goOn(turn, 'may delete', { at: 'delete-copy' });
}

function removal(
  turn: Turn,
  kind: 'delete-copy' | 'send-back',
  next: 'send-back' | 'idle',
): readonly Transition[] {
  const { move, token } = turn.worker;
  const statement = { kind, shard: targetOf(move), token: token as number } as const;
  return send(turn, statement, (worker, affected) =>
    affected && next === 'send-back' ? { ...worker, at: next } : idleAgain(worker),
  );
}

/** Refused by a shard that receives the bucket. `move` stands for the direction in which it was sent there. */
function healerStarts(turn: Turn): readonly Transition[] {
  return SHARDS.flatMap((shard) => {
    const { state, epoch } = turn.state.own[shard];
    if (state !== 'receiving') return [];
    const at = turn.faults.has('heal-unseen') ? 'heal-take' : 'heal-source';
    return goOn(turn, `finds shard ${shard} receiving`, { at, move: shard === 1 ? 0 : 1, epoch });
  });
}

function healerLooks(turn: Turn): readonly Transition[] {
  const { worker } = turn;
  const to = targetOf(worker.move);
  const row: Row = turn.state.own[other(to)];
  const given = turn.faults.has('heal-without-epoch')
    ? row.state === 'gone' && row.movedTo === to
    : isGivenAway(fenceStateOf(row), { epoch: worker.epoch, to: to as unknown as ShardId });
  return given
    ? goOn(turn, 'finds it decided', { at: 'heal-take' })
    : goOn(turn, 'finds it undecided', idleAgain(worker));
}

function purgerStarts(turn: Turn): readonly Transition[] {
  return SHARDS.flatMap((shard) => {
    const { state, epoch } = turn.state.own[shard];
    if (state !== 'gone') return [];
    const at = turn.faults.has('purge-unverified') ? 'purge' : 'purge-owner';
    return goOn(turn, `finds shard ${shard} gone`, { at, move: shard, epoch });
  });
}

/** hasLaterOwner, with two shards. */
function purgerLooks(turn: Turn): readonly Transition[] {
  const { worker } = turn;
  const { state, epoch } = turn.state.own[targetOf(worker.move)];
  const owns = (state === 'owned' || state === 'fenced') && epoch >= worker.epoch;
  return owns
    ? goOn(turn, 'finds the owner', { at: 'purge' })
    : goOn(turn, 'finds no owner', idleAgain(worker));
}
