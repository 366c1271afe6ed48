import type { Attempt, SqlRow, SqlRunner } from '../database/contracts.ts';
import { refusalAfterNothing } from '../database/refusals.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { BucketId } from '../kernel/ids.ts';
import { toSqlDatetime } from '../kernel/time.ts';
import { MAX_GROUPS } from './model.ts';
import type { BucketSum, GroupSum, ReportRequest } from './model.ts';
import { GROUP_ROW, SUM_ONE_BUCKET, SUM_OWNED_BUCKETS, sumGroups } from './statements.ts';

/** The sums of every bucket that this shard owns, all of one moment. */
export async function sumOwnedBuckets(runner: SqlRunner): Promise<readonly BucketSum[]> {
  return (await runner.query(SUM_OWNED_BUCKETS, [])).map(toBucketSum);
}

/** The sum of one bucket, if this shard owns it. For `onOwner`. */
export async function sumOneBucket(
  runner: SqlRunner,
  bucket: BucketId,
): Promise<Attempt<BucketSum>> {
  const [row] = await runner.query(SUM_ONE_BUCKET, [bucket]);
  if (row === undefined) return refusalAfterNothing(runner, bucket);
  return { kind: 'answered', value: toBucketSum(row) };
}

/** Sums by group over the buckets in `counted`; the shard does not own the others. */
export interface GroupAnswer {
  readonly counted: ReadonlySet<number>;
  readonly groups: readonly GroupSum[];
}

/**
 * Sums the given buckets by group as far as this shard owns them. Throws `validation-failed` (permanent) when there
 * are more than {@link MAX_GROUPS}.
 */
export async function sumBucketGroups(
  runner: SqlRunner,
  buckets: readonly number[],
  request: ReportRequest,
): Promise<GroupAnswer> {
  const { from, to, groupBy } = request;
  const text = sumGroups(
    buckets.length,
    { groupBy, from: from !== null, to: to !== null },
    MAX_GROUPS + 1,
  );
  const times = [from, to].filter((time) => time !== null).map(toSqlDatetime);
  const rows = await runner.query(text, [...buckets, ...times, ...buckets]);
  const groupRows = rows.filter((row) => Number(row['kind']) === GROUP_ROW);
  const bucketRows = rows.filter((row) => Number(row['kind']) !== GROUP_ROW);
  if (groupRows.length > MAX_GROUPS) throw tooManyGroups();
  return {
    counted: new Set(bucketRows.map((row) => Number(row['k']))),
    groups: groupRows.map((row) => [Number(row['k']), Number(row['n']), String(row['s'])]),
  };
}

/** {@link sumBucketGroups} of one bucket, if this shard owns it. For `onOwner`. */
export async function sumOneBucketGroups(
  runner: SqlRunner,
  bucket: BucketId,
  request: ReportRequest,
): Promise<Attempt<readonly GroupSum[]>> {
  const { counted, groups } = await sumBucketGroups(runner, [bucket], request);
  if (!counted.has(bucket)) return refusalAfterNothing(runner, bucket);
  return { kind: 'answered', value: groups };
}

export function tooManyGroups(): PermanentError {
  const message = `The report would have more than ${MAX_GROUPS} groups; ask for a shorter time or group by month.`;
  return PermanentError.validation(message, [{ path: '/groupBy', message }]);
}

function toBucketSum(row: SqlRow): BucketSum {
  const [orders, cents] = String(row['sums']).split(' ', 2);
  return {
    bucket: Number(row['bucket']),
    epoch: Number(row['epoch']),
    orders: Number(orders),
    cents: BigInt(cents ?? ''),
  };
}
