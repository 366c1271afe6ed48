import type { ShardId } from '../../../src/kernel/ids.ts';
import { queueAfter } from '../../../src/maintenance/run-queue.ts';
import type { Queue, Result, RunState } from '../../../src/maintenance/run-model.ts';
import { requestSchema } from '../../../src/maintenance/run-model.ts';
import { newRunState, nextRound } from '../../../src/maintenance/run-state.ts';
import {
  needingOf,
  planShard,
  unitsOf,
  type ShardPlan,
} from '../../../src/maintenance/shard-plan.ts';
import type { PastUnit } from '../../../src/maintenance/forecast.ts';
import { inspectionOf, noAdvice, type TestTable } from './tables.ts';

/** Nights of maintenance without a server: the pure parts, a clock, and tables that take their time. */
export interface Nights {
  readonly queues: Map<number, Queue>;
  readonly past: PastUnit[];
  nights: number;
}

export const newNights = (): Nights => ({ queues: new Map(), past: [], nights: 0 });

const EMPTY: Queue = { formatVersion: 1, runId: null, entries: [] };
const MAX_ROUNDS = 10_000;

export interface Night {
  readonly state: RunState;
  readonly plans: readonly ShardPlan[];
  /** `shard/table` in the order in which they were begun. */
  readonly begun: readonly string[];
  /** Shards worked on at once, round by round. */
  readonly waves: readonly (readonly number[])[];
  readonly endedAtMs: number;
}

/** One night; what was done needs nothing more until a test says so. */
export function playNight(
  nights: Nights,
  tables: readonly TestTable[],
  options: {
    readonly windowMs: number;
    readonly shardsAtOnce?: number;
    readonly away?: readonly number[];
    /** Instead of its success. */
    readonly outcome?: (unit: string) => Partial<Extract<Result, { kind: 'unit' }>> | undefined;
  },
): Night {
  nights.nights += 1;
  const runId = `night-${nights.nights}`;
  let nowMs = nights.nights * 86_400_000;
  const shards = [...new Set(tables.map(({ shard }) => shard))].toSorted((a, b) => a - b);
  const takes = new Map(tables.map((entry) => [`${entry.shard}/${entry.table}`, entry]));
  let state = newRunState({
    by: 'timer',
    request: requestSchema.parse({}),
    shards: shards as ShardId[],
    caps: { shards: options.shardsAtOnce ?? 1, tries: 2, retryMs: 60_000 },
    nowMs,
    windowEndsAtMs: nowMs + options.windowMs,
  });
  const plans: ShardPlan[] = [];
  const begun: string[] = [];
  const waves: number[][] = [];
  let results: Result[] = [];
  let planned: ReturnType<typeof unitsOf> = [];
  for (let round = 1; round <= MAX_ROUNDS; round += 1) {
    state = nextRound(state, { round, results, planned, wish: 'run', nowMs });
    const { next } = state;
    results = [];
    planned = [];
    switch (next.kind) {
      case 'end':
        return { state, plans, begun, waves, endedAtMs: nowMs };
      case 'wait':
        nowMs += next.ms;
        break;
      case 'finish':
        for (const shard of shards) {
          const plan = plans.find((found) => found.shard === shard);
          const run = { runId, state, shard: shard as ShardId };
          const queue = nights.queues.get(shard) ?? EMPTY;
          nights.queues.set(shard, queueAfter(queue, run, plan && needingOf(plan)));
        }
        results = [{ kind: 'finished' }];
        break;
      case 'inspect':
        for (const shard of next.shards) {
          const ok = !(options.away ?? []).includes(shard);
          results.push({ kind: 'shard', shard, ok });
          if (!ok) continue;
          const plan = planShard({
            inspection: inspectionOf(
              shard,
              tables.filter((entry) => entry.shard === shard),
            ),
            advice: noAdvice(shard),
            past: nights.past,
            queue: nights.queues.get(shard) ?? EMPTY,
            windowMs: options.windowMs,
            tables: null,
          });
          plans.push(plan);
          planned.push(...unitsOf(plan));
        }
        nowMs += 500;
        break;
      case 'work': {
        let longestMs = 0;
        waves.push(next.units.map(({ shard }) => shard));
        for (const { shard, table } of next.units) {
          const key = `${shard}/${table}`;
          begun.push(key);
          const unit = state.units.find((u) => u.shard === shard && u.table === table);
          const full = takes.get(key)?.takesMs ?? 0;
          const durationMs = unit?.action === 'analyze' ? 10 : full;
          longestMs = Math.max(longestMs, durationMs);
          results.push({
            kind: 'unit',
            shard,
            table,
            status: 'done',
            code: 'done',
            retry: false,
            durationMs,
            ...options.outcome?.(key),
          });
        }
        nowMs += longestMs;
        break;
      }
    }
  }
  throw new Error('the night has no end');
}
