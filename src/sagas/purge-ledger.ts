import { sqlNow } from '../database/ownership.ts';
import { deleteOwned } from '../database/owned-rows.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { isRetryable } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import { fromSqlDatetime, toSqlDatetime } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import type { PurgeStep, Purger, PurgeWork } from './modules.ts';
import { DELETE_STEPS, SAGA_ROW, findOldSteps, lookUpSagas } from './purge-statements.ts';
import { homeBucketOf, type SagaId } from './saga-id.ts';

/** Home shards asked at once about the sagas of one chunk. */
const HOMES_AT_ONCE = 4;

interface LedgerRow {
  readonly updatedAt: string;
  readonly bucket: BucketId;
  readonly sagaId: SagaId;
  readonly step: string;
}

/**
 * Deletes ledger rows of sagas that ended longer ago than the retention time, or of which nothing else is left. While a
 * saga runs, compensates or waits for somebody, its rows stay, however old: they are what keeps its steps from having
 * their effect twice. Where a saga's home shard cannot tell, they stay as well.
 */
export const ledgerPurger: Purger = { name: 'saga_steps', purge: purgeSteps };

async function purgeSteps(services: Services, work: PurgeWork): Promise<PurgeStep> {
  const { database, config } = services;
  const { shard, limit } = work;
  const before = sqlNow(Math.max(0, work.olderThanMs));
  const limits = { deadlineMs: config.SAGA_STEP_DEADLINE_MS };
  const rows = await database.onShard(shard, (on) => readOldSteps(on, work, before), limits);
  const over = await endedSagas(
    services,
    rows.map(({ sagaId }) => sagaId),
    before,
  );
  const old = rows.filter(({ sagaId }) => over.has(sagaId)).toSorted(byKey);
  const deleted = await database.onShard(
    shard,
    (on) =>
      deleteOwned(on, old, async (tx, owned) => {
        const keys = owned.map(({ bucket, sagaId, step }) => [bucket, sagaId, step]);
        return (await tx.execute(DELETE_STEPS, [JSON.stringify(keys), before])).affectedRows;
      }),
    limits,
  );
  const last = rows.at(-1);
  return { deleted, next: rows.length < limit || last === undefined ? null : placeOf(last) };
}

async function readOldSteps(
  on: Parameters<Parameters<Services['database']['onShard']>[1]>[0],
  { after, limit }: PurgeWork,
  before: string,
): Promise<readonly LedgerRow[]> {
  const [time = '', bucket = '', sagaId = '', step = ''] = after.split('/', 4);
  const place = after === '' ? [] : [time, time, Number(bucket), sagaId, step];
  const rows = await on.query(findOldSteps(after !== ''), [before, ...place, limit]);
  return rows.map((row) => ({
    updatedAt: toSqlDatetime(fromSqlDatetime(String(row['updated_at']))),
    bucket: Number(row['bucket']) as BucketId,
    sagaId: String(row['saga_id']) as SagaId,
    step: String(row['step']),
  }));
}

/** Of the sagas given, those that ended before `before` and those that are not written down anywhere. */
async function endedSagas(
  services: Services,
  sagaIds: readonly SagaId[],
  before: string,
): Promise<ReadonlySet<SagaId>> {
  const homes = new Map<ShardId, Set<SagaId>>();
  for (const sagaId of new Set(sagaIds)) {
    const { shard } = await services.database.route(homeBucketOf(sagaId));
    homes.set(shard, (homes.get(shard) ?? new Set()).add(sagaId));
  }
  const answers = await mapBounded([...homes], HOMES_AT_ONCE, ([shard, ids]) =>
    askHome(services, shard, { sagaIds: [...ids], before }),
  );
  return new Set(answers.flat());
}

async function askHome(
  services: Services,
  shard: ShardId,
  { sagaIds, before }: { readonly sagaIds: readonly SagaId[]; readonly before: string },
): Promise<readonly SagaId[]> {
  const buckets = [...new Set(sagaIds.map(homeBucketOf))];
  const keys = sagaIds.flatMap((sagaId) => [homeBucketOf(sagaId), sagaId]);
  const text = lookUpSagas(sagaIds.length, buckets.length);
  try {
    const rows = await services.database.onShard(
      shard,
      (on) => on.query(text, [...keys, ...buckets]),
      { deadlineMs: services.config.SAGA_STEP_DEADLINE_MS },
    );
    const isSaga = (row: (typeof rows)[number]): boolean => Number(row['kind']) === SAGA_ROW;
    const here = new Set(rows.filter((row) => !isSaga(row)).map((row) => Number(row['bucket'])));
    const kept = new Set(
      rows
        .filter(isSaga)
        .filter(({ finished_at: ended }) => typeof ended !== 'string' || sqlText(ended) >= before)
        .map((row) => String(row['saga_id'])),
    );
    return sagaIds.filter((sagaId) => here.has(homeBucketOf(sagaId)) && !kept.has(sagaId));
  } catch (error) {
    if (!isRetryable(error)) throw error;
    // That shard tells of its trouble itself, in its own part of the sweep.
    services.logger.log('info', 'sagas.home_away', { shardId: shard, ...errorFields(error) });
    return [];
  }
}

function sqlText(datetime: string): string {
  return toSqlDatetime(fromSqlDatetime(datetime));
}

function placeOf({ updatedAt, bucket, sagaId, step }: LedgerRow): string {
  return [updatedAt, bucket, sagaId, step].join('/');
}

function byKey(a: LedgerRow, b: LedgerRow): number {
  if (a.bucket !== b.bucket) return a.bucket - b.bucket;
  if (a.sagaId !== b.sagaId) return a.sagaId < b.sagaId ? -1 : 1;
  return a.step < b.step ? -1 : 1;
}
