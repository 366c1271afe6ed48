import type { ShardId } from '../../../src/kernel/ids.ts';
import { freshToken, sourceOf, targetOf } from './state.ts';
import type { Row, Rows, Worker } from './state.ts';
import { claimToken, goOn, idleAgain, isSame, send } from './turn.ts';
import type { Transition, Turn } from './turn.ts';

/** From the fence to the decision, as in `src/rebalancing/switch.ts`. */

export function sourceRow({ state, worker }: Turn): Row {
  return state.own[sourceOf(worker.move)];
}

export function sourceRows({ state, worker }: Turn): Rows {
  return state.rows[sourceOf(worker.move)];
}

export function decided({ worker }: Turn): { readonly epoch: number; readonly to: ShardId } {
  return { epoch: worker.epoch, to: targetOf(worker.move) as unknown as ShardId };
}

export function writeRows(
  turn: Turn,
  how: { readonly upsert: boolean; readonly phase: 'checking' | null },
  then: (worker: Worker) => Worker,
): readonly Transition[] {
  const { token, rows, move, fence: fenced } = turn.worker;
  const statement = {
    kind: 'write',
    shard: targetOf(move),
    rows,
    ...how,
    verified: false,
  } as const;
  return send(turn, { ...statement, token: token as number }, (worker, affected) => {
    if (affected) return then(worker);
    return fenced === null ? idleAgain(worker) : { ...worker, at: 'lift', rows: null };
  });
}

/** setFence: a token of its own for each try, so that one that comes late cannot pass for another. */
export function fence(turn: Turn): readonly Transition[] {
  const { state, worker, faults } = turn;
  const shard = sourceOf(worker.move);
  const reuse = faults.has('one-fence-token');
  const token = (reuse ? worker.tried : null) ?? freshToken(state);
  if (worker.tried !== null && state.adriftLeft > 0 && !reuse) return [];
  const statement = { kind: 'fence', shard, epoch: worker.epoch, token } as const;
  return send(
    turn,
    statement,
    (at, affected, after) => {
      const row = after.own[shard];
      const earlier = row.state === 'fenced' && at.tried !== null && row.token === at.tried;
      if (!affected && !earlier) return idleAgain(at);
      const fenced = affected ? token : at.tried;
      const next = faults.has('no-renewal') ? 'verify-read' : 'renew';
      return { ...at, at: next, fence: fenced, tried: null };
    },
    { tried: token },
  );
}

export function renew(turn: Turn): readonly Transition[] {
  const { state, worker } = turn;
  const shard = targetOf(worker.move);
  const token = claimToken(turn);
  const { move, token: held } = worker;
  const statement = { kind: 'claim', shard, move, token, held, toCancel: false } as const;
  return send(
    turn,
    statement,
    (at, affected, after) => {
      const row = after.own[shard];
      const earlier = row.state === 'receiving' && at.next !== null && row.token === at.next;
      if (!affected && !earlier) return { ...at, at: 'lift', token: null, next: null };
      return { ...at, at: 'verify-read', token: affected ? token : at.next, next: null };
    },
    // One earlier try is remembered, so no more than one is lost sight of.
    worker.next !== null && state.adriftLeft > 0 ? { at: 'lift', next: null } : { next: token },
  );
}

export function compare(turn: Turn, otherwise: string): readonly Transition[] {
  const { state, worker } = turn;
  const same = isSame(state.rows[targetOf(worker.move)], worker.rows as Rows);
  if (same) return goOn(turn, 'finds both equal', { at: 'record', rows: null });
  const rows = otherwise === 'lift' ? null : worker.rows;
  return goOn(turn, 'finds a difference', { at: otherwise, rows });
}

export function record(turn: Turn): readonly Transition[] {
  const { token, move } = turn.worker;
  const what = { rows: null, upsert: false, phase: 'checking', verified: true } as const;
  const statement = {
    kind: 'write',
    shard: targetOf(move),
    token: token as number,
    ...what,
  } as const;
  const next = turn.faults.has('target-first') ? 'take-first' : 'give';
  return send(turn, statement, (worker, affected) => ({
    ...worker,
    at: affected ? next : 'lift',
  }));
}

export function give(turn: Turn): readonly Transition[] {
  const { move, epoch, fence: token } = turn.worker;
  const statement = { kind: 'give', shard: sourceOf(move), epoch, token: token as number } as const;
  return send(turn, statement, (worker, affected) =>
    affected
      ? { ...worker, at: 'take', fence: null, token: null }
      : { ...worker, at: 'lift', token: null },
  );
}

export function lift(turn: Turn): readonly Transition[] {
  const { move, epoch, fence: token } = turn.worker;
  const statement = { kind: 'lift', shard: sourceOf(move), epoch, token: token as number } as const;
  return send(turn, statement, (worker) => ({ ...worker, at: 'lift-read', token: null }));
}
