import type { ShardId } from '../kernel/ids.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import type { UnitCode } from './model.ts';
import { isOver, MAX_UNITS } from './run-model.ts';
import type {
  MaintenanceRequest,
  Next,
  Result,
  RunState,
  ShardEntry,
  UnitEntry,
  Wish,
} from './run-model.ts';
import { byAgeAndNeed, unitsToBegin } from './run-queue.ts';

/** Looks at shards at once: each is a few reads. */
const INSPECT_AT_ONCE = 4;
/** A shard that is away is tried for some minutes, beside the work on others. */
const MAX_LOOKS = 4;
const FIRST_LOOK_AGAIN_MS = 5_000;
const MAX_LOOK_AGAIN_MS = 60_000;

/** What was in the way of the unit may be gone in a while; other skips stay for the night. */
const PASSING: ReadonlySet<UnitCode> = new Set([
  'lock-busy',
  'long-transaction',
  'metadata-lock',
  'moves-running',
  'replica-lag',
  'under-load',
  'shard-unavailable',
]);

export function newRunState(options: {
  readonly by: RunState['by'];
  readonly request: MaintenanceRequest;
  readonly shards: readonly ShardId[];
  readonly caps: RunState['caps'];
  readonly nowMs: number;
  readonly windowEndsAtMs: number;
}): RunState {
  const { request } = options;
  return {
    formatVersion: 1,
    round: 0,
    next: { kind: 'wait', ms: 0 },
    status: 'running',
    by: options.by,
    dryRun: request.dryRun,
    force: request.force,
    tables: request.tables ?? null,
    caps: options.caps,
    shards: options.shards.map((shard) => ({
      shard,
      state: 'waiting',
      attempts: 0,
      notBeforeMs: 0,
      error: null,
    })),
    units: [],
    unitsLeftOut: 0,
    startedAtMs: options.nowMs,
    windowEndsAtMs: options.windowEndsAtMs,
    finishedAtMs: null,
  };
}

export interface RoundInput {
  readonly round: number;
  readonly results: readonly Result[];
  /** Units of the shards that were looked at in this round. */
  readonly planned: readonly UnitEntry[];
  readonly wish: Wish;
  readonly nowMs: number;
}

/** The state after a round, with what is to be done next. Pure. */
export function nextRound(state: RunState, input: RoundInput): RunState {
  const { round, results, nowMs, wish } = input;
  if (isOver(state.status)) return { ...state, round, next: { kind: 'end' } };
  let next: RunState = {
    ...state,
    round,
    shards: state.shards.map((entry) => afterLook(entry, results, nowMs)),
    ...withPlanned(state, input.planned),
  };
  next = { ...next, units: next.units.map((unit) => afterTry(unit, results, next, nowMs)) };
  if (wish === 'cancel') next = cancelled(next);
  if (results.some(({ kind }) => kind === 'finished')) {
    return { ...next, status: endStatusOf(next), finishedAtMs: nowMs, next: { kind: 'end' } };
  }
  const decision = decide(next, nowMs);
  return { ...next, units: settled(next, decision), next: decision };
}

function withPlanned(
  state: RunState,
  planned: readonly UnitEntry[],
): Pick<RunState, 'units' | 'unitsLeftOut'> {
  if (planned.length === 0) return { units: state.units, unitsLeftOut: state.unitsLeftOut };
  const known = new Set(state.units.map(({ shard, table }) => `${shard}/${table}`));
  const added = planned.filter(({ shard, table }) => !known.has(`${shard}/${table}`));
  const begun = state.units.filter(({ attempts }) => attempts > 0);
  const open = [...state.units.filter(({ attempts }) => attempts === 0), ...added];
  const room = Math.max(0, MAX_UNITS - begun.length);
  return {
    units: [...begun, ...open.toSorted(byAgeAndNeed).slice(0, room)],
    unitsLeftOut: state.unitsLeftOut + Math.max(0, open.length - room),
  };
}

function afterLook(entry: ShardEntry, results: readonly Result[], nowMs: number): ShardEntry {
  const result = results.find((found) => found.kind === 'shard' && found.shard === entry.shard);
  if (result?.kind !== 'shard' || entry.state !== 'waiting') return entry;
  const attempts = entry.attempts + 1;
  if (result.ok) return { ...entry, state: 'inspected', attempts, error: null };
  const error = result.error ?? 'The shard could not be looked at.';
  const waitMs = Math.min(MAX_LOOK_AGAIN_MS, FIRST_LOOK_AGAIN_MS * 2 ** (attempts - 1));
  if (attempts >= MAX_LOOKS) return { ...entry, state: 'away', attempts, error };
  return { ...entry, attempts, error, notBeforeMs: nowMs + waitMs };
}

