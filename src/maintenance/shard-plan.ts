import { z } from 'zod';
import type { ShardId } from '../kernel/ids.ts';
import { MAX_SHARDS } from '../sharding/bucket-map.ts';
import { forecastUnit, type PastUnit } from './forecast.ts';
import {
  decisionSchema,
  figuresSummarySchema,
  shardAdviceSchema,
  tableNameSchema,
  unitOutcomeSchema,
} from './model.ts';
import type { Decision, FiguresSummary, Inspection, ShardAdvice, TableFigures } from './model.ts';
import type { Queue, UnitEntry } from './run-model.ts';
import { byAgeAndNeed, longestFit, withMemory } from './run-queue.ts';

const count = z.int().min(0);

/** One table in a run: what was seen, what is to be done and why, and how it went. */
const plannedTable = z.strictObject({
  table: tableNameSchema,
  decision: decisionSchema,
  figures: figuresSummarySchema,
  /** What the server did not tell. */
  unknown: z.array(z.string()),
  missed: count,
  forecastMs: count,
  forecastFrom: z.enum(['table', 'shard', 'guess']).nullable(),
  /** What it needs, and no window has the time for; the decision is then what is done instead. */
  neverFits: z.strictObject({ decision: decisionSchema, forecastMs: count }).nullable(),
  /** Of the last try. */
  attempt: count,
  outcome: unitOutcomeSchema.nullable(),
});
export type PlannedTable = z.infer<typeof plannedTable>;

/** Tables of one shard in one run: the document stays below half a megabyte. The rest keeps its place in the queue. */
export const MAX_TABLES = 300;
/** Of a reason that is kept: the figures it was decided by come first. */
const REASON_LENGTH = 400;

export const shardPlanSchema = z.strictObject({
  formatVersion: z.literal(1),
  shard: z
    .int()
    .min(0)
    .max(MAX_SHARDS - 1) as unknown as z.ZodType<ShardId>,
  engine: z.string(),
  serverVersion: z.string(),
  inspectedAtMs: z.number(),
  notes: z.array(z.string()),
  /** What needs work, first. */
  tables: z.array(plannedTable).max(MAX_TABLES),
  /** Not listed; of these the ones that need work, by name. */
  tablesLeftOut: count,
  needingLeftOut: z.array(tableNameSchema),
  advice: shardAdviceSchema,
});
export type ShardPlan = z.infer<typeof shardPlanSchema>;

/** Most names that are carried over past the bound. */
const MAX_LEFT_OUT = 2_000;

/** What a run does on a shard, from what was seen there. Pure. */
export function planShard(input: {
  readonly inspection: Inspection;
  readonly advice: ShardAdvice;
  readonly past: readonly PastUnit[];
  readonly queue: Queue;
  readonly windowMs: number;
  /** Null: all. */
  readonly tables: readonly string[] | null;
}): ShardPlan {
  const { inspection, advice, past, queue, windowMs, tables } = input;
  const { shard } = inspection;
  const asked = tables === null ? undefined : new Set(tables);
  const entries = new Map(queue.entries.map((entry) => [entry.table, entry]));
  const planned = inspection.tables
    .filter(({ figures }) => asked?.has(figures.table) ?? true)
    .map(({ figures, decision }) => {
      const entry = entries.get(figures.table);
      const fitted = fitDecision({ figures, decision, past, windowMs, entry });
      return { figures, missed: entry?.missed ?? 0, ...fitted };
    })
    .toSorted((a, b) => byWork({ shard, ...a }, { shard, ...b }));
  const left = planned.slice(MAX_TABLES);
  return {
    formatVersion: 1,
    shard,
    engine: inspection.engine,
    serverVersion: inspection.serverVersion,
    inspectedAtMs: inspection.inspectedAtMs,
    notes: inspection.notes,
    tables: planned.slice(0, MAX_TABLES).map(({ figures, missed, ...rest }) => ({
      table: figures.table,
      figures: summarise(figures),
      unknown: figures.unknown,
      missed,
      ...rest,
      attempt: 0,
      outcome: null,
    })),
    tablesLeftOut: left.length + inspection.tablesLeftOut,
    needingLeftOut: left
      .filter(({ decision }) => decision.action !== 'none')
      .map(({ figures }) => figures.table)
      .slice(0, MAX_LEFT_OUT),
    advice,
  };
}

