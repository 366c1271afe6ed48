import { z } from 'zod';
import type { ShardId } from '../kernel/ids.ts';
import { MAX_SHARDS } from '../sharding/bucket-map.ts';

/**
 * What the maintenance of a shard's tables sees, decides and does. All of it is JSON: it crosses activities, lies in the
 * run's blob, and in `maintenance_log` on the shard.
 */

const count = z.int().min(0);
const shardId = z
  .int()
  .min(0)
  .max(MAX_SHARDS - 1) as unknown as z.ZodType<ShardId>;
/** Milliseconds since 1970. */
const instant = z.int();

/** Names in generated SQL are quoted, and taken from the server; this bounds what comes from outside. */
export const tableNameSchema = z
  .string()
  .min(1)
  .max(64)
  .refine((name) => !/[`\0]/.test(name), 'a table name without backticks, 1 to 64 characters');

export const ENGINES = ['mysql', 'mariadb'] as const;
export type Engine = (typeof ENGINES)[number];

/** One index as the last ANALYZE left it in `mysql.innodb_index_stats`; the table itself is the index `PRIMARY`. */
export const indexFiguresSchema = z.strictObject({
  name: z.string(),
  /** Allocated to the index, pages; freed ones that the segment keeps included. */
  pages: count,
  /** Of these with rows. */
  leafPages: count,
  /** Rows of the table by allocated pages, at the time of the last ANALYZE: the one honest measure of fill. */
  rowsPerPage: z.number().min(0),
  /** The same after the last rebuild, or the best that was seen since; null before any. */
  baselineRowsPerPage: z.number().positive().nullable(),
});
export type IndexFigures = z.infer<typeof indexFiguresSchema>;

/** State of a histogram on a column that the policy asks for; MySQL only. */
export const histogramFiguresSchema = z.strictObject({
  column: z.string(),
  /** Null: it has none. */
  updatedAtMs: instant.nullable(),
});

/** One table of a shard, read fresh. A figure that the server does not tell is null, and `unknown` says why. */
export const tableFiguresSchema = z.strictObject({
  schema: z.string(),
  table: tableNameSchema,
  engine: z.enum(ENGINES),
  /** `InnoDB` for all that maintenance acts on. */
  storageEngine: z.string(),
  /** As the server counts along at the moment: an estimate. */
  rows: count,
  /** As the optimizer's statistics say, from the last ANALYZE; null when the table has none. */
  statisticsRows: count.nullable(),
  dataBytes: count,
  indexBytes: count,
  /** `DATA_FREE`: whole free extents only, and of no use to tell fragmentation by. */
  freeBytes: count,
  pageBytes: z.int().positive(),
  indexes: z.array(indexFiguresSchema).max(65),
  /**
   * Rows inserted, updated or deleted since the last ANALYZE: the server's counter where it can be read, else the
   * difference of `rows` and `statisticsRows`, which is the least that it can be.
   */
  changedRows: count.nullable(),
  changedRowsFrom: z.enum(['counter', 'difference', 'unknown']),
  /** Also by the server's own recalculation, which cannot be told from ours. */
  lastAnalyzedAtMs: instant.nullable(),
  /** By maintenance. */
  lastRebuiltAtMs: instant.nullable(),
  /** Share of the allocated pages that a rebuild would give back, by the baselines, 0 … 1; null without figures. */
  waste: z.number().min(0).max(1).nullable(),
  /** `layout`: no baseline yet, told from freed pages alone, which is the least that it can be. */
  wasteFrom: z.enum(['baseline', 'layout', 'unknown']),
  hasPrimaryKey: z.boolean(),
  isRegistered: z.boolean(),
  histograms: z.array(histogramFiguresSchema).max(64),
  /** Sentences: what could not be read and what it would take. */
  unknown: z.array(z.string()).max(8),
});
export type TableFigures = z.infer<typeof tableFiguresSchema>;

/** What is kept of the figures before and after: small enough for a log row, a report and a history. */
export const figuresSummarySchema = z.strictObject({
  rows: count,
  statisticsRows: count.nullable(),
  dataBytes: count,
  indexBytes: count,
  pages: count,
  waste: z.number().nullable(),
  changedRows: count.nullable(),
});
export type FiguresSummary = z.infer<typeof figuresSummarySchema>;

export const ACTIONS = ['none', 'analyze', 'histogram', 'rebuild'] as const;
export type Action = (typeof ACTIONS)[number];
/** Actions that run a statement. */
export type Work = Exclude<Action, 'none'>;

export const DECISION_CODES = [
  'fine',
  'excluded',
  'not-registered',
  'not-innodb',
  'too-small',
  'rebuilt-lately',
  'no-histograms',
  'changed-rows',
  'statistics-missing',
  'statistics-old',
  'histogram-missing',
  'histogram-old',
  'fragmented',
  'wasted-bytes',
  'forced',
] as const;

/** What a table needs, by the policy. */
export const decisionSchema = z.strictObject({
  action: z.enum(ACTIONS),
  code: z.enum(DECISION_CODES),
  /** With the figures it was decided by. */
  reason: z.string().max(1_000),
  /**
   * How much it is needed; 0 for `none`. 1 is a threshold just reached, 2 twice of it; rebuilds and analyses compare on
   * the same scale, so that a queue can be ordered by it. At most 1000.
   */
  need: z.number().min(0).max(1_000),
  /** Of a histogram. */
  columns: z.array(z.string()).max(64),
});
export type Decision = z.infer<typeof decisionSchema>;

/** All figures of a shard and the decision on each table, in the order of need. */
export const inspectionSchema = z.strictObject({
  shard: shardId,
  engine: z.enum(ENGINES),
  serverVersion: z.string(),
  inspectedAtMs: instant,
  tables: z.array(z.strictObject({ figures: tableFiguresSchema, decision: decisionSchema })),
  /** Tables of the schema that were not looked at: smaller than those that were, past the bound. */
  tablesLeftOut: count,
  /** What could not be read on this server. */
  notes: z.array(z.string()).max(16),
});
export type Inspection = z.infer<typeof inspectionSchema>;
export type InspectedTable = Inspection['tables'][number];

/** One unit of work: one table on one shard. */
export const unitRequestSchema = z.strictObject({
  shard: shardId,
  table: tableNameSchema,
  /** As planned. Under the lock it is decided anew, and only what both say is done. */
  decision: decisionSchema,
  runId: z.string().min(1).max(100),
  /** Who asked: a person, or `timer`. */
  by: z.string().min(1).max(200),
  /** No statement may run longer than until then; null: only the policy's limit. */
  untilMs: instant.nullable(),
  /** Waited for the server's maintenance lock; 0: skipped at once with `lock-busy`. Null: the policy's. */
  lockWaitMs: count.nullable(),
  /** Acts also where no threshold is reached; never past a guard. */
  force: z.boolean(),
});
export type UnitRequest = z.infer<typeof unitRequestSchema>;

/**
 * `done`: the statement ran. `unneeded`: under the lock there was nothing (left) to do. `skipped`: something was in the
 * way, nothing was changed. `failed`: the statement was begun and did not end well; an online rebuild leaves the table as
 * it was. `abandoned`: only in the log, of a unit whose process died.
 */
export const UNIT_STATUSES = ['done', 'unneeded', 'skipped', 'failed', 'abandoned'] as const;
export type UnitStatus = (typeof UNIT_STATUSES)[number];

export const UNIT_CODES = [
  'done',
  'unneeded',
  // Skipped.
  'lock-busy',
  'long-transaction',
  'metadata-lock',
  'moves-running',
  'replica-lag',
  'under-load',
  'disk-space-short',
  'disk-space-unknown',
  'window-over',
  'not-supported',
  'not-permitted',
  'table-gone',
  'read-only',
  'shard-unavailable',
  // Failed.
  'blocked-others',
  'time-up',
  'killed',
  'connection-lost',
  'disk-full',
  'refused',
  'abandoned',
] as const;
export type UnitCode = (typeof UNIT_CODES)[number];

/** How a unit ended. */
export const unitOutcomeSchema = z.strictObject({
  shard: shardId,
  table: tableNameSchema,
  /** What was done, or was to be done. */
  action: z.enum(ACTIONS),
  status: z.enum(UNIT_STATUSES),
  code: z.enum(UNIT_CODES),
  reason: z.string().max(1_000),
  /** Whether the next night should try again without anybody changing something. */
  retry: z.boolean(),
  before: figuresSummarySchema.nullable(),
  after: figuresSummarySchema.nullable(),
  startedAtMs: instant,
  /** Of the whole unit, and of its statement alone; the second is null when none ran. */
  durationMs: count,
  statementMs: count.nullable(),
  /** The longest time that others were seen waiting for the statement. */
  blockedOthersMs: count,
  /** Row of `maintenance_log`; null when the shard took none (read-only, away). */
  logId: z.string().nullable(),
  /** What a guard could not see, and why. */
  notes: z.array(z.string()).max(16),
});
export type UnitOutcome = z.infer<typeof unitOutcomeSchema>;

/** One finished statement of the past, for forecasts. */
export const pastDurationSchema = z.strictObject({
  statementMs: count,
  /** Data and indexes before it. */
  bytes: count,
  endedAtMs: instant,
});
export type PastDuration = z.infer<typeof pastDurationSchema>;

export const ADVICE_KINDS = [
  'redundant-index',
  'unused-index',
  'no-primary-key',
  'not-registered',
  'registered-missing',
] as const;

/** A remark for a person; nothing is done about it. */
export const adviceSchema = z.strictObject({
  kind: z.enum(ADVICE_KINDS),
  table: z.string(),
  index: z.string().nullable(),
  text: z.string().max(1_000),
});
export type Advice = z.infer<typeof adviceSchema>;

export const shardAdviceSchema = z.strictObject({
  shard: shardId,
  advice: z.array(adviceSchema).max(200),
  /** More than were listed. */
  leftOut: count,
  /** What could not be told, and why. */
  notes: z.array(z.string()).max(16),
});
export type ShardAdvice = z.infer<typeof shardAdviceSchema>;