function afterTry(
  unit: UnitEntry,
  results: readonly Result[],
  { caps }: Pick<RunState, 'caps'>,
  nowMs: number,
): UnitEntry {
  if (unit.state !== 'running') return unit;
  const result = results.find(
    (found) => found.kind === 'unit' && found.shard === unit.shard && found.table === unit.table,
  );
  // Handed out, and the orchestration that waited for it was started again: what it did is asked for once more.
  if (result?.kind !== 'unit') return { ...unit, state: 'waiting', attempts: unit.attempts - 1 };
  const { status, code, retry, durationMs } = result;
  const tried = { ...unit, code, retry, durationMs };
  switch (status) {
    case 'done':
    case 'unneeded':
      return { ...tried, state: status };
    case 'failed':
    case 'abandoned':
      return { ...tried, state: 'failed' };
    case 'skipped':
      if (code === 'window-over') return { ...tried, state: 'put-off' };
      return PASSING.has(code) && unit.attempts < caps.tries
        ? { ...tried, state: 'waiting', notBeforeMs: nowMs + caps.retryMs }
        : { ...tried, state: 'skipped' };
    default:
      return assertNever(status);
  }
}

function cancelled(state: RunState): RunState {
  return {
    ...state,
    status: 'cancelling',
    shards: state.shards.map((entry) =>
      entry.state === 'waiting'
        ? { ...entry, state: 'away', error: 'The run was cancelled.' }
        : entry,
    ),
    units: state.units.map((unit) =>
      unit.state === 'waiting' ? { ...unit, state: 'cancelled' } : unit,
    ),
  };
}

/** How a run ends that has nothing left to do. Pure. */
export function endStatusOf(state: RunState): RunState['status'] {
  if (state.status === 'cancelling') return 'cancelled';
  return state.shards.every((entry) => entry.state === 'away') ? 'failed' : 'completed';
}

function decide(state: RunState, nowMs: number): Next {
  const looks = state.shards.filter(({ state: at }) => at === 'waiting');
  const due = looks.filter(({ notBeforeMs }) => notBeforeMs <= nowMs).slice(0, INSPECT_AT_ONCE);
  if (due.length > 0) return { kind: 'inspect', shards: due.map(({ shard }) => shard) };
  const { units, caps, windowEndsAtMs, startedAtMs } = state;
  const open = state.dryRun ? [] : units.filter((unit) => unit.state === 'waiting');
  const slots = { shards: caps.shards, nowMs, windowEndsAtMs, windowStartsAtMs: startedAtMs };
  const begin = state.dryRun ? [] : unitsToBegin(units, slots);
  if (begin.length > 0) {
    const refs = begin.map(({ shard, table, attempts }) => ({
      shard,
      table,
      attempt: attempts + 1,
    }));
    return { kind: 'work', units: refs };
  }
  // Also a unit that waits for another try is worth waiting for only when it would still fit then.
  const later = open.filter(
    (unit) => unit.notBeforeMs > nowMs && unit.notBeforeMs + unit.forecastMs <= windowEndsAtMs,
  );
  const wakes = [...looks, ...later].map(({ notBeforeMs }) => notBeforeMs);
  if (wakes.length === 0) return { kind: 'finish' };
  return { kind: 'wait', ms: Math.ceil(Math.max(0, Math.min(...wakes) - nowMs)) };
}

/** Marked before the work is handed out; at the end, what is left waits for another night. */
function settled({ units, dryRun }: Pick<RunState, 'units' | 'dryRun'>, next: Next): UnitEntry[] {
  if (next.kind === 'finish' && !dryRun) {
    return units.map((unit): UnitEntry => {
      if (unit.state !== 'waiting') return unit;
      // A try that found something in its way says more than that there was no time for another.
      return { ...unit, state: unit.code === null ? 'put-off' : 'skipped' };
    });
  }
  if (next.kind !== 'work') return [...units];
  return units.map((unit) =>
    next.units.some(({ shard, table }) => shard === unit.shard && table === unit.table)
      ? { ...unit, state: 'running', attempts: unit.attempts + 1 }
      : unit,
  );
}
