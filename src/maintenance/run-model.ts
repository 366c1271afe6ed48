import { z } from 'zod';
import type { ShardId } from '../kernel/ids.ts';
import { MAX_SHARDS } from '../sharding/bucket-map.ts';
import { ACTIONS, tableNameSchema, UNIT_CODES, UNIT_STATUSES } from './model.ts';

/** What a run of maintenance is asked, and what is kept of it while it goes on. */

const count = z.int().min(0);
const shardId = z
  .int()
  .min(0)
  .max(MAX_SHARDS - 1) as unknown as z.ZodType<ShardId>;

export const requestSchema = z
  .strictObject({
    shards: z
      .array(shardId)
      .min(1)
      .max(MAX_SHARDS)
      .optional()
      .meta({ description: 'Only these; all without it.' }),
    tables: z.array(tableNameSchema).min(1).max(100).optional().meta({
      description:
        'Only these; all without it. A name that a shard does not have is passed over there.',
    }),
    dryRun: z
      .boolean()
      .default(false)
      .meta({ description: 'Only look and decide: changes nothing, and no place in the queue.' }),
    force: z.boolean().default(false).meta({
      description:
        'Also where no threshold is reached: each table gets the strongest action that the policy allows it. Guards and the window hold all the same.',
    }),
  })
  .meta({ id: 'MaintenanceRequest' });
export type MaintenanceRequest = z.infer<typeof requestSchema>;

/** How a shard stands in a run. `away`: it could not be looked at, and its tables are left for another night. */
const shardEntry = z.strictObject({
  shard: shardId,
  state: z.enum(['waiting', 'inspected', 'away']),
  attempts: count,
  notBeforeMs: z.number(),
  error: z.string().max(300).nullable(),
});
export type ShardEntry = z.infer<typeof shardEntry>;

export const UNIT_STATES = [
  'waiting',
  'running',
  'done',
  'unneeded',
  'skipped',
  'failed',
  'put-off',
  'cancelled',
] as const;

/** Work on one table of one shard. States from `done` on are final. */
export const unitEntrySchema = z.strictObject({
  shard: shardId,
  table: tableNameSchema,
  action: z.enum(ACTIONS),
  /** As the policy has it. */
  need: z.number().min(0),
  /** Runs in a row that left it out. */
  missed: count,
  forecastMs: count,
  state: z.enum(UNIT_STATES),
  /** Of the last try. */
  code: z.enum(UNIT_CODES).nullable(),
  attempts: count,
  notBeforeMs: z.number(),
  durationMs: count.nullable(),
  /** Whether another night may help. */
  retry: z.boolean(),
});
export type UnitEntry = z.infer<typeof unitEntrySchema>;

const unitRef = z.strictObject({ shard: shardId, table: tableNameSchema, attempt: z.int().min(1) });
export type UnitRef = z.infer<typeof unitRef>;
export { unitRef as unitRefSchema };

/** What the orchestration does next. */
export const nextSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('inspect'), shards: z.array(shardId) }),
  z.strictObject({ kind: z.literal('work'), units: z.array(unitRef) }),
  z.strictObject({ kind: z.literal('wait'), ms: count }),
  z.strictObject({ kind: z.literal('finish') }),
  z.strictObject({ kind: z.literal('end') }),
]);
export type Next = z.infer<typeof nextSchema>;

export const RUN_STATUSES = ['running', 'cancelling', 'completed', 'cancelled', 'failed'] as const;
const runStatus = z.enum(RUN_STATUSES);
export type RunStatus = z.infer<typeof runStatus>;
export { runStatus as runStatusSchema };

/** Units of one run: its state stays below half a megabyte. The rest keeps its place in the queue. */
export const MAX_UNITS = 2_000;

/** The blob with what is known of a run; changed by compare-and-set, one round after the other. */
export const runStateSchema = z.strictObject({
  formatVersion: z.literal(1),
  /** The last round that was decided; 0 before the first. */
  round: count,
  /** Of that round, for a delivery that comes again. */
  next: nextSchema,
  status: runStatus,
  by: z.enum(['timer', 'operator']),
  dryRun: z.boolean(),
  force: z.boolean(),
  /** Null: all. */
  tables: z.array(tableNameSchema).nullable(),
  caps: z.strictObject({ shards: z.int().min(1), tries: z.int().min(1), retryMs: count }),
  shards: z.array(shardEntry),
  units: z.array(unitEntrySchema),
  /** Units past {@link MAX_UNITS}. */
  unitsLeftOut: count,
  startedAtMs: z.number(),
  windowEndsAtMs: z.number(),
  finishedAtMs: z.number().nullable(),
});
export type RunState = z.infer<typeof runStateSchema>;

/** What became of one piece of a round; small, since it lies in the history. */
export const resultSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('shard'),
    shard: shardId,
    ok: z.boolean(),
    error: z.string().max(300).optional(),
  }),
  z.strictObject({
    kind: z.literal('unit'),
    shard: shardId,
    table: tableNameSchema,
    status: z.enum(UNIT_STATUSES),
    code: z.enum(UNIT_CODES),
    retry: z.boolean(),
    durationMs: count,
  }),
  /** Queue, report and retention are done. */
  z.strictObject({ kind: z.literal('finished') }),
]);
export type Result = z.infer<typeof resultSchema>;

export const wishSchema = z.strictObject({ wish: z.enum(['run', 'cancel']) });
export type Wish = z.infer<typeof wishSchema>['wish'];

/** What waits on a shard from run to run. */
const queueEntry = z.strictObject({
  table: tableNameSchema,
  missed: count,
  /** A statement of it was stopped after this long: it takes longer. */
  leastMs: count.nullable(),
});
export type QueueEntry = z.infer<typeof queueEntry>;

/** Tables that wait, of one shard; the rest keeps no place. */
export const MAX_QUEUED = 5_000;

export const queueSchema = z.strictObject({
  formatVersion: z.literal(1),
  /** The run that brought it up to date: it does so once. */
  runId: z.string().nullable(),
  entries: z.array(queueEntry).max(MAX_QUEUED),
});
export type Queue = z.infer<typeof queueSchema>;

/** Ended: another run may begin. Pure. */
export function isOver(status: RunStatus): boolean {
  return status === 'completed' || status === 'cancelled' || status === 'failed';
}
