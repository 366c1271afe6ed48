import { z } from 'zod';
import { BugError } from '../kernel/errors.ts';
import { sumText, timestampText } from '../kernel/schemas.ts';
import type { Timestamp } from '../kernel/time.ts';
import { BUCKET_COUNT } from '../sharding/hash.ts';
import { bucketOfSighting, correctionsOf } from './crossings.ts';
import type { Correction, Sighting } from './crossings.ts';

/** A shard's word that it owns a bucket, from one statement. */
export interface Claim {
  /** 0 … 1023. */
  readonly bucket: number;
  /** Of the ownership row at that moment; a later owner has a higher one. */
  readonly epoch: number;
}

/** What one shard says about one bucket that it owns. */
export interface BucketSum extends Claim {
  readonly orders: number;
  readonly cents: bigint;
}

/** What one shard says about several buckets that it owns, in one sum. */
export interface Together {
  readonly buckets: readonly Claim[];
  readonly orders: number;
  readonly cents: bigint;
}

/** What a shard has orders of. */
export interface BucketCounts {
  readonly owned: number;
  /** That it does not own: old copies, and such that are coming. */
  readonly others: number;
}

/**
 * Share of others among a shard's buckets above which its own cost less one by one than all of them together, of which the others
 * are taken off: these are read twice. Measured with 1 024 buckets of about 600 orders: a twentieth costs 1.30 of a plain sum in one
 * and 1.36 one by one, a tenth 1.36 and 1.29, a third 1.69 and 0.96 (MySQL; docs/performance.md has MariaDB).
 */
const MAX_OTHERS_SHARE = 0.07;

/** Whether a shard with these buckets is to be summed bucket by bucket. Both ways are exact: it is about the cost alone. */
export function isSummedByBucket({ owned, others }: BucketCounts): boolean {
  return others > (owned + others) * MAX_OTHERS_SHARE;
}

/** All that one shard owned at the moment of its answer, each bucket in one of the two. */
export interface ShardAnswer {
  readonly shard: number;
  readonly sums: readonly BucketSum[];
  readonly together?: Together;
  /** Transfers that began or ended lately in all these buckets, of the same moment. */
  readonly sightings: readonly Sighting[];
}

/** Whose claim on a bucket counts, and the bucket's own sum if it has one. */
interface Chosen extends Claim {
  readonly answer: ShardAnswer;
  readonly sum?: BucketSum;
}

/** Which answer counts for each bucket. */
export interface Combined {
  readonly chosen: ReadonlyMap<number, Chosen>;
  /** Sums of several buckets, all of which count, by shard. */
  readonly together: readonly (Pick<ShardAnswer, 'shard'> & Together)[];
  /** What the chosen answers tell of transfers. */
  readonly sightings: readonly Sighting[];
  /** Buckets that nobody answered for: they moved between two shards' answers. Ascending. */
  readonly missing: readonly number[];
  /** Shards that summed buckets together of which another has one by now: no total before they are asked bucket by bucket. */
  readonly entangled: readonly number[];
}

/**
 * Chooses one answer per bucket, so that each order counts once although shards answer at different moments (I5).
 * A bucket that changed hands meanwhile may be in two answers, of which the one of the higher epoch counts (the
 * other is of an earlier moment), or in none, which is told. Throws `BugError` when two shards claim one epoch.
 */
export function combine(answers: readonly ShardAnswer[]): Combined {
  const chosen = new Map<number, Chosen>();
  const entangled = new Set<number>();
  for (const own of answers.flatMap(claimsOf)) {
    const before = chosen.get(own.bucket);
    if (before?.epoch === own.epoch && before.answer.shard !== own.answer.shard) {
      throw new BugError('two shards own one bucket at the same epoch', {
        details: {
          bucketId: own.bucket,
          epoch: own.epoch,
          shards: [before.answer.shard, own.answer.shard],
        },
      });
    }
    const isLater = before === undefined || own.epoch > before.epoch;
    if (isLater) chosen.set(own.bucket, own);
    const beaten = isLater ? before : own;
    if (beaten !== undefined && beaten.sum === undefined) entangled.add(beaten.answer.shard);
  }
  const sightings = answers.flatMap((answer) =>
    answer.sightings.filter((own) => chosen.get(bucketOfSighting(own))?.answer === answer),
  );
  const missing = Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket).filter(
    (bucket) => !chosen.has(bucket),
  );
  const together = answers.flatMap((answer) =>
    answer.together === undefined ? [] : [{ shard: answer.shard, ...answer.together }],
  );
  return { chosen, together, sightings, missing, entangled: [...entangled] };
}

function claimsOf(answer: ShardAnswer): Chosen[] {
  const { sums, together } = answer;
  return [
    ...sums.map((sum) => ({ bucket: sum.bucket, epoch: sum.epoch, answer, sum })),
    ...(together?.buckets ?? []).map(({ bucket, epoch }) => ({ bucket, epoch, answer })),
  ];
}

export const shardTotalSchema = z.object({
  shard: z.int().min(0),
  totalCents: sumText,
  orders: z.int().min(0),
});
export type ShardTotal = z.infer<typeof shardTotalSchema>;

export const totalSchema = z
  .object({
    totalCents: sumText,
    orders: z.int().min(0),
    complete: z.boolean(),
    asOf: timestampText.meta({ description: 'Every order acknowledged before is counted.' }),
    perShard: z.array(shardTotalSchema),
    missingShards: z
      .array(z.int())
      .optional()
      .meta({ description: 'Shards that did not answer; only when `complete` is false.' }),
  })
  .meta({ id: 'Revenue' });
