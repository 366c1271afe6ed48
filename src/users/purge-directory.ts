import { deleteOwned } from '../database/owned-rows.ts';
import { sqlNow } from '../database/ownership.ts';
import type { BucketId } from '../kernel/ids.ts';
import type { PurgeStep, Purger, PurgeWork } from '../sagas/modules.ts';
import type { Services } from '../services.ts';
import { DELETE_RELEASED, FIND_RELEASED } from './purge-statements.ts';

/** Deletes emails that nobody has any more from the directory. */
export const directoryPurger: Purger = { name: 'email_directory', purge: purgeReleased };

async function purgeReleased(
  { database, config }: Services,
  { shard, olderThanMs, limit }: PurgeWork,
): Promise<PurgeStep> {
  const before = sqlNow(Math.max(0, olderThanMs));
  return await database.onShard(
    shard,
    async (on) => {
      const found = await on.query(FIND_RELEASED, [before, limit]);
      const rows = found
        .map((row) => ({
          bucket: Number(row['bucket']) as BucketId,
          key: String(row['email_key']),
        }))
        .toSorted((a, b) => a.bucket - b.bucket || (a.key < b.key ? -1 : 1));
      const deleted = await deleteOwned(on, rows, async (tx, owned) => {
        const keys = owned.map(({ bucket, key }) => [bucket, key]);
        return (await tx.execute(DELETE_RELEASED, [JSON.stringify(keys), before])).affectedRows;
      });
      return { deleted, next: found.length < limit ? null : '' };
    },
    { deadlineMs: config.SAGA_STEP_DEADLINE_MS },
  );
}
