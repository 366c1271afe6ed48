import type { ShardId } from '../kernel/ids.ts';
import { MAX_QUEUED } from './run-model.ts';
import type { Queue, QueueEntry, RunState, UnitEntry } from './run-model.ts';

/**
 * Who comes first, over nights. A unit that needs work and got no turn has missed a run; who missed more goes first, and
 * only then who needs it more. So a unit waits for those that wait as long as it does, and for no others.
 */

/** The order of units; a sort comparator. Pure. */
export function byAgeAndNeed(
  a: Pick<UnitEntry, 'missed' | 'need' | 'shard' | 'table'>,
  b: Pick<UnitEntry, 'missed' | 'need' | 'shard' | 'table'>,
): number {
  if (a.missed !== b.missed) return b.missed - a.missed;
  if (a.need !== b.need) return b.need - a.need;
  if (a.shard !== b.shard) return a.shard - b.shard;
  return a.table < b.table ? -1 : 1;
}

/** Of the window, what is left for looking at the shards first. */
const FIT_SHARE = 0.9;

/** The longest forecast that a window can take at all. Pure. */
export function longestFit(windowMs: number): number {
  return Math.floor(windowMs * FIT_SHARE);
}

export interface Slots {
  readonly shards: number;
  readonly nowMs: number;
  readonly windowStartsAtMs: number;
  readonly windowEndsAtMs: number;
}

/**
 * What is begun now: the first in order, one per shard, that will be through within the window. Pure. The first unit of a
 * run is measured by the whole window: however long it took to look at the shards, what fits at all is begun some night.
 */
export function unitsToBegin(units: readonly UnitEntry[], slots: Slots): UnitEntry[] {
  const { nowMs, windowStartsAtMs, windowEndsAtMs } = slots;
  const leftMs = windowEndsAtMs - nowMs;
  if (leftMs <= 0) return [];
  const nothingBegun = units.every(({ attempts }) => attempts === 0);
  const limitMs = nothingBegun
    ? Math.max(leftMs, longestFit(windowEndsAtMs - windowStartsAtMs))
    : leftMs;
  const ready = units
    .filter(({ state, notBeforeMs }) => state === 'waiting' && notBeforeMs <= nowMs)
    .filter(({ forecastMs }) => forecastMs <= limitMs)
    .toSorted(byAgeAndNeed);
  const picked = new Map<ShardId, UnitEntry>();
  for (const unit of ready) {
    if (picked.size >= slots.shards) break;
    if (!picked.has(unit.shard)) picked.set(unit.shard, unit);
  }
  return [...picked.values()];
}

/** How much longer than it was seen to take a stopped statement is believed to take. */
const STOPPED_MARGIN = 1.5;

/** The forecast of a unit that was stopped once: at least so much. Pure. */
export function withMemory(forecastMs: number, entry: QueueEntry | undefined): number {
  return Math.max(forecastMs, Math.ceil((entry?.leastMs ?? 0) * STOPPED_MARGIN));
}

/**
 * The queue of a shard after a run. Pure, and idempotent by the run's id. Kept: what got no turn (put off, in the way of
 * something, past a bound, or its shard was away). What was done, not needed or failed had its turn. `needing`: all tables
 * of the shard that need work, also those past the bound of a run; undefined when it could not be looked at.
 */
export function queueAfter(
  queue: Queue,
  run: { readonly runId: string; readonly state: RunState; readonly shard: ShardId },
  needing: readonly string[] | undefined,
): Queue {
  const { runId, state, shard } = run;
  if (queue.runId === runId || state.dryRun) return queue;
  const before = new Map(queue.entries.map((entry) => [entry.table, entry]));
  const units = new Map(
    state.units.filter((unit) => unit.shard === shard).map((unit) => [unit.table, unit]),
  );
  const asked = state.tables === null ? undefined : new Set(state.tables);
  const isAsked = (table: string): boolean => asked === undefined || asked.has(table);
  const names = new Set([...before.keys(), ...(needing ?? [])]);
  const needed = needing === undefined ? undefined : new Set(needing);
  const entries: QueueEntry[] = [];
  for (const table of names) {
    const old = before.get(table) ?? { table, missed: 0, leastMs: null };
    if (!isAsked(table)) entries.push(old);
    else if (needed === undefined) entries.push({ ...old, missed: old.missed + 1 });
    else if (needed.has(table)) entries.push(...afterTurn(old, units.get(table)));
  }
  const kept = entries.toSorted((a, b) => b.missed - a.missed).slice(0, MAX_QUEUED);
  return { formatVersion: 1, runId, entries: kept };
}

function afterTurn(old: QueueEntry, unit: UnitEntry | undefined): QueueEntry[] {
  if (unit === undefined) return [{ ...old, missed: old.missed + 1 }];
  const leastMs =
    unit.code === 'time-up' ? Math.max(old.leastMs ?? 0, unit.durationMs ?? 0) : old.leastMs;
  // What is known of its time is kept until it got through.
  const rested = leastMs === null ? [] : [{ ...old, missed: 0, leastMs }];
  switch (unit.state) {
    case 'done':
      return unit.action === 'analyze' ? rested : [];
    case 'unneeded':
    case 'failed':
      return rested;
    case 'cancelled':
      return [old];
    case 'skipped':
      return unit.retry ? [{ ...old, missed: old.missed + 1, leastMs }] : rested;
    case 'waiting':
    case 'running':
    case 'put-off':
      return [{ ...old, missed: old.missed + 1, leastMs }];
  }
}
