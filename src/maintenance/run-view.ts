import { z } from 'zod';
import { adviceSchema, decisionSchema, figuresSummarySchema, unitOutcomeSchema } from './model.ts';
import {
  isOver,
  runStatusSchema,
  UNIT_STATES,
  type RunState,
  type UnitEntry,
} from './run-model.ts';
import type { PlannedTable, ShardPlan } from './shard-plan.ts';

/** What is shown of a run, over HTTP and in its report. */

const count = z.int().min(0);
const time = z.string().meta({ format: 'date-time' });
const outcome = unitOutcomeSchema.shape;

export const tableViewSchema = z
  .object({
    shard: z.int(),
    table: z.string(),
    action: decisionSchema.shape.action,
    code: decisionSchema.shape.code,
    reason: z.string(),
    need: z.number().meta({ description: '1 is a threshold just reached.' }),
    missed: count.meta({ description: 'Runs in a row that left it out before this one.' }),
    forecastMs: count,
    neverFits: z
      .object({ action: decisionSchema.shape.action, forecastMs: count })
      .nullable()
      .meta({ description: 'What it needs, and no window is long enough for.' }),
    state: z.enum(['left-alone', ...UNIT_STATES]).meta({
      description:
        'left-alone: nothing is needed. put-off: no time in this window; it goes first in the next run.',
    }),
    attempts: count,
    before: figuresSummarySchema,
    after: figuresSummarySchema.nullable(),
    durationMs: count.nullable(),
    outcome: z
      .object({
        status: outcome.status,
        code: outcome.code,
        reason: outcome.reason,
        statementMs: outcome.statementMs,
        blockedOthersMs: outcome.blockedOthersMs,
        notes: outcome.notes,
      })
      .nullable(),
  })
  .meta({ id: 'MaintenanceTable' });
export type TableView = z.infer<typeof tableViewSchema>;

const shardView = z.object({
  shard: z.int(),
  state: z.enum(['waiting', 'inspected', 'away']),
  error: z.string().nullable(),
  engine: z.string().nullable(),
  serverVersion: z.string().nullable(),
  tables: count.nullable(),
  tablesLeftOut: count,
  notes: z.array(z.string()),
});
export type ShardView = z.infer<typeof shardView>;

export const runViewSchema = z
  .object({
    maintenanceId: z.string(),
    status: runStatusSchema,
    by: z.enum(['timer', 'operator']),
    dryRun: z.boolean(),
    force: z.boolean(),
    startedAt: time,
    windowEndsAt: time.meta({ description: 'Nothing is begun after it.' }),
    finishedAt: time.nullable(),
    progress: z.object({
      shardsInspected: count,
      shards: count,
      unitsDone: count.meta({ description: 'Ended in whatever way.' }),
      units: count.meta({ description: 'Tables that need work, on the shards looked at so far.' }),
      unitsLeftOut: count.meta({ description: 'More than one run takes; they keep their place.' }),
      rate: z.number().meta({ description: 'Units per minute since the start.' }),
      etaSeconds: z.number().nullable().meta({ description: 'By the forecasts of what is left.' }),
    }),
    counts: z.record(z.enum(UNIT_STATES), count),
    neverFit: count.meta({ description: 'Tables whose work no window is long enough for.' }),
  })
  .meta({ id: 'MaintenanceRun' });
export type RunView = z.infer<typeof runViewSchema>;

export const pageViewSchema = runViewSchema
  .extend({
    shards: z.array(shardView),
    tables: z.array(tableViewSchema),
    nextCursor: z.string().nullable().meta({ description: 'Send it as `cursor` for more tables.' }),
    advice: z
      .array(adviceSchema.extend({ shard: z.int() }))
      .meta({ description: 'About indexes, for people; nothing is done about it.' }),
    adviceLeftOut: count,
    report: z.string().nullable().meta({ description: 'Blob in the container `maintenance`.' }),
  })
  .meta({ id: 'Maintenance' });
