import type { SqlRow } from '../database/contracts.ts';
import { mapBounded } from '../kernel/bounded.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { holdingOf, type Holding } from './order-holding.ts';
import { FIND_EMAILS, FIND_ORDERS, FIND_SAGAS, FIND_USERS } from './statements.ts';

/** A key with the bucket that it lies in. */
export interface Placed {
  readonly bucket: number;
  readonly key: string;
}

/**
 * Many rows of other buckets at once, from the shards that the map names. What is not found there may be elsewhere: a
 * reason to look again, no more.
 */
export interface Lookups {
  /** By key in hex, upper case. */
  emails(keys: readonly Placed[]): Promise<ReadonlyMap<string, HeldEmail>>;
  /** User id → email key in hex, upper case. */
  users(ids: readonly Placed[]): Promise<ReadonlyMap<string, string>>;
  /** By {@link orderName}. */
  orders(ids: readonly Placed[]): Promise<ReadonlyMap<string, Holding>>;
  /** Those that have a journal row. */
  sagas(ids: readonly Placed[]): Promise<ReadonlySet<string>>;
}

export interface HeldEmail {
  readonly userId: string;
  readonly state: string;
}

/** Keys of one statement: a text of some 80 KB. */
const KEYS_AT_ONCE = 1_000;
/** Statements of one activity at once; they go to several shards. */
const STATEMENTS_AT_ONCE = 4;

export function orderName(bucket: number, orderId: string): string {
  return `${bucket}/${orderId}`;
}

export function createLookups(
  services: Pick<Services, 'bucketMap' | 'config' | 'database'>,
): Lookups {
  const find = async (text: string, keys: readonly Placed[]): Promise<SqlRow[]> => {
    const { assignment } = await services.bucketMap.current();
    const batches = batchesByShard(keys, assignment);
    const found = await mapBounded(batches, STATEMENTS_AT_ONCE, ({ shard, pairs }) =>
      services.database.onShard(
        shard as ShardId,
        (each) => each.query(text, [JSON.stringify(pairs)]),
        { deadlineMs: services.config.VERIFY_DEADLINE_MS },
      ),
    );
    return found.flat();
  };
  return {
    emails: async (keys) => {
      const rows = await find(FIND_EMAILS, keys);
      return new Map(
        rows.map((row) => [
          String(row['k']),
          { userId: String(row['user_id']), state: String(row['state']) },
        ]),
      );
    },
    users: async (ids) => {
      const rows = await find(FIND_USERS, ids);
      return new Map(rows.map((row) => [String(row['user_id']), String(row['k'])]));
    },
    orders: async (ids) => {
      const rows = await find(FIND_ORDERS, ids);
      return new Map(
        rows.map((row) => {
          const [bucket, orderId] = [Number(row['bucket']), String(row['order_id'])];
          return [orderName(bucket, orderId), holdingOf(row, bucket, orderId)];
        }),
      );
    },
    sagas: async (ids) => {
      const rows = await find(FIND_SAGAS, ids);
      return new Set(rows.map((row) => String(row['saga_id'])));
    },
  };
}

function batchesByShard(
  keys: readonly Placed[],
  assignment: readonly number[],
): { readonly shard: number; readonly pairs: readonly (readonly [number, string])[] }[] {
  const byShard = new Map<number, Map<string, readonly [number, string]>>();
  for (const { bucket, key } of keys) {
    const shard = assignment[bucket] as number;
    const own = byShard.get(shard) ?? new Map<string, readonly [number, string]>();
    own.set(`${bucket}/${key}`, [bucket, key]);
    byShard.set(shard, own);
  }
  return [...byShard].flatMap(([shard, own]) => {
    const pairs = [...own.values()];
    return Array.from({ length: Math.ceil(pairs.length / KEYS_AT_ONCE) }, (_, index) => ({
      shard,
      pairs: pairs.slice(index * KEYS_AT_ONCE, (index + 1) * KEYS_AT_ONCE),
    }));
  });
}
