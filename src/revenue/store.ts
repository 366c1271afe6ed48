import type { Attempt, SqlRow, SqlRunner, SqlValue } from '../database/contracts.ts';
import { sqlNow } from '../database/ownership.ts';
import { refusalAfterNothing } from '../database/refusals.ts';
import { BugError, PermanentError, RetryableError } from '../kernel/errors.ts';
import type { BucketId } from '../kernel/ids.ts';
import { toSqlDatetime } from '../kernel/time.ts';
import { ARRIVAL_STEP, crossingSchema, LOCAL_ARRIVAL_STEP } from '../orders/contracts.ts';
import { CLOCKS_DIFFER_MS, HORIZON_MS } from './crossings.ts';
import type { Sighting } from './crossings.ts';
import { isSummedByBucket, MAX_GROUPS } from './model.ts';
import type {
  BucketCounts,
  BucketSum,
  Claim,
  ReportPart,
  ReportRequest,
  ShardAnswer,
  Together,
} from './model.ts';
import {
  BUCKET_ROW,
  COUNT_BUCKETS,
  GROUP_ROW,
  MAX_SIGHTINGS,
  SIGHTING_ROW,
  SUM_ONE_BUCKET,
  SUM_OWNED_BUCKETS,
  SUM_SHARD,
  sumGroups,
} from './statements.ts';

/** Sums and transfers of one moment. */
export type Sums = Omit<ShardAnswer, 'shard'>;

/**
 * The sum of all buckets that this shard owns together, or of each where it is too large for that, or where that costs less
 * ({@link isSummedByBucket}; buckets that come or go after that look change nothing but the cost). `startMs` as in
 * {@link sumOwnedBuckets}. Throws as that.
 */
export async function sumShard(runner: SqlRunner, startMs: number): Promise<Sums> {
  if (isSummedByBucket(await countBuckets(runner))) return sumOwnedBuckets(runner, startMs);
  const rows = await runner.query(SUM_SHARD, [sightedFrom(startMs)]);
  const sightings = totalSightingsIn(rows, startMs);
  const together = togetherIn(rows.filter((row) => row['saga_id'] === null));
  if (together === undefined) return sumOwnedBuckets(runner, startMs);
  return { sums: [], together, sightings };
}

async function countBuckets(runner: SqlRunner): Promise<BucketCounts> {
  const [row] = await runner.query(COUNT_BUCKETS, []);
  return { owned: Number(row?.['owned']), others: Number(row?.['others']) };
}