export type RevenueTotal = z.infer<typeof totalSchema>;

/**
 * Sums up what was chosen and is not entangled, per shard (all of `shards`, also those with nothing) and in all, every transferred order once.
 * An order that went on twice between two answers counts once in all, but may count at a shard that it only passed.
 */
export function totalsOf(
  combined: Combined,
  shards: readonly number[],
): { readonly perShard: ShardTotal[]; readonly totalCents: string; readonly orders: number } {
  const sums = new Map(shards.map((shard) => [shard, { cents: 0n, orders: 0 }]));
  let cents = 0n;
  let orders = 0;
  const add = (shard: number, more: { readonly cents: bigint; readonly orders: number }): void => {
    const own = sums.get(shard) ?? { cents: 0n, orders: 0 };
    sums.set(shard, { cents: own.cents + more.cents, orders: own.orders + more.orders });
    cents += more.cents;
    orders += more.orders;
  };
  for (const sum of combined.together) add(sum.shard, sum);
  for (const { answer, sum } of combined.chosen.values()) {
    if (sum !== undefined) add(answer.shard, sum);
  }
  const isSummed = (bucket: number): boolean => combined.chosen.has(bucket);
  for (const correction of correctionsOf(combined.sightings, isSummed)) {
    const chosen = combined.chosen.get(correction.bucket);
    if (chosen !== undefined) add(chosen.answer.shard, correction);
  }
  const perShard = [...sums].map(([shard, own]) => ({
    shard,
    totalCents: String(own.cents),
    orders: own.orders,
  }));
  return { perShard, totalCents: String(cents), orders };
}

export const GROUPINGS = ['none', 'day', 'month'] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** What a report is asked to tell; times are canonical. */
export interface ReportRequest {
  /** Inclusive. */
  readonly from: Timestamp | null;
  /** Exclusive. */
  readonly to: Timestamp | null;
  readonly groupBy: Grouping;
}

/**
 * Sums of one group. The key is a number, as the statement groups by it: 20260131 for a day, 202601 for a month, 0
 * for all. Days and months are UTC.
 */
export type GroupSum = readonly [key: number, orders: number, cents: string];

/** More groups than this are refused: a day each for 270 years. It bounds parts and results (I6). */
export const MAX_GROUPS = 100_000;

/** Adds sums by key. */
export function mergeGroups(lists: Iterable<readonly GroupSum[]>): GroupSum[] {
  const merged = new Map<number, { orders: number; cents: bigint }>();
  for (const list of lists) {
    for (const [key, orders, cents] of list) {
      const before = merged.get(key);
      if (before === undefined) merged.set(key, { orders, cents: BigInt(cents) });
      else {
        before.orders += orders;
        before.cents += BigInt(cents);
      }
    }
  }
  return [...merged]
    .toSorted(([a], [b]) => a - b)
    .map(([key, { orders, cents }]): GroupSum => [key, orders, String(cents)]);
}

/** What the report has of a chunk's buckets. */
export interface ReportPart {
  readonly groups: readonly GroupSum[];
  /** Transfers that began or ended in these buckets since shortly before the report was begun. */
  readonly sightings: readonly Sighting[];
}

/** Corrections as sums to merge, of those orders that the report is about. */
export function correctionGroups(
  corrections: readonly Correction[],
  { from, to, groupBy }: ReportRequest,
): GroupSum[] {
  return corrections
    .filter(({ crossing: { createdAt } }) => from === null || createdAt >= from)
    .filter(({ crossing: { createdAt } }) => to === null || createdAt < to)
    .map(({ crossing, orders, cents }) => [
      keyOf(crossing.createdAt, groupBy),
      orders,
      String(cents),
    ]);
}

/** The key under which the statement sums an order. */
function keyOf(createdAt: Timestamp, groupBy: Grouping): number {
  const length = { none: 0, month: 7, day: 10 }[groupBy];
  return Number(createdAt.slice(0, length).replaceAll('-', ''));
}

export const reportGroupSchema = z.object({
  key: z.string().meta({ description: '`YYYY-MM-DD`, `YYYY-MM` or `all`.', examples: ['2026-01'] }),
  totalCents: sumText,
  orders: z.int().min(0),
});

export const reportResultSchema = z
  .object({
    totalCents: sumText,
    orders: z.int().min(0),
    groups: z
      .array(reportGroupSchema)
      .meta({ description: 'Ascending by key, without empty ones.' }),
  })
  .meta({ id: 'RevenueReportResult' });
export type ReportResult = z.infer<typeof reportResultSchema>;

/** The result as a caller sees it. Without grouping there is one group, `all`, also when it is empty. */
export function reportResult(groups: readonly GroupSum[], groupBy: Grouping): ReportResult {
  const cents = groups.reduce((sum, [, , own]) => sum + BigInt(own), 0n);
  const orders = groups.reduce((sum, [, own]) => sum + own, 0);
  const shown = groupBy === 'none' ? [[0, orders, String(cents)] as const] : groups;
  return {
    totalCents: String(cents),
    orders,
    groups: shown.map(([key, own, ownCents]) => ({
      key: groupKey(key, groupBy),
      totalCents: ownCents,
      orders: own,
    })),
  };
}

function groupKey(key: number, groupBy: Grouping): string {
  const text = String(key);
  if (groupBy === 'none') return 'all';
  if (groupBy === 'month') return `${text.slice(0, 4)}-${text.slice(4)}`;
  return `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6)}`;
}
