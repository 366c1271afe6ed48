import { sqlNow } from '../database/ownership.ts';
import { deleteOwned } from '../database/owned-rows.ts';
import type { BucketId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { PurgeStep, Purger, PurgeWork } from './modules.ts';
import { DELETE_AUDIT, DELETE_ENDED, findEnded } from './purge-statements.ts';

/**
 * Rows of ended sagas outlive those of their ledger by this time: as long as a saga's row is there, nothing is started
 * under its id again, so that nothing new meets what is left of its ledger on a shard that was away for a while.
 */
const LONGER_THAN_LEDGER_MS = 24 * 3_600_000;

/** Deletes ended sagas with what operators asked of them. */
export function journalPurger(kinds: readonly string[]): Purger {
  return { name: 'sagas', purge: (services, work) => purgeEnded(services, kinds, work) };
}

async function purgeEnded(
  { database, config }: Services,
  kinds: readonly string[],
  { shard, olderThanMs, limit }: PurgeWork,
): Promise<PurgeStep> {
  const before = sqlNow(Math.max(0, olderThanMs - LONGER_THAN_LEDGER_MS));
  const ranges = kinds.flatMap((kind) =>
    ['completed', 'compensated'].map((status) => [status, kind, before, before, limit] as const),
  );
  if (ranges.length === 0) return { deleted: 0, next: null };
  return await database.onShard(
    shard,
    async (on) => {
      const rows = await on.query(findEnded(ranges.length), [...ranges.flat(), limit]);
      const sagas = rows
        .map((row) => ({
          bucket: Number(row['bucket']) as BucketId,
          sagaId: String(row['saga_id']),
        }))
        .toSorted((a, b) => a.bucket - b.bucket || (a.sagaId < b.sagaId ? -1 : 1));
      const deleted = await deleteOwned(on, sagas, async (tx, owned) => {
        const keys = JSON.stringify(owned.map(({ bucket, sagaId }) => [bucket, sagaId]));
        const { affectedRows } = await tx.execute(DELETE_ENDED, [keys, before]);
        await tx.execute(DELETE_AUDIT, [keys]);
        return affectedRows;
      });
      return { deleted, next: rows.length < limit ? null : '' };
    },
    { deadlineMs: config.SAGA_STEP_DEADLINE_MS },
  );
}
