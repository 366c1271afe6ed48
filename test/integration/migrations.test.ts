import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Session, SqlRow } from '../../src/database/contracts.ts';
import { parseMigration } from '../../src/database/migration-files.ts';
import type { Migration } from '../../src/database/migration-files.ts';
import { migrate } from '../../src/database/migrations.ts';
import { withSession } from '../../src/database/shard.ts';
import type { ShardContext } from '../../src/database/shard.ts';
import { createShardPools } from '../../src/database/shard-pools.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import type { RecordingLogger } from '../support/recording-logger.ts';
import { createTestInstance, testConfig } from '../support/test-database.ts';
import type { Settings } from '../support/test-database.ts';

const SHARD = 0 as ShardId;
const PATIENT = { deadlineMs: 60_000 };

/** Every moment of a run, or every third. */
const STRIDE = process.env['TEST_LONG'] === '1' ? 1 : 3;

let databases: TestDatabases;
let context: ShardContext;
let logger: RecordingLogger;

beforeAll(async () => {
  databases = await createTestDatabases();
});

afterAll(async () => {
  await databases.drop();
});

beforeEach(() => {
  const config = testConfig(databases);
  const [settings] = config.SHARDS;
  if (settings === undefined) throw new Error('no shard');
  context = {
    id: SHARD,
    name: settings.name,
    pools: createShardPools(SHARD, settings, config),
    acquireTimeoutMs: 20_000,
    statementTimeoutMs: 20_000,
    remainingMs: () => 60_000,
  };
  logger = createRecordingLogger();
});

afterEach(async () => {
  await dropAllTables();
  await Promise.all([context.pools.single.close(1_000), context.pools.batch.close(1_000)]);
});

function rows(text: string): Promise<readonly SqlRow[]> {
  return withSession(context, (session) => session.query(text, []));
}

async function dropAllTables(): Promise<void> {
  const tables = await rows(
    'SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()',
  );
  await withSession(context, async (session) => {
    for (const { name } of tables) await session.command(`DROP TABLE ${String(name)}`);
  });
}

const FIRST = parseMigration(
  '0001_first.sql',
  `CREATE TABLE a (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB;
   INSERT INTO a VALUES (1, 0);
   UPDATE a SET n = n + 1;
   CREATE TABLE b (id INT PRIMARY KEY) ENGINE=InnoDB;`,
);
const SECOND = parseMigration(
  '0002_second.sql',
  `ALTER TABLE b ADD COLUMN extra INT NULL;
   CREATE INDEX b_extra ON b (extra);
   UPDATE a SET n = n + 10;`,
);

function run(
  files: readonly Migration[],
  options: { readonly apply?: boolean; readonly wrap?: (session: Session) => Session } = {},
): Promise<void> {
  const { apply = true, wrap = (session) => session } = options;
  return withSession(context, (session) =>
    migrate(wrap(session), {
      shardId: SHARD,
      shardName: context.name,
      database: databases.database,
      files,
      apply,
      lockWaitSeconds: 1,
      clock: systemClock,
      logger,
    }),
  );
}

/** A session that dies at its `at`-th call to the server, before the call or after it. */
function dyingSession(session: Session, at: number, moment: 'before' | 'after'): Session {
  let calls = 0;
  const mayDie = async <T>(call: () => Promise<T>): Promise<T> => {
    calls += 1;
    if (calls < at) return call();
    session.discard();
    if (calls === at && moment === 'after') await call();
    throw new Crash();
  };
  return {
    execute: (text, values) => mayDie(() => session.execute(text, values)),
    select: (text, values) => mayDie(() => session.select(text, values)),
    query: (text, values) => mayDie(() => session.query(text, values)),
    command: (text, limitMs) => mayDie(() => session.command(text, limitMs)),
    report: (text, limitMs) => mayDie(() => session.report(text, limitMs)),
    discard: () => session.discard(),
  };
}

class Crash extends Error {}

async function expectComplete(): Promise<void> {
  expect(await rows('SELECT id, n FROM a')).toEqual([{ id: 1, n: 11 }]);
  expect(await rows('SELECT id, extra FROM b')).toEqual([]);
  expect(
    await rows(
      'SELECT version, name, begun, done, finished_at IS NOT NULL AS finished FROM schema_migrations ORDER BY version',
    ),
  ).toMatchObject([
    { version: 1, name: '0001_first', begun: 4, done: 4, finished: expect.anything() },
    { version: 2, name: '0002_second', begun: 3, done: 3, finished: expect.anything() },
  ]);
}

