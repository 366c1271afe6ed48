import type { GroupKind, Shard } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';
import { compareIds } from '../kernel/ids.ts';
import { toSqlDatetime } from '../kernel/time.ts';
import { INSERT_ORDERS, READ_INSERTABLE } from './statements.ts';
import type { BucketOrder } from './store.ts';

/**
 * New orders of many callers, written by one statement that takes all or none. Orders that spoil it (a bucket or user that
 * is not here, an id that is taken) are found by one look and left out of a second try; they are done alone, where their
 * own statement tells what is the matter. So one caller's bad order costs the others two round trips, not their group.
 */
export const orderGroup: GroupKind<BucketOrder> = { together: insertTogether };

async function insertTogether(
  shard: Shard,
  orders: readonly BucketOrder[],
): Promise<ReadonlySet<BucketOrder>> {
  const sorted = orders.toSorted(byPrimaryKey);
  if (await insertAll(shard, sorted)) return new Set(sorted);
  const rows = await shard.select(READ_INSERTABLE, [asList(sorted)]);
  const insertable = new Set(
    rows.map((row) => `${Number(row['bucket'])}/${String(row['order_id'])}`),
  );
  const rest = onePerKey(sorted.filter((order) => insertable.has(keyOf(order))));
  return rest.length > 0 && (await insertAll(shard, rest)) ? new Set(rest) : new Set();
}

/** False: nothing was written, since one of them cannot be. */
async function insertAll(shard: Shard, orders: readonly BucketOrder[]): Promise<boolean> {
  try {
    await shard.execute(INSERT_ORDERS, [asList(orders)]);
    return true;
  } catch (error) {
    if (isFailure(error, 'assertion') || isFailure(error, 'duplicate')) return false;
    throw error;
  }
}

/** Two callers may name the same order at once. */
function onePerKey(orders: readonly BucketOrder[]): BucketOrder[] {
  return [...new Map(orders.map((order) => [keyOf(order), order])).values()];
}

function keyOf({ bucket, orderId }: BucketOrder): string {
  return `${bucket}/${orderId}`;
}

/** Statements that overlap in this order wait for each other instead of deadlocking (FACTS-mysql 3). */
function byPrimaryKey(a: BucketOrder, b: BucketOrder): number {
  return a.bucket - b.bucket || compareIds(a.orderId, b.orderId);
}

/** Ids are decimal text that their parser made, times likewise: nothing to escape. */
function asList(orders: readonly BucketOrder[]): string {
  const rows = orders.map(
    ({ bucket, orderId, userId, amountCents, createdAt }) =>
      `[${bucket},${orderId},${userId},${amountCents},"${toSqlDatetime(createdAt)}"]`,
  );
  return `[${rows.join(',')}]`;
}