interface Ordered {
  readonly shard: ShardId;
  readonly decision: Decision;
  readonly missed: number;
  readonly figures: TableFigures;
}

function byWork(a: Ordered, b: Ordered): number {
  const idle = (table: Ordered): number => (table.decision.action === 'none' ? 1 : 0);
  const keys = ({ shard, decision, missed, figures }: Ordered) => ({
    shard,
    missed,
    need: decision.need,
    table: figures.table,
  });
  return idle(a) - idle(b) || byAgeAndNeed(keys(a), keys(b));
}

type Fitted = Pick<PlannedTable, 'decision' | 'forecastMs' | 'forecastFrom' | 'neverFits'>;

/** What fits into no window is told, and the table gets fresh statistics instead. */
function fitDecision(input: {
  readonly figures: TableFigures;
  readonly decision: Decision;
  readonly past: readonly PastUnit[];
  readonly windowMs: number;
  readonly entry: Queue['entries'][number] | undefined;
}): Fitted {
  const { figures, past, windowMs, entry } = input;
  const decision = shortened(input.decision);
  const { table } = figures;
  const bytes = figures.dataBytes + figures.indexBytes;
  const { action } = decision;
  if (action === 'none') {
    return { decision, forecastMs: 0, forecastFrom: null, neverFits: null };
  }
  const forecast = forecastUnit({ table, action, bytes }, past);
  const forecastMs = withMemory(forecast.ms, action === 'analyze' ? undefined : entry);
  const fits = forecastMs <= longestFit(windowMs);
  if (fits || action === 'analyze') {
    return { decision, forecastMs, forecastFrom: forecast.from, neverFits: null };
  }
  const instead = forecastUnit({ table, action: 'analyze', bytes }, past);
  const reason = `A ${action} would take about ${minutes(forecastMs)}, and the window is ${minutes(windowMs)}: it is never begun, and the statistics are renewed instead. ${decision.reason}`;
  return {
    decision: shortened({ ...decision, action: 'analyze', columns: [], reason }),
    forecastMs: instead.ms,
    forecastFrom: instead.from,
    neverFits: { decision, forecastMs },
  };
}

function shortened(decision: Decision): Decision {
  return { ...decision, reason: decision.reason.slice(0, REASON_LENGTH) };
}

function minutes(ms: number): string {
  return ms < 90_000 ? `${Math.ceil(ms / 1_000)} s` : `${Math.ceil(ms / 60_000)} min`;
}

function summarise(figures: TableFigures): FiguresSummary {
  const { rows, statisticsRows, dataBytes, indexBytes, indexes, waste, changedRows } = figures;
  const pages = indexes.reduce((sum, index) => sum + index.pages, 0);
  return { rows, statisticsRows, dataBytes, indexBytes, pages, waste, changedRows };
}

/** The units of a plan. Pure. */
export function unitsOf(plan: ShardPlan): UnitEntry[] {
  return plan.tables
    .filter(({ decision }) => decision.action !== 'none')
    .map(({ table, decision, missed, forecastMs }) => ({
      shard: plan.shard,
      table,
      action: decision.action,
      need: decision.need,
      missed,
      forecastMs,
      state: 'waiting',
      code: null,
      attempts: 0,
      notBeforeMs: 0,
      durationMs: null,
      retry: false,
    }));
}

/** All tables of the shard that need work, also those past the bound. Pure. */
export function needingOf(plan: ShardPlan): string[] {
  return [...unitsOf(plan).map(({ table }) => table), ...plan.needingLeftOut];
}
