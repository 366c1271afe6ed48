import type { BucketId } from '../kernel/ids.ts';
import type { Shard, SqlRunner } from './contracts.ts';
import { lockOwned } from './statements.ts';

/** Longest wait for a row lock: housekeeping comes again, and others may queue behind what it holds. */
const LOCK_WAIT_SECONDS = 1;

/**
 * Deletes rows that were found before, as far as this shard owns their buckets when it deletes them: one transaction
 * that takes the fences first, in order, so that it neither meets a move half-way nor waits in circles. `remove` gets
 * the rows of owned buckets, sorted as given, must check again in its own statement that they are still to go, and
 * returns how many it deleted. Idempotent.
 */
export async function deleteOwned<Row extends { readonly bucket: BucketId }>(
  shard: Shard,
  rows: readonly Row[],
  remove: (tx: SqlRunner, owned: readonly Row[]) => Promise<number>,
): Promise<number> {
  if (rows.length === 0) return 0;
  return await shard.transaction(
    async (tx) => {
      const buckets = [...new Set(rows.map(({ bucket }) => bucket))].toSorted((a, b) => a - b);
      const locked = await tx.query(lockOwned(buckets.length), buckets);
      const ours = new Set(locked.map((row) => Number(row['bucket'])));
      const owned = rows.filter(({ bucket }) => ours.has(bucket));
      return owned.length === 0 ? 0 : await remove(tx, owned);
    },
    { lockWaitSeconds: LOCK_WAIT_SECONDS },
  );
}
