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
    columns: ['bucket', 'order_id', 'user_id', 'amount_cents', 'created_at', 'state', 'placed_for'],
    hashedColumn: 'user_id',
  },
  {
    name: 'idempotency_keys',
    primaryKey: ['bucket', 'scope', 'key_hash'],
    columns: ['bucket', 'scope', 'key_hash', 'request_hash', 'resource_id', 'created_at'],
    hashedColumn: null,
  },
  {
    name: 'order_transfers',
    primaryKey: ['bucket', 'order_id'],
    columns: ['bucket', 'order_id', 'user_id', 'peer_user_id', 'state', 'saga_id', 'updated_at'],
    hashedColumn: 'user_id',
  },
  {
    name: 'email_directory',
    primaryKey: ['bucket', 'email_key'],
    columns: ['bucket', 'email_key', 'email', 'user_id', 'state', 'saga_id', 'updated_at'],
    hashedColumn: 'email',
  },
  {
    name: 'saga_steps',
    primaryKey: ['bucket', 'saga_id', 'step'],
    columns: ['bucket', 'saga_id', 'step', 'state', 'result', 'updated_at'],
    hashedColumn: null,
  },
  {
    // The home bucket of a saga id may be carried by the id (`sagas/saga-id.ts`).
    name: 'sagas',
    primaryKey: ['bucket', 'saga_id'],
    columns: [
      'bucket',
      'saga_id',
      'kind',
      'status',
      'attention',
      'input',
      'steps',
      'outcome',
      'created_at',
      'updated_at',
      'finished_at',
    ],
    hashedColumn: null,
  },
  {
    name: 'saga_audit',
    primaryKey: ['bucket', 'saga_id', 'entry'],
    columns: [
      'bucket',
      'saga_id',
      'entry',
      'verb',
      'step',
      'reason',
      'requested_by',
      'request_id',
      'requested_at',
      'state',
      'settled_at',
    ],
    hashedColumn: null,
  },
];
