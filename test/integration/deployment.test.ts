import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ShardSettings } from '../../src/config.ts';
import { loadMigrations, parseMigration } from '../../src/database/migration-files.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { asAdmin, createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import { createTestInstance, testConfig } from '../support/test-database.ts';
import { type DatabaseUser, userStatements } from '../../tools/deploy/database-users.ts';
import { deliverSchema, exitCodeOf, type SchemaOptions } from '../../tools/deploy/schema.ts';

const HOST = '127.0.0.1';
const users: Readonly<Record<DatabaseUser['role'], DatabaseUser>> = {
  app: { role: 'app', name: 'least-app', login: { password: 'for-tests-1' } },
  migrator: { role: 'migrator', name: 'least-migrator', login: { password: 'for-tests-2' } },
};

let databases: TestDatabases;
beforeAll(async () => {
  databases = await createTestDatabases();
  for (const user of Object.values(users)) {
    for (const index of databases.shards.keys()) {
      const statements = userStatements(user, databases.database, HOST);
      await asAdmin(databases.stack, index, statements);
    }
  }
});
afterAll(async () => {
  for (const index of databases.shards.keys()) {
    const names = Object.values(users).map((user) => `'${user.name}'@'${HOST}'`);
    await asAdmin(databases.stack, index, [`DROP USER IF EXISTS ${names.join(', ')}`]);
  }
  await databases.drop();
});

function shardsAs(role: DatabaseUser['role']): ShardSettings[] {
  const { name, login } = users[role];
  const password = 'password' in login ? login.password : undefined;
  return testConfig(databases).SHARDS.map((shard) => ({ ...shard, user: name, password }));
}

async function options(change: Partial<SchemaOptions> = {}): Promise<SchemaOptions> {
  return {
    shards: shardsAs('migrator'),
    files: await loadMigrations(),
    concurrency: 2,
    dryRun: false,
    logger: createRecordingLogger(),
    ...change,
  };
}

const states = (results: readonly { readonly state: string }[]) =>
  results.map(({ state }) => state);

/** As the app does with MIGRATE_ON_START=false, under its own user. */
async function asApp(run: (instance: ReturnType<typeof createTestInstance>) => Promise<void>) {
  const instance = createTestInstance(databases, {
    settings: { MIGRATE_ON_START: 'false', SHARDS: JSON.stringify(shardsAs('app')) },
  });
  try {
    await run(instance);
  } finally {
    await instance.database.close();
  }
}

const SELECT_ONE = (instance: ReturnType<typeof createTestInstance>) =>
  instance.database.onShard(0 as ShardId, (shard) => shard.select('SELECT 1 AS one', []), {
    deadlineMs: 10_000,
  });

it('an app before its schema is refused with what to do', async () => {
  await asApp(async (instance) => {
    await expect(SELECT_ONE(instance)).rejects.toMatchObject({
      code: 'configuration-invalid',
      message: expect.stringContaining('older schema') as string,
    });
  });
});

it('a dry run tells what is left and changes nothing', async () => {
  const results = await deliverSchema(await options({ dryRun: true }));
  expect(states(results)).toEqual(['pending', 'pending', 'pending']);
  expect(states(await deliverSchema(await options({ dryRun: true })))).toEqual(states(results));
});

it('nothing is changed while one shard does not answer; a repeat does the rest', async () => {
  await databases.stack.stopShard(1);
  const blocked = await deliverSchema(await options());
  expect(states(blocked)).toEqual(['pending', 'failed', 'pending']);
  expect(exitCodeOf(blocked)).toBe(1);
  await databases.recover();
  const applied = await deliverSchema(await options());
  expect(states(applied)).toEqual(['applied', 'applied', 'applied']);
  expect(exitCodeOf(applied)).toBe(0);
  expect(states(await deliverSchema(await options()))).toEqual(['current', 'current', 'current']);
});

it('two deliveries at once apply it once', async () => {
  const both = await Promise.all([deliverSchema(await options()), deliverSchema(await options())]);
  expect(both.map(exitCodeOf)).toEqual([0, 0]);
});

it('the app sets its shards up and works under its own rights, and may drop no table', async () => {
  await asApp(async (instance) => {
    await instance.database.prewarm();
    await SELECT_ONE(instance);
    const run = (text: string) =>
      instance.database.onShard(0 as ShardId, (shard) => shard.query(text, []), {
        deadlineMs: 10_000,
      });
    await run('SELECT COUNT FROM information_schema.INNODB_METRICS LIMIT 1');
    await run("SHOW GLOBAL STATUS LIKE 'Threads_running'");
    await expect(run('DROP TABLE users')).rejects.toMatchObject({ failure: 'misconfigured' });
    await expect(run('DROP DATABASE mysql')).rejects.toMatchObject({ failure: 'misconfigured' });
    // What maintenance does and reads.
    await instance.database.onSession(
      0 as ShardId,
      async (session) => {
        await session.report('ANALYZE NO_WRITE_TO_BINLOG TABLE users');
        await session.command('ALTER TABLE users FORCE, ALGORITHM=INPLACE, LOCK=NONE');
      },
      { deadlineMs: 30_000 },
    );
    await run('SELECT n_rows FROM mysql.innodb_table_stats LIMIT 1');
    await run('SELECT stat_value FROM mysql.innodb_index_stats LIMIT 1');
    await run('SELECT * FROM performance_schema.table_io_waits_summary_by_index_usage LIMIT 1');
  });
});

it('a version that clashes on one shard stops all of them', async () => {
  const files = await loadMigrations();
  const next = (text: string) => {
    const number = String(files.length + 1).padStart(4, '0');
    return [...files, parseMigration(`${number}_next.sql`, text)];
  };
  const [first] = shardsAs('migrator');
  if (first === undefined) throw new Error('no shard');
  await deliverSchema(await options({ shards: [first], files: next('SELECT 1') }));
  const results = await deliverSchema(await options({ files: next('SELECT 2') }));
  expect(states(results)).toEqual(['clash', 'pending', 'pending']);
  expect(exitCodeOf(results)).toBe(2);
  // This build itself is older than that shard's schema now.
  await asApp(async (instance) => {
    await expect(SELECT_ONE(instance)).rejects.toMatchObject({
      message: expect.stringContaining('a newer build has been here') as string,
    });
  });
});

it('an older app goes on with a newer schema that says it may', async () => {
  const files = await loadMigrations();
  const { database, stack } = databases;
  const log = `\`${database}\`.schema_migrations`;
  await asAdmin(stack, 0, [`DELETE FROM ${log} WHERE version > ${files.length}`]);
  const number = String(files.length + 1).padStart(4, '0');
  const text = `-- compatible-with: ${files.length}\nALTER TABLE users ADD COLUMN later INT NULL;`;
  const newer = [...files, parseMigration(`${number}_later.sql`, text)];
  expect(exitCodeOf(await deliverSchema(await options({ files: newer })))).toBe(0);
  await asApp(async (instance) => {
    expect(await SELECT_ONE(instance)).toHaveLength(1);
  });
});
