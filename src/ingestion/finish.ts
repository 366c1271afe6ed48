import { mapBounded } from '../kernel/bounded.ts';
import type { ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import { timestampOf } from '../kernel/time.ts';
import { DELETE_CHUNK_RECORDS } from '../orders/batch-statements.ts';
import type { Services } from '../services.ts';
import type { Counts, Failure, Segment } from './model.ts';
import { firstRejects } from './rejects.ts';
import { CONTAINER, createIngestionStore, type IngestionStore } from './store.ts';

/** A tidy-up has no caller to answer to; what it leaves behind is small. */
const TIDY_DEADLINE_MS = 5_000;
const TIDY_AT_ONCE = 8;
/** Blobs removed: 1 000 000 orders in chunks of 2 000 make 500, remainders and lost tries some more. */
const TIDY_MAX_BLOBS = 4_000;

/** Rows removed per statement, as in the statement. */
const DELETED_AT_ONCE = 1_000;

/**
 * Writes the result of an ingestion, once: whoever comes second gets the first one's figures. Then removes chunks and
 * chunk records, which nobody needs after that; a failure to remove them is logged and left alone.
 */
export async function finish(
  services: Services,
  ending: {
    readonly ingestionId: string;
    readonly received: number;
    readonly counts: Counts;
    readonly failure?: Failure | undefined;
  },
): Promise<Counts> {
  const { ingestionId, received, counts, failure } = ending;
  const store = createIngestionStore(services.blobs);
  const manifest = await store.readManifest(ingestionId);
  const segments = await settledSegments(store, ingestionId);
  const now = timestampOf(services.clock.nowMs()) as string;
  const shown = await firstRejects(services.blobs, ingestionId, {
    partitioned: segments.filter(({ rejected }) => rejected > 0).map(({ prefix }) => prefix),
  });
  const result = await store.settleResult({
    ingestionId,
    status: failure === undefined ? 'completed' : 'failed',
    received,
    ...counts,
    ...shown,
    ...(failure !== undefined && { failure }),
    startedAt: manifest?.createdAt ?? now,
    finishedAt: now,
  });
  services.logger.log('info', 'ingestion.finished', {
    ingestionId,
    status: result.status,
    rows: result.received,
    inserted: result.inserted,
  });
  await tidy(services, ingestionId, [
    ...new Set(
      [...segments.flatMap(({ shards }) => shards), ...result.perShard].map((entry) => entry.shard),
    ),
  ]);
  const { inserted, duplicates, conflicts, rejected, perShard } = result;
  return { inserted, duplicates, conflicts, rejected, perShard };
}

/** Those that were cut, in order. */
async function settledSegments(store: IngestionStore, ingestionId: string): Promise<Segment[]> {
  const segments: Segment[] = [];
  let segment = await store.readSegment(ingestionId, 0);
  while (segment !== undefined) {
    segments.push(segment);
    segment =
      segment.next === null ? undefined : await store.readSegment(ingestionId, segments.length);
  }
  return segments;
}

async function tidy(
  services: Services,
  ingestionId: string,
  shards: readonly number[],
): Promise<void> {
  const { blobs, database, logger } = services;
  const attempt = async (run: () => Promise<void>): Promise<void> => {
    try {
      await run();
    } catch (error) {
      logger.log('warn', 'ingestion.tidy_failed', { ingestionId, ...errorFields(error) });
    }
  };
  await mapBounded(shards, TIDY_AT_ONCE, (shard) =>
    attempt(() =>
      database.onShard(
        shard as ShardId,
        async (target) => {
          let deleted = DELETED_AT_ONCE;
          while (deleted === DELETED_AT_ONCE) {
            deleted = (await target.execute(DELETE_CHUNK_RECORDS, [ingestionId])).affectedRows;
          }
        },
        { deadlineMs: TIDY_DEADLINE_MS },
      ),
    ),
  );
  await attempt(async () => {
    const names = await blobs.list(CONTAINER, `${ingestionId}/try-`, TIDY_MAX_BLOBS);
    // Rejects stay: they are what an operator asks for later.
    const chunks = names.filter((name) => !name.includes('/rejects/'));
    await mapBounded(chunks, TIDY_AT_ONCE, (name) => blobs.delete(CONTAINER, name));
  });
}
