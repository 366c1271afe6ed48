import {
  ARRIVAL_STEP,
  DEPARTURE_STEP,
  LOCAL_ARRIVAL_STEP,
  LOCAL_DEPARTURE_STEP,
} from '../orders/contracts.ts';
import type { Grouping, ReportRequest } from './model.ts';

/**
 * States in which a shard's rows of a bucket are the bucket's orders. A fenced bucket takes no writes but has not
 * moved yet; `receiving` is an unfinished copy and `gone` an old one.
 */
const COUNTED = "w.state IN ('owned', 'fenced')";

/** `orders.state` of orders that are seen and counted: plain, and locked at the source of a transfer (ADR 0015). */
const VISIBLE = 'o.state < 2';

/** Ledger rows of a statement at most, each some 300 bytes: 700 transfers per second and shard for a total. */
export const MAX_SIGHTINGS = 100_000;

/**
 * Ledger rows that tell of transfers, of the statement's snapshot and in buckets the shard owns. Only rows of the given age
 * are looked at, in an index that holds the step as well. A step that an operator skipped has a result when the order was
 * shown after all. Value: the time from which on.
 */
function sightings(columns: string, buckets: string): string {
  const steps = [DEPARTURE_STEP, ARRIVAL_STEP, LOCAL_DEPARTURE_STEP, LOCAL_ARRIVAL_STEP];
  return `
(SELECT ${columns}, s.saga_id, s.step, s.result
 FROM saga_steps s FORCE INDEX (saga_steps_by_age)
 STRAIGHT_JOIN bucket_ownership w ON w.bucket = s.bucket
 WHERE s.updated_at >= CAST(? AS DATETIME(3)) ${buckets}
 AND s.step IN (${steps.map((step) => `'${step}'`).join(', ')})
 AND s.state <> 'undone' AND s.result IS NOT NULL AND ${COUNTED}
 LIMIT ${MAX_SIGHTINGS + 1})`;
}

/** Orders and cents of one bucket, with a space between: a subquery has one column. Reads one range of the primary key. */
function sumsOf(bucket: string): string {
  return `(
  SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(o.amount_cents), 0)) FROM orders o
  WHERE o.bucket = ${bucket} AND ${VISIBLE}
)`;
}

/**
 * How many buckets the shard owns (`owned`), and of how many others it has orders (`others`): old copies and such that are coming.
 * Costs one look into the primary key for each bucket that the shard has heard of and does not own.
 */
export const COUNT_BUCKETS = `
SELECT COALESCE(SUM(${COUNTED}), 0) AS owned, COALESCE(SUM(
  NOT (${COUNTED}) AND EXISTS (SELECT 1 FROM orders o WHERE o.bucket = w.bucket)
), 0) AS others
FROM bucket_ownership w`;

/**
 * The shard's orders as one sum, and which buckets that is of: one statement is one snapshot. Rows:
 *
 * - without `bucket`: `sums` (orders and cents, with a space between) of all rows there are;
 * - with `bucket` and `epoch`: one that the shard owns;
 * - with `bucket` and `sums`: one that has rows and is not the shard's (an old copy, or one that is coming). It is in the first
 *   row as well, and to be taken off. Found in the primary key, by one look per bucket;
 * - with `saga_id`, `step`, `result`: the transfers of late.
 *
 * Value: the time from which on. A plain scan costs the least of all ways to read the rows; told apart by bucket they cost
 * a fifth to a third more on MySQL, whatever the statement ({@link SUM_OWNED_BUCKETS}). Rows that are not the shard's are
 * read twice: with more than some of them ({@link COUNT_BUCKETS}) the other statement costs less.
 *
 * Cents are added up as doubles, without decimal arithmetic. Amounts are whole and positive, so that the sum never falls on its
 * way: every step of it is exact if the result is below 2^53, which the caller looks at.
 */
export const SUM_SHARD = `
(SELECT NULL AS bucket, NULL AS epoch,
  CONCAT(COUNT(*), ' ', CAST(COALESCE(SUM(o.amount_cents + 0e0), 0) AS SIGNED)) AS sums,
  NULL AS saga_id, NULL AS step, NULL AS result
 FROM orders o WHERE ${VISIBLE})
UNION ALL
(SELECT w.bucket, w.epoch, NULL, NULL, NULL, NULL FROM bucket_ownership w WHERE ${COUNTED})
UNION ALL
(SELECT d.bucket, NULL, ${sumsOf('d.bucket')}, NULL, NULL, NULL
 FROM (SELECT DISTINCT bucket FROM orders FORCE INDEX (PRIMARY)) d
 LEFT JOIN bucket_ownership w ON w.bucket = d.bucket AND ${COUNTED}
 WHERE w.bucket IS NULL)
UNION ALL ${sightings('s.bucket, 0, NULL', '')}`;