/** Undefined when the sum is not exact: it was added up as doubles. */
function togetherIn(rows: readonly SqlRow[]): Together | undefined {
  const all = rows.find((row) => row['bucket'] === null);
  if (all === undefined) throw new BugError('a shard did not tell the sum of its orders');
  let { orders, cents } = countsIn(all);
  if (cents > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  for (const foreign of rows.filter((row) => row['bucket'] !== null && row['sums'] !== null)) {
    const counts = countsIn(foreign);
    orders -= counts.orders;
    cents -= counts.cents;
  }
  const buckets = rows.filter((row) => row['sums'] === null).map(toClaim);
  return { buckets, orders, cents };
}

/**
 * The sums of every bucket that this shard owns, one by one. `startMs` is the start of the whole total. Throws `too-many-requests`
 * (retryable) when there were more transfers of late than are looked at.
 */
export async function sumOwnedBuckets(runner: SqlRunner, startMs: number): Promise<Sums> {
  return toSums(await runner.query(SUM_OWNED_BUCKETS, [sightedFrom(startMs)]), startMs);
}

/** The sum of one bucket, if this shard owns it. For `onOwner`. Throws as {@link sumOwnedBuckets}. */
export async function sumOneBucket(
  runner: SqlRunner,
  bucket: BucketId,
  startMs: number,
): Promise<Attempt<Sums>> {
  const rows = await runner.query(SUM_ONE_BUCKET, [bucket, sightedFrom(startMs), bucket]);
  const value = toSums(rows, startMs);
  if (value.sums.length === 0) return refusalAfterNothing(runner, bucket);
  return { kind: 'answered', value };
}

function toSums(rows: readonly SqlRow[], startMs: number): Sums {
  const sightings = totalSightingsIn(rows, startMs);
  const sums = rows
    .filter((row) => row['saga_id'] === null)
    .map((row): BucketSum => ({ ...toClaim(row), ...countsIn(row) }));
  return { sums, sightings };
}

function totalSightingsIn(rows: readonly SqlRow[], startMs: number): Sighting[] {
  const sightings = sightingsIn(rows, startMs);
  if (sightings !== 'too-many') return sightings;
  throw RetryableError.tooManyRequests(`${TOO_MANY_SIGHTINGS} Ask again in a minute.`);
}

/** Which of the report's buckets are in `part`; the shard does not own the others. */
export interface GroupAnswer {
  readonly counted: ReadonlySet<number>;
  readonly part: ReportPart;
}

/** What a report asks for, and when it was begun, milliseconds since 1970. */
export type ReportQuestion = ReportRequest & { readonly startMs: number };

/**
 * Sums the given buckets by group as far as this shard owns them. Throws `validation-failed` (permanent) when there
 * are more than {@link MAX_GROUPS}, and `conflict` (permanent) when there were too many transfers since the report's start.
 */
export async function sumBucketGroups(
  runner: SqlRunner,
  buckets: readonly number[],
  { from, to, groupBy, startMs }: ReportQuestion,
): Promise<GroupAnswer> {
  const text = sumGroups(
    buckets.length,
    { groupBy, from: from !== null, to: to !== null },
    MAX_GROUPS + 1,
  );
  const times = [from, to].filter((time) => time !== null).map(toSqlDatetime);
  const values = [...buckets, ...times, ...buckets, sightedFrom(startMs), ...buckets];
  const rows = await runner.query(text, values);
  const ofKind = (kind: number): SqlRow[] => rows.filter((row) => Number(row['kind']) === kind);
  const groupRows = ofKind(GROUP_ROW);
  if (groupRows.length > MAX_GROUPS) throw tooManyGroups();
  const sightings = sightingsIn(ofKind(SIGHTING_ROW), startMs);
  if (sightings === 'too-many') throw tooManySightings();
  return {
    counted: new Set(ofKind(BUCKET_ROW).map((row) => Number(row['k']))),
    part: {
      groups: groupRows.map((row) => [Number(row['k']), Number(row['n']), String(row['s'])]),
      sightings,
    },
  };
}

/** {@link sumBucketGroups} of one bucket, if this shard owns it. For `onOwner`. */
export async function sumOneBucketGroups(
  runner: SqlRunner,
  bucket: BucketId,
  question: ReportQuestion,
): Promise<Attempt<ReportPart>> {
  const { counted, part } = await sumBucketGroups(runner, [bucket], question);
  if (!counted.has(bucket)) return refusalAfterNothing(runner, bucket);
  return { kind: 'answered', value: part };
}

export function tooManyGroups(): PermanentError {
  const message = `The report would have more than ${MAX_GROUPS} groups; ask for a shorter time or group by month.`;
  return PermanentError.validation(message, [{ path: '/groupBy', message }]);
}

const TOO_MANY_SIGHTINGS = `More than ${MAX_SIGHTINGS} orders were transferred lately.`;

export function tooManySightings(): PermanentError {
  const message = `${TOO_MANY_SIGHTINGS} Ask for the report again when there are fewer transfers.`;
  return new PermanentError('conflict', message);
}

function sightedFrom(startMs: number): string {
  return sqlNow(Math.max(0, startMs - HORIZON_MS - CLOCKS_DIFFER_MS));
}

const ARRIVAL_STEPS: readonly SqlValue[] = [ARRIVAL_STEP, LOCAL_ARRIVAL_STEP];

/** The transfers within the horizon, by the time of the departure, so that a transfer is in it with both ends or none. */
function sightingsIn(rows: readonly SqlRow[], startMs: number): Sighting[] | 'too-many' {
  const own = rows.filter((row) => row['saga_id'] !== null);
  if (own.length > MAX_SIGHTINGS) return 'too-many';
  return own.flatMap((row): Sighting[] => {
    const crossing = crossingSchema.nullable().parse(JSON.parse(String(row['result'])));
    if (crossing === null || crossing.departedAtMs < startMs - HORIZON_MS) return [];
    const end = ARRIVAL_STEPS.includes(row['step'] ?? null) ? 'arrival' : 'departure';
    return [{ end, sagaId: String(row['saga_id']), crossing }];
  });
}

function toClaim(row: SqlRow): Claim {
  return { bucket: Number(row['bucket']), epoch: Number(row['epoch']) };
}

function countsIn(row: SqlRow): { readonly orders: number; readonly cents: bigint } {
  const [orders, cents] = String(row['sums']).split(' ', 2);
  return { orders: Number(orders), cents: BigInt(cents ?? '') };
}
