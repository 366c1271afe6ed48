import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';

/** Tables of ours that tell of one server and do not move with buckets (`sql/shard`). */
const SERVER_TABLES = [
  'schema_migrations',
  'shard_identity',
  'bucket_ownership',
  'bucket_moves',
  'ingestion_chunks',
  'maintenance_log',
  'maintenance_tables',
] as const;

/** All tables that this build knows; a test compares them with the schema. */
export const REGISTERED_TABLES: readonly string[] = [
  ...SHARDED_TABLES.map((table) => table.name),
  ...SERVER_TABLES,
];
