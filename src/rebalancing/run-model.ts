import { z } from 'zod';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { MAX_SHARDS } from '../sharding/bucket-map.ts';
import { BUCKET_COUNT } from '../sharding/hash.ts';

/** Documents of a rebalance, and what HTTP takes and shows of it. */

const count = z.int().min(0);
const shardId = z
  .int()
  .min(0)
  .max(MAX_SHARDS - 1) as unknown as z.ZodType<ShardId>;
const bucketId = z
  .int()
  .min(0)
  .max(BUCKET_COUNT - 1) as unknown as z.ZodType<BucketId>;
const HASH = /^[0-9a-f]{64}$/;

export { bucketId as bucketIdSchema };

/** What the cluster should look like afterwards. */
export const goalSchema = z.strictObject({
  targetShards: z
    .union([z.int().min(1).max(MAX_SHARDS), z.array(shardId).min(1).max(MAX_SHARDS)])
    .optional()
    .meta({
      description:
        'Shards that share the buckets afterwards: a number N stands for the first N of SHARDS. Without it all that are not being drained.',
    }),
  drain: z
    .array(shardId)
    .max(MAX_SHARDS)
    .optional()
    .meta({ description: 'Shards that own nothing afterwards.' }),
  weights: z
    .record(
      z.string().regex(/^(?:0|[1-9]\d{0,2})$/, 'the number of a shard'),
      z.number().min(0.01).max(100),
    )
    .optional()
    .meta({
      description:
        'Shares of shards relative to each other, by their number, 0.01 to 100: `{"3": 2}` gives shard 3 twice as many buckets as each other one. Without an entry: 1.',
    }),
  maxBuckets: z
    .int()
    .min(1)
    .max(BUCKET_COUNT)
    .optional()
    .meta({ description: 'Moves at most; the rest is left for another rebalance.' }),
});
export type Goal = z.infer<typeof goalSchema>;

export const requestSchema = goalSchema
  .extend({
    dryRun: z.boolean().default(false).meta({ description: 'Only show the plan.' }),
    concurrency: z
      .int()
      .min(1)
      .max(64)
      .optional()
      .meta({ description: 'Buckets moved at once; at most REBALANCE_MAX_MOVES, the default.' }),
    planHash: z
      .string()
      .regex(HASH, 'the planHash of a dry run: 64 hexadecimal digits')
      .optional()
      .meta({ description: 'The plan that was approved: no other one is carried out.' }),
  })
  .meta({ id: 'RebalanceRequest' });
export type RebalanceRequest = z.infer<typeof requestSchema>;

const plannedMove = z.strictObject({
  bucket: bucketId,
  from: shardId,
  to: shardId,
  estimatedRows: count,
  estimatedBytes: count,
});

/** A plan as it is stored and shown. */
export const planSchema = z
  .strictObject({
    planHash: z.string(),
    mapVersion: count,
    moves: z.array(plannedMove),
    totals: z.strictObject({ buckets: count, rows: count, bytes: count }),
  })
  .meta({ id: 'RebalancePlan' });
export type Plan = z.infer<typeof planSchema>;

/** The blob of an approved plan, and of a run. */
export const storedPlanSchema = z.strictObject({ goal: goalSchema, plan: planSchema });
export type StoredPlan = z.infer<typeof storedPlanSchema>;

export const problemSchema = z.object({ path: z.string(), message: z.string() });

export const preflightSchema = z
  .object({
    problems: z.array(problemSchema).meta({ description: 'What must be settled first.' }),
    notes: z.array(z.string()).meta({ description: 'What is worth knowing, or cannot be known.' }),
  })
  .meta({ id: 'RebalancePreflight' });
export type Preflight = z.infer<typeof preflightSchema>;

export const planViewSchema = planSchema
  .extend({ preflight: preflightSchema })
  .meta({ id: 'RebalancePlanView' });

/**
 * `giving-up` and `cancelling`: begun, and being taken back because it failed too often, or was cancelled. The states from
 * `done` on are final.
 */
const moveState = z.enum([
  'waiting',
  'moving',
  'giving-up',
  'cancelling',
  'done',
  'cancelled',
  'failed',
]);

const moveEntry = z.strictObject({
  bucket: bucketId,
  from: shardId,
  to: shardId,
  state: moveState,
  /** Failed tries in a row. */
  attempts: count,
  notBeforeMs: z.number(),
  lastError: z.string().nullable(),
  /** How long writers waited, as measured; null when the delivery that measured it died. */
  stallMs: z.number().nullable(),
  /** At the source, once done: `none` before. */
  purge: z.enum(['none', 'waiting', 'done', 'failed']),
  rowsPurged: count,
});
export type MoveEntry = z.infer<typeof moveEntry>;

