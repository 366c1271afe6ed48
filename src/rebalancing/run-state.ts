import { assertNever } from '../kernel/exhaustive.ts';
import { isOver } from './run-model.ts';
import type {
  Decision,
  MoveEntry,
  Plan,
  Result,
  RunState,
  RunStatus,
  Verb,
  Wish,
} from './run-model.ts';
import { nextLanes } from './schedule.ts';
import type { MoveCaps } from './schedule.ts';

/** Failed tries in a row before a move is given up: some ten minutes. */
export const MAX_ATTEMPTS = 15;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;
/** Between looks at a shard that is under load. */
const THROTTLED_MS = 2_000;
/** A run that is paused or waits looks this often whether it should go on, if nobody wakes it. */
const LOOK_MS = 60_000;

export function newRunState(options: {
  readonly plan: Plan;
  readonly caps: MoveCaps;
  readonly nowMs: number;
}): RunState {
  return {
    formatVersion: 1,
    round: 0,
    decision: { kind: 'wait', ms: 0 },
    status: 'planned',
    caps: { ...options.caps },
    moves: options.plan.moves.map(({ bucket, from, to }) => ({
      bucket,
      from,
      to,
      state: 'waiting',
      attempts: 0,
      notBeforeMs: 0,
      lastError: null,
      stallMs: null,
      purge: 'none',
      rowsPurged: 0,
    })),
    throttled: null,
    startedAtMs: options.nowMs,
    finishedAtMs: null,
    purgeAtMs: null,
  };
}

export interface RoundInput {
  readonly round: number;
  readonly results: readonly Result[];
  readonly wish: Wish;
  readonly nowMs: number;
  /** How long old copies stay. */
  readonly purgeAfterMs: number;
}

/** The state after a round, with what is to be done next. Pure. */
export function nextRound(state: RunState, input: RoundInput): RunState {
  const { round, results, wish, nowMs } = input;
  const found = results.find((result) => result.throttled !== undefined)?.throttled ?? null;
  let moves = applyResults(state.moves, results, nowMs);
  if (wish === 'cancel' && !isOver(state.status)) moves = moves.map(cancelled);
  const status = isOver(state.status) ? state.status : statusOf(moves, wish);
  // What held it up is told until work was done again.
  const throttled = results.length === 0 ? state.throttled : found;
  let next: RunState = { ...state, round, moves, status, throttled };
  if (isOver(status) && state.finishedAtMs === null) {
    next = {
      ...next,
      finishedAtMs: nowMs,
      purgeAtMs: nowMs + input.purgeAfterMs,
      moves: moves.map((move) => (move.state === 'done' ? { ...move, purge: 'waiting' } : move)),
    };
  }
  const decision = found === null ? decide(next, nowMs) : throttledWait(next);
  return { ...next, decision, moves: begun(next.moves, decision) };
}

function throttledWait(state: RunState): Decision {
  const rest = decide(state, Number.POSITIVE_INFINITY);
  return rest.kind === 'work' ? { kind: 'wait', ms: THROTTLED_MS } : rest;
}

/** A move that ended in a final state is left as it is, whatever comes late. */
function applyResults(
  moves: readonly MoveEntry[],
  results: readonly Result[],
  nowMs: number,
): MoveEntry[] {
  const byBucket = new Map(results.map((result) => [result.bucket, result]));
  return moves.map((move) => {
    const result = byBucket.get(move.bucket);
    return result === undefined ? move : applyResult(move, result, nowMs);
  });
}

function applyResult(move: MoveEntry, result: Result, nowMs: number): MoveEntry {
  const rested = { ...move, attempts: 0, notBeforeMs: 0, lastError: null };
  switch (result.outcome) {
    case 'more':
      return { ...rested, rowsPurged: move.rowsPurged + (isDone(move) ? (result.rows ?? 0) : 0) };
    case 'throttled':
      return { ...rested, lastError: move.lastError };
    case 'done':
      if (isDone(move)) return move;
      return { ...rested, state: 'done', stallMs: result.stallMs ?? move.stallMs };
    case 'cancelled':
      if (isDone(move)) return move;
      // What made it fail is what a reader wants to know.
      return move.state === 'giving-up'
        ? { ...move, state: 'failed' }
        : { ...rested, state: 'cancelled' };
    case 'purged':
      return { ...rested, purge: 'done', rowsPurged: move.rowsPurged + (result.rows ?? 0) };
    case 'failed':
      return failedOnce(move, result.error ?? 'unknown', nowMs);
    default:
      return assertNever(result.outcome);
  }
}

