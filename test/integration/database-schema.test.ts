import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SqlRow } from '../../src/database/contracts.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { REGISTERED_TABLES } from '../../src/maintenance/registry.ts';
import { SHARDED_TABLES } from '../../src/sharding/sharded-tables.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createTestInstance } from '../support/test-database.ts';
import type { TestInstance } from '../support/test-database.ts';

let databases: TestDatabases;
let instance: TestInstance;

beforeAll(async () => {
  databases = await createTestDatabases();
  instance = createTestInstance(databases);
});

afterAll(async () => {
  await instance.database.close();
  await databases.drop();
});

function onFirst(text: string, values: readonly string[] = []): Promise<readonly SqlRow[]> {
  return instance.database.onShard(0 as ShardId, (shard) => shard.query(text, values), {
    deadlineMs: 20_000,
  });
}

async function columnsOf(table: string): Promise<unknown[]> {
  const rows = await onFirst(
    'SELECT COLUMN_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION',
    [table],
  );
  return rows.map((row) => row['name']);
}

async function primaryKeyOf(table: string): Promise<unknown[]> {
  const rows = await onFirst(
    "SELECT COLUMN_NAME AS name FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX",
    [table],
  );
  return rows.map((row) => row['name']);
}

describe('the schema and the registry of sharded tables', () => {
  it('name the same tables', async () => {
    const rows = await onFirst(
      "SELECT TABLE_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_NAME = 'bucket'",
    );
    // `bucket_ownership` and `bucket_moves` are about buckets; their rows do not move with them.
    const inSchema = rows
      .map((row) => String(row['name']))
      .filter((name) => name !== 'bucket_ownership' && name !== 'bucket_moves');
    expect(inSchema.toSorted()).toEqual(SHARDED_TABLES.map((table) => table.name).toSorted());
  });

  it('maintenance knows every table', async () => {
    const rows = await onFirst(
      'SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()',
    );
    const inSchema = rows.map((row) => String(row['name']));
    expect(inSchema.toSorted()).toEqual(REGISTERED_TABLES.toSorted());
  });

  it.each(SHARDED_TABLES)('agree on $name', async (table) => {
    expect(await columnsOf(table.name)).toEqual(table.columns);
    expect(await primaryKeyOf(table.name)).toEqual(table.primaryKey);
    expect(table.primaryKey[0]).toBe('bucket');
    expect([null, ...table.columns]).toContain(table.hashedColumn);
  });
});

describe('a session', () => {
  it('is set up before its first statement', async () => {
    const isolation = databases.engine === 'mysql' ? 'transaction_isolation' : 'tx_isolation';
    const [row] = await onFirst(
      `SELECT @@SESSION.${isolation} AS isolation, @@SESSION.time_zone AS zone, @@SESSION.sql_mode AS mode, @@SESSION.innodb_lock_wait_timeout AS lock_wait, @@SESSION.lock_wait_timeout AS metadata_wait, @@SESSION.wait_timeout AS silence, @@SESSION.${databases.engine === 'mysql' ? 'max_execution_time' : 'max_statement_time'} AS statement_limit`,
    );
    expect(row).toMatchObject({ isolation: 'READ-COMMITTED', zone: '+00:00' });
    expect(String(row?.['mode'])).toContain('STRICT_TRANS_TABLES');
    expect(Number(row?.['lock_wait'])).toBe(5);
    expect(Number(row?.['metadata_wait'])).toBe(5);
    expect(Number(row?.['silence'])).toBe(120);
    expect(Number(row?.['statement_limit'])).toBe(databases.engine === 'mysql' ? 15_000 : 15);
  });

  it('reads and writes 64-bit numbers exactly', async () => {
    const largest = '9223372036854775807';
    for (const value of [largest, BigInt(largest)]) {
      const [prepared] = await instance.database.onShard(
        0 as ShardId,
        (shard) => shard.select('SELECT CAST(? AS SIGNED) AS n', [value]),
        { deadlineMs: 5_000 },
      );
      expect(prepared).toEqual({ n: largest });
    }
    expect(await onFirst(`SELECT ${largest} AS n, COUNT(*) AS c FROM users`)).toEqual([
      { n: largest, c: '0' },
    ]);
  });
});