export type PageView = z.infer<typeof pageViewSchema>;

/** Of the state alone. Pure. */
export function viewRun(
  maintenanceId: string,
  state: RunState,
  neverFit: number,
  nowMs: number,
): RunView {
  const { units, shards } = state;
  const isOpen = ({ state: at }: UnitEntry): boolean => at === 'waiting' || at === 'running';
  const counts = Object.fromEntries(
    UNIT_STATES.map((name) => [name, units.filter((unit) => unit.state === name).length]),
  ) as RunView['counts'];
  const open = units.filter(isOpen);
  const endMs = state.finishedAtMs ?? nowMs;
  const minutes = Math.max(endMs - state.startedAtMs, 1) / 60_000;
  const unitsDone = units.length - open.length;
  return {
    maintenanceId,
    status: state.status,
    by: state.by,
    dryRun: state.dryRun,
    force: state.force,
    startedAt: timeOf(state.startedAtMs),
    windowEndsAt: timeOf(state.windowEndsAtMs),
    finishedAt: state.finishedAtMs === null ? null : timeOf(state.finishedAtMs),
    progress: {
      shardsInspected: shards.filter((entry) => entry.state === 'inspected').length,
      shards: shards.length,
      unitsDone,
      units: units.length,
      unitsLeftOut: state.unitsLeftOut,
      rate: Math.round((unitsDone / minutes) * 10) / 10,
      etaSeconds: isOver(state.status) || state.dryRun ? null : etaOf(open, state.caps.shards),
    },
    counts,
    neverFit,
  };
}

function etaOf(open: readonly UnitEntry[], shardsAtOnce: number): number {
  const perShard = new Map<number, number>();
  for (const { shard, forecastMs } of open) {
    perShard.set(shard, (perShard.get(shard) ?? 0) + forecastMs);
  }
  const all = [...perShard.values()];
  const sum = all.reduce((total, ms) => total + ms, 0);
  return Math.ceil(Math.max(sum / shardsAtOnce, ...all, 0) / 1_000);
}

/** Pure. */
export function viewTable(
  shard: number,
  planned: PlannedTable,
  unit: UnitEntry | undefined,
): TableView {
  const { table, decision, missed, forecastMs, neverFits, figures, outcome: found } = planned;
  return {
    shard,
    table,
    action: decision.action,
    code: decision.code,
    reason: decision.reason,
    need: decision.need,
    missed,
    forecastMs,
    neverFits: neverFits && {
      action: neverFits.decision.action,
      forecastMs: neverFits.forecastMs,
    },
    state: unit?.state ?? (decision.action === 'none' ? 'left-alone' : 'put-off'),
    attempts: unit?.attempts ?? 0,
    before: found?.before ?? figures,
    after: found?.after ?? null,
    durationMs: found?.durationMs ?? null,
    outcome: found && {
      status: found.status,
      code: found.code,
      reason: found.reason,
      statementMs: found.statementMs,
      blockedOthersMs: found.blockedOthersMs,
      notes: found.notes,
    },
  };
}

/** Pure. */
export function viewShard(
  { shard, state, error }: RunState['shards'][number],
  plan: ShardPlan | undefined,
): ShardView {
  return {
    shard,
    state,
    error,
    engine: plan?.engine ?? null,
    serverVersion: plan?.serverVersion ?? null,
    tables: plan?.tables.length ?? null,
    tablesLeftOut: plan?.tablesLeftOut ?? 0,
    notes: plan?.notes ?? [],
  };
}

/** The tables of one shard, in the order in which they are worked on. Pure. */
export function viewTables(state: RunState, plan: ShardPlan): TableView[] {
  const own = state.units.filter(({ shard }) => shard === plan.shard);
  const units = new Map(own.map((unit) => [unit.table, unit]));
  return plan.tables.map((table) => viewTable(plan.shard, table, units.get(table.table)));
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
