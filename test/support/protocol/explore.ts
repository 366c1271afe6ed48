import type { Fault } from './faults.ts';
import { execute } from './statements.ts';
import type { Faults } from './statements.ts';
import { Seen } from './seen.ts';
import { idle, initialState, SHARDS, withAt } from './state.ts';
import type { At, Bounds, State } from './state.ts';
import { isSame, withWorker } from './turn.ts';
import type { Transition } from './turn.ts';
import { workerSteps } from './workers.ts';

export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  /** Undefined when every reachable state keeps all invariants and has a way on. */
  readonly violation: { readonly invariant: string; readonly trace: readonly string[] } | undefined;
  /** Whether all states within the bounds were seen. */
  readonly complete: boolean;
}

export interface ExploreOptions {
  readonly bounds: Bounds;
  readonly faults?: readonly Fault[];
  /** Gives up behind this many states; `complete` tells. */
  readonly maxStates: number;
}

/** Visits every state within the bounds, breadth first, so that a trace to a violation is a shortest one. */
export function explore(options: ExploreOptions): Exploration {
  const { bounds, maxStates } = options;
  const faults: Faults = new Set(options.faults ?? []);
  const seen = new Seen(initialState(bounds));
  let transitions = 0;
  const end = (complete: boolean, invariant?: string, at = 0): Exploration => ({
    states: seen.size,
    transitions,
    violation: invariant === undefined ? undefined : { invariant, trace: seen.traceTo(at) },
    complete,
  });
  for (let entry = seen.next(); entry !== undefined; entry = seen.next()) {
    if (seen.size >= maxStates) return end(false);
    const [index, state] = entry;
    for (const { label, state: after } of allSteps(state, bounds, faults)) {
      transitions += 1;
      const { at, isNew } = seen.add(after, index, label);
      const broken = isNew ? brokenInvariant(after) : undefined;
      if (broken !== undefined) return end(false, broken, at);
    }
  }
  const lost = seen.withoutWay();
  return lost === undefined ? end(true) : end(false, 'progress: no way to a settled bucket', lost);
}

/** Everything that anybody may do in a state. */
function allSteps(state: State, bounds: Bounds, faults: Faults): readonly Transition[] {
  const steps: Transition[] = [];
  for (const [index, worker] of state.workers.entries()) {
    steps.push(...workerSteps({ state, index, worker, faults, moves: bounds.moves }));
    if (worker.at === 'idle') continue;
    const dead = withWorker(state, index, idle(worker.kind));
    steps.push({ label: `${worker.kind} ${index} (${worker.at}) dies`, state: dead });
  }
  for (const [index, statement] of state.adrift.entries()) {
    const rest = { ...state, adrift: state.adrift.toSpliced(index, 1) };
    const effect = execute(rest, statement, faults);
    const label = `late: ${statement.kind}`;
    if (effect !== 'waits') steps.push({ label, state: effect.state });
  }
  for (const shard of SHARDS) steps.push(...ofShard(state, shard, bounds, faults));
  steps.push(...commits(state));
  return steps;
}

/** The end of a fence passes; whoever meets it lifts it; writers try, by whatever map they have. */
function ofShard(state: State, shard: At, bounds: Bounds, faults: Faults): readonly Transition[] {
  const steps: Transition[] = [];
  const row = state.own[shard];
  if (row.end === 'ahead') {
    const own = withAt(state.own, shard, { ...row, end: 'passed' });
    steps.push({ label: `the end of the fence at ${shard} passes`, state: { ...state, own } });
  }
  const lifted = execute(state, { kind: 'lift-expired', shard }, faults);
  if (lifted !== 'waits' && lifted.affected) {
    steps.push({ label: `a caller lifts the fence at ${shard}`, state: lifted.state });
  }
  const open =
    row.state === 'owned' || (row.state === 'fenced' && faults.has('writers-ignore-fence'));
  if (!open || state.writesLeft === 0 || state.writing.length >= bounds.writers) return steps;
  for (const [key, before] of state.rows[shard].entries()) {
    const changed = 10 - state.writesLeft;
    for (const value of before === 0 ? [changed] : [changed, 0]) {
      const kind = before === 0 ? 'insert' : value === 0 ? 'delete' : 'update';
      const writing = [...state.writing, { at: shard, key, value }];
      const label = `a writer finds ${shard} the owner: ${kind} of row ${key}`;
      steps.push({ label, state: { ...state, writing, writesLeft: state.writesLeft - 1 } });
    }
  }
  return steps;
}

function commits(state: State): readonly Transition[] {
  return state.writing.map((write, index) => {
    const rows = withAt(state.rows, write.at, state.rows[write.at].with(write.key, write.value));
    const expected = state.expected.with(write.key, write.value);
    const writing = state.writing.toSpliced(index, 1);
    const label = `the write of row ${write.key} at ${write.at} is acknowledged`;
    return { label, state: { ...state, rows, expected, writing } };
  });
}

/** The name of an invariant that does not hold, if one does not. See docs/protocol/bucket-move.md. */
function brokenInvariant(state: State): string | undefined {
  const owners = SHARDS.filter((shard) => isOwner(state, shard));
  if (owners.length > 1) return 'I1: two owners';
  if (state.writing.some((write) => state.own[write.at].state !== 'owned')) {
    return 'I1: a write is accepted by a shard that is not the owner';
  }
  const [owner] = owners;
  if (owner !== undefined && !isSame(state.rows[owner], state.expected)) {
    return "I2: the owner's rows are not what was acknowledged";
  }
  if (owner === undefined) {
    const target = SHARDS.find((shard) => isGiven(state, shard));
    if (target === undefined) return 'no owner, and nobody can become it';
    if (!state.rows.every((rows) => isSame(rows, state.expected))) {
      return 'verification: decided although the sides differ';
    }
    if (state.rec[target]?.verified !== true) return 'decided without a verification';
  }
  if (SHARDS.some((shard) => isAbsentWithRows(state, shard))) {
    return 'cancel: rows without an ownership row are left';
  }
  if (state.workers.some((worker) => worker.at === 'misled')) {
    return 'a move that is in order is told to be a contradiction';
  }
  return undefined;
}

function isOwner(state: State, shard: At): boolean {
  const row = state.own[shard];
  return row.state === 'owned' || (row.state === 'fenced' && row.end !== null);
}

/** Between the two rows of a switch: anybody may make `shard` the owner. */
function isGiven(state: State, shard: At): boolean {
  const [row, source] = [state.own[shard], state.own[shard === 0 ? 1 : 0]];
  const given = source.state === 'gone' && source.movedTo === shard;
  return row.state === 'receiving' && given && source.epoch === row.epoch + 1;
}

function isAbsentWithRows(state: State, shard: At): boolean {
  return state.own[shard].state === 'absent' && state.rows[shard].some((value) => value !== 0);
}
