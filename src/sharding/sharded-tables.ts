/**
 * The registry of sharded tables: every table with a `bucket` column. Move, verify, purge, aggregate
 * checks and maintenance read it; a test fails when the schema has a bucket table that is missing here.
 * Each table's primary key begins with `bucket`, so that one bucket is one contiguous range.
 */
export interface ShardedTable {
  readonly name: string;
  /** Primary key, in order. */
  readonly primaryKey: readonly string[];
  /** All columns, in the order of the schema. */
  readonly columns: readonly string[];
  /** The column whose hash is the bucket, or null when the bucket is that of another key. */
  readonly hashedColumn: string | null;
}

export const SHARDED_TABLES: readonly ShardedTable[] = [
  {
    name: 'users',
    primaryKey: ['bucket', 'user_id'],
    columns: ['bucket', 'user_id', 'email', 'email_key', 'created_at'],
    hashedColumn: 'user_id',
  },
  {
    name: 'orders',
    primaryKey: ['bucket', 'order_id'],
    columns: ['bucket', 'order_id', 'user_id', 'amount_cents', 'created_at'],
    hashedColumn: 'user_id',
  },
  {
    name: 'idempotency_keys',
    primaryKey: ['bucket', 'scope', 'key_hash'],
    columns: ['bucket', 'scope', 'key_hash', 'request_hash', 'resource_id', 'created_at'],
    hashedColumn: null,
  },
];
