import type { SqlRow, SqlValue } from '../database/contracts.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Timestamp } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import type { Lookups } from './lookups.ts';
import type { CheckName, Chunk } from './model.ts';
import type { Suspect } from './suspects.ts';
import type { Counter } from './tally.ts';

export type VerificationServices = Pick<
  Services,
  'blobs' | 'bucketMap' | 'clock' | 'config' | 'database' | 'logger'
>;

/** Last key of a page: the columns of the primary key, in order. */
export type Key = readonly (string | number)[];

/** What a pass reads with and reports to. */
export interface PassContext {
  readonly services: VerificationServices;
  readonly chunk: Chunk;
  readonly counter: Counter;
  readonly lookups: Lookups;
  /** Adds what is to be looked at again. */
  suspect(suspect: Suspect): void;
  /** Adds visible orders of a bucket. */
  addVisible(bucket: number, cents: number): void;
  /** Reservations, locks and sagas untouched since then have been left behind. */
  readonly staleBefore: Timestamp;
}

export interface Page {
  readonly rows: number;
  /** Undefined at the end of the pass. */
  readonly last: Key | undefined;
}

/** One walk over a table's rows in the chunk's buckets, page after page in the order of the primary key. */
export interface Pass {
  /** It is left out when none of these was asked for. */
  readonly checks: readonly CheckName[];
  /** Checks the rows after `after` (empty: from the beginning). Read only, so that it may be repeated. */
  readonly page: (context: PassContext, after: Key) => Promise<Page>;
}

interface PageQuery {
  readonly text: (isFirst: boolean) => string;
  /** Columns of the primary key in the result. */
  readonly key: readonly string[];
  readonly after: Key;
  /** Values of the place where a page goes on; by default bucket, key, bucket, last bucket. */
  readonly goOn?: (after: Key, to: number) => readonly SqlValue[];
}

/** Reads one page; `last` is undefined when it was not full. */
export async function readPage(
  { services, chunk }: PassContext,
  query: PageQuery,
): Promise<{ readonly rows: readonly SqlRow[]; readonly last: Key | undefined }> {
  const { config, database } = services;
  const { after } = query;
  const isFirst = after.length === 0;
  const place = isFirst ? [chunk.from, chunk.to] : (query.goOn ?? goOn)(after, chunk.to);
  const rows = await database.onShard(
    chunk.shard as ShardId,
    (shard) => shard.query(query.text(isFirst), [...place, config.VERIFY_PAGE_ROWS]),
    { deadlineMs: config.VERIFY_DEADLINE_MS },
  );
  const end = rows.length < config.VERIFY_PAGE_ROWS ? undefined : rows.at(-1);
  return { rows, last: end && query.key.map((column) => end[column] as string | number) };
}

function goOn(after: Key, to: number): readonly SqlValue[] {
  const [bucket = 0, key = ''] = after;
  return [bucket, key, bucket, to];
}