/**
 * Orders and cents of each bucket the shard owns, with the ownership that this holds for: one statement is one
 * snapshot. Buckets without orders are listed too, so that the caller can tell that all 1024 were counted. Columns:
 * `bucket`, `epoch`, `sums` (orders and cents, with a space between). In the same snapshot the transfers of late, with
 * `saga_id`, `step` and `result`, and without sums. Value: the time from which on.
 *
 * At 300 000 rows in memory it takes, of a plain SUM over the table, 1.46 to 1.63 on MySQL 9.7 and
 * 1.33 to 1.55 on MariaDB 10.11 over several runs; without a look at the state 1.36 to 1.40 and 1.22 to 1.49. A plain
 * SUM with that look takes 1.23 and 1.11, and grouping the table by bucket with it, with no owners at all, 1.50 and 1.33.
 * A thousand transfers within the horizon add some 7 ms.
 *
 * Ruled out: an outer join with GROUP BY 1.9 and 1.5, an inner one with the buckets listed apart 1.7 and 1.5, `SUM(IF(…))`
 * 1.8 and 1.6, a filter by `IN (SELECT …)` up to 2.9, other ways to write the condition no better. Taking off the
 * moved orders found through `order_transfers` takes 3 and 2.5 with 10 % of them. A covering index gains nothing in memory
 * and costs inserts 15 to 25 % (FACTS-mysql 7).
 */
export const SUM_OWNED_BUCKETS = sumBuckets('');

/** As {@link SUM_OWNED_BUCKETS} for one bucket; no row of sums when the shard does not own it. Values: bucket, time, bucket. */
export const SUM_ONE_BUCKET = sumBuckets('= ?');

function sumBuckets(which: '' | '= ?'): string {
  return `
(SELECT w.bucket, w.epoch, ${sumsOf('w.bucket')} AS sums, NULL AS saga_id, NULL AS step, NULL AS result
FROM bucket_ownership w
WHERE ${COUNTED} ${which && `AND w.bucket ${which}`})
UNION ALL ${sightings('s.bucket, 0, NULL', which && `AND s.bucket ${which}`)}`;
}

/** Numbers instead of texts: cheaper to group by, and a UNION of them has no collation to disagree about. */
const GROUP_KEYS: Readonly<Record<Grouping, string>> = {
  none: '0',
  day: 'DATE(o.created_at) + 0',
  month: 'EXTRACT(YEAR_MONTH FROM o.created_at)',
};

/** Rows of {@link sumGroups}: a group's sums, or a bucket that they include. */
export const GROUP_ROW = 0;
export const BUCKET_ROW = 1;
/** A transfer that began or ended in one of them. */
export const SIGHTING_ROW = 2;

/**
 * Sums by group over those of the given buckets that the shard owns, which ones those are, and the
 * transfers of late in them. All are parts of one statement and hence of one snapshot; asked for one after the other, a
 * bucket could leave in between and be counted at its new owner as well. Columns: `kind`, `k` (group key or bucket), `n`
 * (orders), `s` (cents), `saga_id`, `step`, `result`.
 *
 * Values: for the groups the buckets, then `from` and `to` where given (DATETIME text); then the buckets
 * again; then the time of the earliest transfers (DATETIME text) and the buckets. Each bucket is one range of the primary key.
 */
export function sumGroups(
  buckets: number,
  request: Pick<ReportRequest, 'groupBy'> & { readonly from: boolean; readonly to: boolean },
  maxGroups: number,
): string {
  const list = Array.from({ length: buckets }, () => '?').join(', ');
  const from = request.from ? 'AND o.created_at >= ?' : '';
  const to = request.to ? 'AND o.created_at < ?' : '';
  return `
(SELECT ${GROUP_ROW} AS kind, ${GROUP_KEYS[request.groupBy]} AS k, COUNT(*) AS n, SUM(o.amount_cents) AS s,
  NULL AS saga_id, NULL AS step, NULL AS result
 FROM bucket_ownership w
 STRAIGHT_JOIN orders o ON o.bucket = w.bucket
 WHERE w.bucket IN (${list}) AND ${COUNTED} AND ${VISIBLE} ${from} ${to}
 GROUP BY k
 LIMIT ${maxGroups})
UNION ALL
(SELECT ${BUCKET_ROW}, w.bucket, 0, 0, NULL, NULL, NULL
 FROM bucket_ownership w WHERE w.bucket IN (${list}) AND ${COUNTED})
UNION ALL ${sightings(`${SIGHTING_ROW}, s.bucket, 0, 0`, `AND s.bucket IN (${list})`)}`;
}