describe('migrations', () => {
  it('apply in order, once', async () => {
    await run([FIRST]);
    await run([FIRST, SECOND]);
    await run([FIRST, SECOND]);
    await expectComplete();
    const applied = logger.events.filter((event) => event.event === 'database.migration_applied');
    expect(applied.map((event) => event.fields['migration'])).toEqual([
      '0001_first',
      '0002_second',
    ]);
  });

  it('go on after a crash at any moment', async () => {
    let crashes = 0;
    for (const moment of ['before', 'after'] as const) {
      for (let at = 1; ; at += STRIDE) {
        const crashed = await run([FIRST, SECOND], {
          wrap: (session) => dyingSession(session, at, moment),
        }).then(
          () => false,
          (error: unknown) => {
            if (!(error instanceof Crash)) throw error;
            return true;
          },
        );
        await run([FIRST, SECOND]);
        await expectComplete();
        await dropAllTables();
        if (!crashed) break;
        crashes += 1;
      }
    }
    console.log(`migrations, ${databases.engine}: resumed after each of ${crashes} crashes`);
    expect(crashes * STRIDE).toBeGreaterThan(2 * 4 * 7);
  });

  it('do not take an error for a statement that is there already, unless it was under way', async () => {
    await withSession(context, (session) => session.command('CREATE TABLE b (other INT)'));
    for (let attempt = 1; attempt <= 2; attempt++) {
      await expect(run([FIRST])).rejects.toMatchObject({ failure: 'rejected' });
    }
    await withSession(context, (session) => session.command('DROP TABLE b'));
    await run([FIRST, SECOND]);
    await expectComplete();
  });

  it('undo the data change of a statement that fails', async () => {
    const failing = parseMigration(
      '0001_failing.sql',
      'CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a VALUES (1), (2), (1);',
    );
    await expect(run([failing])).rejects.toMatchObject({ failure: 'duplicate' });
    expect(await rows('SELECT id FROM a')).toEqual([]);
  });

  it('refuse a file that has changed', async () => {
    await run([FIRST]);
    const changed = parseMigration('0001_first.sql', 'CREATE TABLE a (id BIGINT PRIMARY KEY);');
    await expect(run([changed])).rejects.toMatchObject({
      code: 'configuration-invalid',
      message: expect.stringContaining('0001_first has changed'),
    });
  });

  it('refuse a schema that a newer build has left', async () => {
    await run([FIRST, SECOND]);
    await expect(run([FIRST])).rejects.toMatchObject({
      code: 'configuration-invalid',
      message: expect.stringContaining('a newer build has been here'),
    });
  });

  it('only look when they are not to be applied', async () => {
    await expect(run([FIRST], { apply: false })).rejects.toMatchObject({
      code: 'configuration-invalid',
      message: expect.stringContaining('MIGRATE_ON_START is false'),
    });
    await run([FIRST]);
    await run([FIRST], { apply: false });
    await expect(run([FIRST, SECOND], { apply: false })).rejects.toMatchObject({
      code: 'configuration-invalid',
    });
  });

  it('wait for another instance that is at it, and give up after a while', async () => {
    let free = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      free = resolve;
    });
    let begun = (): void => undefined;
    const started = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const slow = run([FIRST], {
      wrap: (session) => ({
        ...session,
        execute: async (text, values) => {
          begun();
          await held;
          return session.execute(text, values);
        },
      }),
    });
    await started;
    await expect(run([FIRST])).rejects.toMatchObject({ code: 'shard-unavailable' });
    free();
    await slow;
    await run([FIRST]);
  });
});

describe('instances that start together on empty databases', () => {
  it.each([2, 8])('%i of them migrate and seed every shard once', async (count) => {
    const settings: Settings = { SHARD_POOL_SIZE: '2', SHARD_BATCH_POOL_SIZE: '1' };
    const instances = Array.from({ length: count }, () =>
      createTestInstance(databases, { settings }),
    );
    try {
      await Promise.all(
        instances.map(({ database }) =>
          Promise.all(
            database
              .shardIds()
              .map((shard) =>
                database.onShard(shard, (on) => on.select('SELECT 1 AS one', []), PATIENT),
              ),
          ),
        ),
      );
      const events = instances.flatMap((instance) => instance.logger.events);
      const perShard = (event: string): number[] =>
        events
          .filter((entry) => entry.event === event)
          .map((entry) => Number(entry.fields['shardId']))
          .toSorted((a, b) => a - b);
      const [first] = instances;
      const versions = await first?.database.onShard(
        SHARD,
        (on) => on.query('SELECT COUNT(*) AS n FROM schema_migrations', []),
        PATIENT,
      );
      const files = Number(versions?.[0]?.['n']);
      expect(perShard('database.migration_applied')).toHaveLength(3 * files);
      expect(perShard('database.shard_seeded')).toEqual([0, 1, 2]);
    } finally {
      await Promise.all(instances.map((instance) => instance.database.close()));
      for (const index of [1, 2]) await resetShard(index);
    }
  });
});

/** The other tests clean only the first shard. */
async function resetShard(index: number): Promise<void> {
  const config = testConfig(databases);
  const settings = config.SHARDS[index];
  if (settings === undefined) throw new Error('no shard');
  const own = context;
  context = { ...own, pools: createShardPools(index, settings, config) };
  await dropAllTables();
  await context.pools.single.close(1_000);
  context = own;
}
