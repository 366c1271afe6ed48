import { z } from 'zod';
import { sumText, timestampText } from '../kernel/schemas.ts';
import { BUCKET_COUNT } from '../sharding/hash.ts';

/**
 * What is looked at, one name per invariant (DESIGN 1): each bucket has one owner; each row lies in its bucket on that
 * owner; users and the email directory agree; orders are there once; sagas end.
 */
export const CHECK_NAMES = ['ownership', 'rows', 'emails', 'orders', 'sagas'] as const;
export type CheckName = (typeof CHECK_NAMES)[number];

/**
 * Buckets `from` … `to` (both included) as far as they are on one shard. `round` 0 is the plan; later ones follow buckets
 * that moved meanwhile.
 */
export const chunkSchema = z.strictObject({
  round: z.int().min(0),
  shard: z.int().min(0),
  from: z.int().min(0),
  to: z
    .int()
    .min(0)
    .max(BUCKET_COUNT - 1),
});
export type Chunk = z.infer<typeof chunkSchema>;

/** One thing that must not be. Ids only: no email, no amount of a stranger's order. */
export const violationSchema = z
  .object({
    check: z.enum(CHECK_NAMES),
    problem: z.string().meta({ description: 'Stable name of what is wrong.' }),
    shard: z.int().nullable().meta({ description: 'Null when it concerns several.' }),
    bucket: z.int(),
    /** Table and key, as `orders 12/345`. */
    subject: z.string(),
    detail: z.string().optional(),
  })
  .meta({ id: 'Violation' });
export type Violation = z.infer<typeof violationSchema>;

/** Examples kept per check: enough to see a pattern, bounded for a ruined table. */
export const MAX_EXAMPLES = 20;

/** Figures that are counted by adding up; all of buckets that a shard owns. */
export const FIGURE_NAMES = [
  'users',
  'emailsConfirmed',
  'emailsReserved',
  'emailsReleased',
  'ordersPlain',
  'ordersLocked',
  'ordersPending',
  'ordersMoved',
  'sagasUnfinished',
  'sagasEnded',
  'ledgerRows',
  'ledgerWithoutJournal',
  'oldCopies',
  'unfinishedCopies',
  'bucketsFenced',
  'bucketsMoving',
  'lookedAtAgain',
] as const;
export type FigureName = (typeof FIGURE_NAMES)[number];

const count = z.int().min(0);

/** What one piece of work found. */
export const tallySchema = z.strictObject({
  /** Per check: things looked at, and things that must not be. */
  checked: z.partialRecord(z.enum(CHECK_NAMES), count),
  violations: z.partialRecord(z.enum(CHECK_NAMES), count),
  examples: z.array(violationSchema),
  figures: z.partialRecord(z.enum(FIGURE_NAMES), count),
});
export type Tally = z.infer<typeof tallySchema>;

export const checkResultSchema = z
  .object({
    name: z.enum(CHECK_NAMES),
    ok: z.boolean(),
    checked: count.meta({ description: 'Rows (for `ownership`: buckets) looked at.' }),
    violations: count,
    examples: z.array(violationSchema).meta({ description: `The first ${MAX_EXAMPLES}.` }),
  })
  .meta({ id: 'CheckResult' });
export type CheckResult = z.infer<typeof checkResultSchema>;

export const figuresSchema = z
  .object({
    ...(Object.fromEntries(FIGURE_NAMES.map((name) => [name, count])) as Record<
      FigureName,
      typeof count
    >),
    ordersVisible: count.meta({ description: 'Each order once, also while buckets move.' }),
    visibleCents: sumText,
  })
  .meta({
    id: 'VerificationFigures',
    description:
      'Rows by kind. While buckets move, those but `ordersVisible` and `visibleCents` may count a bucket twice.',
  });
export type Figures = z.infer<typeof figuresSchema>;

export const failureSchema = z.object({ code: z.string(), message: z.string() });
export type VerificationFailure = z.infer<typeof failureSchema>;

export const progressSchema = z.object({ chunksDone: count, chunks: count });

export const verificationSchema = z
  .object({
    verificationId: z.string(),
    status: z.enum(['running', 'completed', 'failed']),
    ok: z.boolean().meta({
      description: 'True only when it is completed and found nothing; false while it runs.',
    }),
    progress: progressSchema,
    checks: z.array(checkResultSchema),
    figures: figuresSchema.optional().meta({ description: 'When completed.' }),
    failure: failureSchema.optional().meta({ description: 'When failed: what is missing.' }),
    startedAt: timestampText,
    finishedAt: timestampText.nullable(),
  })
  .meta({ id: 'Verification' });
/** A run as its reader sees it. */
export type Verification = z.infer<typeof verificationSchema>;

export const requestSchema = z
  .strictObject({
    checks: z.array(z.enum(CHECK_NAMES)).min(1).max(CHECK_NAMES.length).optional(),
    shards: z.array(z.int().min(0)).min(1).max(256).optional().meta({
      description:
        'Only rows on these shards; other shards are asked for what they must agree with.',
    }),
  })
  .meta({ id: 'VerificationRequest' });
export type VerificationRequest = z.infer<typeof requestSchema>;

/** Visible orders of one bucket: bucket, orders, cents as text. */
export const bucketSumSchema = z.tuple([z.int(), count, z.string()]);
export type BucketSum = z.infer<typeof bucketSumSchema>;