const isDone = (move: MoveEntry): boolean => move.state === 'done';

function failedOnce(move: MoveEntry, error: string, nowMs: number): MoveEntry {
  const attempts = move.attempts + 1;
  const waitMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, 10));
  const again = { ...move, attempts, lastError: error, notBeforeMs: nowMs + waitMs };
  if (attempts < MAX_ATTEMPTS) return again;
  switch (move.state) {
    case 'moving':
      return { ...again, state: 'giving-up', attempts: 0, notBeforeMs: 0 };
    case 'giving-up':
    case 'cancelling':
      return { ...again, state: 'failed' };
    case 'done':
      return { ...again, purge: 'failed' };
    case 'waiting':
    case 'cancelled':
    case 'failed':
      return again;
    default:
      return assertNever(move.state);
  }
}

function cancelled(move: MoveEntry): MoveEntry {
  if (move.state === 'waiting') return { ...move, state: 'cancelled' };
  if (move.state !== 'moving') return move;
  return { ...move, state: 'cancelling', attempts: 0, notBeforeMs: 0 };
}

function statusOf(moves: readonly MoveEntry[], wish: Wish): RunStatus {
  const isOpen = moves.some((move) => verbOf(move) === 'move' || verbOf(move) === 'cancel');
  if (isOpen) {
    if (wish === 'cancel') return 'cancelling';
    return wish === 'pause' ? 'paused' : 'running';
  }
  if (moves.some((move) => move.state === 'failed')) return 'failed';
  return moves.some((move) => move.state === 'cancelled') ? 'cancelled' : 'completed';
}

/** What a move needs, or undefined. */
function verbOf(move: MoveEntry): Verb | undefined {
  switch (move.state) {
    case 'waiting':
    case 'moving':
      return 'move';
    case 'giving-up':
    case 'cancelling':
      return 'cancel';
    case 'done':
      return move.purge === 'waiting' ? 'purge' : undefined;
    case 'cancelled':
    case 'failed':
      return undefined;
    default:
      return assertNever(move.state);
  }
}

function decide(state: RunState, nowMs: number): Decision {
  if (state.status === 'paused') return { kind: 'wait', ms: LOOK_MS };
  const verbs: readonly Verb[] = isOver(state.status) ? ['purge'] : ['cancel', 'move'];
  let wakeAtMs = Number.POSITIVE_INFINITY;
  for (const verb of verbs) {
    const open = state.moves.filter((move) => verbOf(move) === verb);
    const due = verb === 'purge' ? (state.purgeAtMs ?? 0) : 0;
    const moves = open.map((move) => ({
      ...move,
      begun: move.state !== 'waiting',
      notBeforeMs: Math.max(move.notBeforeMs, due),
    }));
    const lanes = nextLanes(moves, state.caps, nowMs);
    if (lanes.length > 0) return { kind: 'work', verb, lanes: lanes.map((lane) => [...lane]) };
    wakeAtMs = Math.min(wakeAtMs, ...moves.map((move) => move.notBeforeMs));
  }
  if (wakeAtMs === Number.POSITIVE_INFINITY) return { kind: 'end' };
  return { kind: 'wait', ms: Math.ceil(Math.max(0, wakeAtMs - nowMs)) };
}

/** Marked before the work is handed out, so that a cancellation knows what may have been begun. */
function begun(moves: readonly MoveEntry[], decision: Decision): MoveEntry[] {
  if (decision.kind !== 'work' || decision.verb !== 'move') return [...moves];
  const handedOut = new Set(decision.lanes.flat());
  return moves.map((move) =>
    move.state === 'waiting' && handedOut.has(move.bucket) ? { ...move, state: 'moving' } : move,
  );
}
