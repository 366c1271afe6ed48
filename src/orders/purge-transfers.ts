import { deleteOwned } from '../database/owned-rows.ts';
import { sqlNow } from '../database/ownership.ts';
import { compareIds, type BucketId } from '../kernel/ids.ts';
import type { PurgeStep, Purger, PurgeWork } from '../sagas/modules.ts';
import type { Services } from '../services.ts';
import { DELETE_MOVED, FIND_MOVED } from './purge-statements.ts';

/** Deletes what orders left behind where they went to another user: their old row and its trace, both or none. */
export const transfersPurger: Purger = { name: 'order_transfers', purge: purgeMoved };

async function purgeMoved(
  { database, config }: Services,
  { shard, olderThanMs, limit }: PurgeWork,
): Promise<PurgeStep> {
  const before = sqlNow(Math.max(0, olderThanMs));
  return await database.onShard(
    shard,
    async (on) => {
      const found = await on.query(FIND_MOVED, [before, limit]);
      const rows = found
        .map((row) => ({
          bucket: Number(row['bucket']) as BucketId,
          orderId: String(row['order_id']),
        }))
        .toSorted((a, b) => a.bucket - b.bucket || compareIds(a.orderId, b.orderId));
      const deleted = await deleteOwned(on, rows, async (tx, owned) => {
        // Ids as bare numbers: as text they would be compared as doubles.
        const keys = owned.map(({ bucket, orderId }) => `[${bucket},${orderId}]`).join(',');
        const { affectedRows } = await tx.execute(DELETE_MOVED, [`[${keys}]`, before]);
        return affectedRows / 2;
      });
      return { deleted, next: found.length < limit ? null : '' };
    },
    { deadlineMs: config.SAGA_STEP_DEADLINE_MS },
  );
}
