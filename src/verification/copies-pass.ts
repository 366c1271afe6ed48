import type { ShardId } from '../kernel/ids.ts';
import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';
import { at } from './findings.ts';
import type { Pass, PassContext } from './pass.ts';
import { countCopies, READ_OWNED } from './statements.ts';

/**
 * Rows in buckets that the shard does not own: old copies and unfinished ones are counted; rows in a bucket that the shard
 * has no word on belong to nobody. One table a page, in the order of the registry.
 */
export const copiesPass: Pass = {
  checks: ['rows'],
  page: async (context, after) => {
    const [position = 0] = after;
    const table = SHARDED_TABLES[Number(position)];
    if (table === undefined) return { rows: 0, last: undefined };
    return {
      rows: await countTable(context, table.name),
      last: [Number(position) + 1],
    };
  },
};

async function countTable(context: PassContext, table: string): Promise<number> {
  const { counter, chunk, services } = context;
  const buckets = await foreignBuckets(context);
  if (buckets.length === 0) return 0;
  const found = await services.database.onShard(
    chunk.shard as ShardId,
    (shard) => shard.query(countCopies(table, buckets.length), buckets),
    { deadlineMs: services.config.VERIFY_DEADLINE_MS },
  );
  let rows = 0;
  for (const row of found) {
    const n = Number(row['n']);
    const bucket = Number(row['bucket']);
    rows += n;
    const { state } = row;
    if (state === 'gone') counter.figure('oldCopies', n);
    else if (state === 'receiving') counter.figure('unfinishedCopies', n);
    else if (state === null) {
      const where = at(context, 'rows', bucket, `${table} ${bucket}`);
      counter.violation({ ...where, problem: 'no-owner', detail: `${n} rows` });
    }
    // Otherwise it is owned by now, and another pass reads it.
  }
  return rows;
}

async function foreignBuckets(context: PassContext): Promise<number[]> {
  const owned = new Set((await readOwned(context)).map(([bucket]) => bucket));
  const { from, to } = context.chunk;
  return Array.from({ length: to - from + 1 }, (_, index) => from + index).filter(
    (bucket) => !owned.has(bucket),
  );
}

/** Buckets of the chunk that the shard owns, with their epochs. */
export async function readOwned({
  services,
  chunk,
}: Pick<PassContext, 'services' | 'chunk'>): Promise<(readonly [number, number])[]> {
  const rows = await services.database.onShard(
    chunk.shard as ShardId,
    (shard) => shard.query(READ_OWNED, [chunk.from, chunk.to]),
    { deadlineMs: services.config.VERIFY_DEADLINE_MS },
  );
  return rows.map((row) => [Number(row['bucket']), Number(row['epoch'])] as const);
}