export const throttledSchema = z.strictObject({ shard: shardId, reason: z.string() });
export type Throttled = z.infer<typeof throttledSchema>;

/** What the orchestration does next. */
export const decisionSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('work'),
    verb: z.enum(['move', 'cancel', 'purge']),
    lanes: z.array(z.array(bucketId)),
  }),
  z.strictObject({ kind: z.literal('wait'), ms: count }),
  z.strictObject({ kind: z.literal('end') }),
]);
export type Decision = z.infer<typeof decisionSchema>;
export type Verb = Extract<Decision, { kind: 'work' }>['verb'];

export const RUN_STATUSES = [
  'planned',
  'running',
  'paused',
  'cancelling',
  'completed',
  'cancelled',
  'failed',
] as const;
const runStatus = z.enum(RUN_STATUSES);
export type RunStatus = z.infer<typeof runStatus>;

/** The blob with what is known of a run; changed by compare-and-set, one round after the other. */
export const runStateSchema = z.strictObject({
  formatVersion: z.literal(1),
  /** The last round that was decided; 0 before the first. */
  round: count,
  /** Of that round, for a delivery that comes again. */
  decision: decisionSchema,
  status: runStatus,
  caps: z.strictObject({ total: count, perSource: count, perTarget: count }),
  moves: z.array(moveEntry),
  throttled: throttledSchema.nullable(),
  startedAtMs: z.number(),
  /** When the last move ended; old copies are purged later. */
  finishedAtMs: z.number().nullable(),
  purgeAtMs: z.number().nullable(),
});
export type RunState = z.infer<typeof runStateSchema>;

/** What became of one bucket in one activity. Buckets that it did not come to are left out. */
export const resultSchema = z.strictObject({
  bucket: bucketId,
  outcome: z.enum(['more', 'done', 'cancelled', 'purged', 'failed', 'throttled']),
  stallMs: z.number().optional(),
  rows: count.optional(),
  error: z.string().max(300).optional(),
  throttled: throttledSchema.optional(),
});
export type Result = z.infer<typeof resultSchema>;

/** What an operator wants of a run. */
export const wishSchema = z.strictObject({ wish: z.enum(['run', 'pause', 'cancel']) });
export type Wish = z.infer<typeof wishSchema>['wish'];

const time = z.string().meta({ format: 'date-time' });

/** What is shown of a move. */
const moveView = z.object({
  bucket: z.int(),
  from: z.int(),
  to: z.int(),
  phase: z.enum([
    'waiting',
    'copying',
    'checking',
    'cancelling',
    'switched',
    'done',
    'cancelled',
    'failed',
  ]),
  rowsCopied: count,
  rows: count.meta({
    description: 'As counted when the move was prepared; before that, estimated.',
  }),
  forecastStallMs: z
    .number()
    .nullable()
    .meta({ description: 'How long writers would wait, by the last pass.' }),
  stallMs: z.number().nullable().meta({ description: 'How long writers waited at most.' }),
  attempts: count.meta({ description: 'Failed tries in a row.' }),
  lastError: z.string().optional(),
  certificate: z.string().nullable().meta({ description: 'Blob in the container `control`.' }),
  purged: z.boolean().meta({ description: 'The old copy at the source is deleted.' }),
});
export type MoveView = z.infer<typeof moveView>;

export const rebalanceSchema = z
  .object({
    rebalanceId: z.string(),
    status: runStatus,
    planHash: z.string(),
    progress: z.object({
      bucketsDone: count,
      buckets: count,
      rowsCopied: count,
      rowsTotal: count,
      rate: z.number().meta({ description: 'Rows per second since the start.' }),
      etaSeconds: z.number().nullable(),
    }),
    throttled: z.object({ shard: z.int(), reason: z.string() }).nullable(),
    moves: z.array(moveView),
    purge: z.object({
      dueAt: time.nullable(),
      buckets: count.meta({ description: 'Old copies to delete.' }),
      purged: count,
      rows: count,
      failed: count,
    }),
    startedAt: time,
    finishedAt: time.nullable().meta({ description: 'When the last move ended.' }),
  })
  .meta({ id: 'Rebalance' });
export type Rebalance = z.infer<typeof rebalanceSchema>;

/** Ended as far as moves go: another rebalance may begin. Pure. */
export function isOver(status: RunStatus): boolean {
  return status === 'completed' || status === 'cancelled' || status === 'failed';
}
