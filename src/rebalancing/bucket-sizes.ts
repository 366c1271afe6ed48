import type { Shard, SqlRow } from '../database/contracts.ts';
import { mapBounded } from '../kernel/bounded.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import { bucketsOf } from '../sharding/bucket-map.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import { COUNT_BUCKETS, explainBuckets, READ_TABLE_SIZES } from './size-statements.ts';

export interface BucketSize {
  readonly rows: number;
  readonly bytes: number;
}

/** A shard with fewer rows than this by its own estimate is counted: a second or so. Others are estimated. */
const COUNTED_ROWS = 500_000;
const SHARDS_AT_ONCE = 8;
/** A plan can do without sizes; a person waits for it. */
const DEADLINE_MS = 8_000;

type SizeServices = Pick<Services, 'database' | 'logger'>;

/**
 * Rows and bytes of the buckets that the given shards own: counted where there are few, else guessed from the server's
 * own estimates. For a forecast, no more. A shard that does not answer leaves its buckets without an entry.
 */
export async function readBucketSizes(
  services: SizeServices,
  map: BucketMap,
  shards: readonly ShardId[],
): Promise<ReadonlyMap<BucketId, BucketSize>> {
  const { database, logger } = services;
  const parts = await mapBounded(shards, SHARDS_AT_ONCE, async (shardId) => {
    try {
      return await database.onShard(shardId, (shard) => sizesOf(shard, bucketsOf(map, shardId)), {
        deadlineMs: DEADLINE_MS,
      });
    } catch (error) {
      logger.log('warn', 'rebalancing.sizes_unknown', { shardId, ...errorFields(error) });
      return [];
    }
  });
  return new Map(parts.flat());
}

type Sizes = [BucketId, BucketSize][];

async function sizesOf(shard: Shard, buckets: readonly BucketId[]): Promise<Sizes> {
  if (buckets.length === 0) return [];
  const tables = await shard.query(READ_TABLE_SIZES, []);
  const rows = sumOf(tables, (table) => Number(table['rows_estimate'] ?? 0));
  return rows <= COUNTED_ROWS
    ? await count(shard, tables, buckets)
    : await estimate(shard, tables, buckets);
}

async function count(
  shard: Shard,
  tables: readonly SqlRow[],
  buckets: readonly BucketId[],
): Promise<Sizes> {
  const rowBytes = new Map(
    tables.map((table) => [String(table['name']), Number(table['row_bytes'] ?? 0)]),
  );
  const sizes = new Map<BucketId, BucketSize>(
    buckets.map((bucket) => [bucket, { rows: 0, bytes: 0 }]),
  );
  for (const row of await shard.query(COUNT_BUCKETS, [])) {
    const bucket = Number(row['bucket']) as BucketId;
    const before = sizes.get(bucket);
    // A copy that is on its way here, or was left behind.
    if (before === undefined) continue;
    const rows = Number(row['n']);
    const bytes = rows * (rowBytes.get(String(row['t'])) ?? 0);
    sizes.set(bucket, { rows: before.rows + rows, bytes: before.bytes + bytes });
  }
  return [...sizes];
}

/** Spreads the server's estimate of all rows over the buckets, by their shares of the orders. */
async function estimate(
  shard: Shard,
  tables: readonly SqlRow[],
  buckets: readonly BucketId[],
): Promise<Sizes> {
  const rows = sumOf(tables, (table) => Number(table['rows_estimate'] ?? 0));
  const bytes = sumOf(
    tables,
    (table) => Number(table['rows_estimate'] ?? 0) * Number(table['row_bytes'] ?? 0),
  );
  const plan = await shard.query(explainBuckets(buckets), []);
  const weights = buckets.map((_, index) => Math.max(1, Number(plan[index]?.['rows'] ?? 1)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return buckets.map((bucket, index) => {
    const share = (weights[index] ?? 0) / total;
    return [bucket, { rows: Math.round(rows * share), bytes: Math.round(bytes * share) }];
  });
}

function sumOf(rows: readonly SqlRow[], valueOf: (row: SqlRow) => number): number {
  return rows.reduce((sum, row) => sum + valueOf(row), 0);
}
