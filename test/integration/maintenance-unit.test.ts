import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { adviseShard } from '../../src/maintenance/advice.ts';
import { purgeLog, readDurations } from '../../src/maintenance/command-log.ts';
import { inspectShard } from '../../src/maintenance/inspect.ts';
import { unitOutcomeSchema } from '../../src/maintenance/model.ts';
import { maintenanceLock } from '../../src/maintenance/unit.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createMaintenanceWorld, planned, SHARD } from '../support/maintenance/world.ts';
import type { MaintenanceWorld } from '../support/maintenance/world.ts';

let databases: TestDatabases;
let world: MaintenanceWorld;

beforeAll(async () => {
  databases = await createTestDatabases();
  world = createMaintenanceWorld(databases);
  await world.services.database.prewarm();
});

afterEach(async () => {
  await databases.recover();
});

afterAll(async () => {
  await world.services.close();
  await databases.drop();
});

describe('a table that needs it', () => {
  it('is rebuilt when half of its rows are gone, and gives back at least 40 % of its pages', async () => {
    const table = await world.table('half', 60_000);
    const fresh = await world.inspect(table);
    expect(fresh.decision).toMatchObject({ action: 'none', code: 'fine' });
    await world.sql(`DELETE FROM ${table} WHERE id % 2 = 0`);
    const aged = await world.inspect(table);
    expect(aged.decision, JSON.stringify(aged.figures)).toMatchObject({
      action: 'rebuild',
      code: 'fragmented',
    });
    const outcome = await world.unit(table);
    console.log(`rebuilt: ${JSON.stringify(outcome)}`);
    expect(unitOutcomeSchema.parse(outcome)).toMatchObject({ status: 'done', action: 'rebuild' });
    const { before, after } = outcome;
    expect(after?.pages).toBeLessThanOrEqual((before?.pages ?? 0) * 0.6);
    expect(await world.log(table)).toMatchObject([
      { status: 'done', code: 'done', run_id: 'test-run', requested_by: 'test' },
    ]);
    const past = await readDurations(world.services, SHARD, table, 'rebuild');
    expect(past).toMatchObject([{ statementMs: outcome.statementMs }]);
    expect((await world.unit(table)).status).toBe('unneeded');
  });

  it('is analyzed when 30 % of its rows have changed, and its estimate comes within 5 %', async () => {
    const table = await world.table('changed', 60_000);
    await world.sql(`DELETE FROM ${table} WHERE id % 10 < 3`);
    const { decision } = await world.inspect(table);
    expect(decision).toMatchObject({ action: 'analyze', code: 'changed-rows' });
    const outcome = await world.unit(table);
    expect(outcome).toMatchObject({ status: 'done', action: 'analyze' });
    const [row] = await world.sql(`SELECT COUNT(*) AS n FROM ${table}`);
    const truth = Number(row?.['n']);
    const estimate = outcome.after?.statisticsRows ?? 0;
    console.log(`analyzed: ${outcome.before?.statisticsRows} -> ${estimate}, truth ${truth}`);
    expect(Math.abs(estimate - truth)).toBeLessThanOrEqual(truth * 0.05);
  });

  it('is left alone when nothing happened to it, and says so', async () => {
    const table = await world.table('still', 5_000);
    const { decision } = await world.inspect(table);
    expect(decision).toMatchObject({ action: 'none', code: 'fine', need: 0 });
    expect(decision.reason).toMatch(/0 of \d+ rows changed/);
    expect(await world.unit(table, { decision: planned('analyze') })).toMatchObject({
      status: 'unneeded',
      reason: decision.reason,
    });
  });

  it('gets a histogram on MySQL, and on MariaDB the reason why not', async () => {
    const table = await world.table('histogram', 5_000);
    const settings = { MAINTENANCE_HISTOGRAMS: `${table}.a` };
    const other = createMaintenanceWorld(databases, { settings });
    const { decision } = await other.inspect(table);
    const isMysql = databases.engine === 'mysql';
    expect(decision).toMatchObject(
      isMysql
        ? { action: 'histogram', columns: ['a'] }
        : { action: 'none', code: 'no-histograms', columns: [] },
    );
    expect(await other.unit(table)).toMatchObject({ status: isMysql ? 'done' : 'unneeded' });
    expect((await other.inspect(table)).decision.action).toBe('none');
    await other.services.close();
  });
});

describe('what is in the way', () => {
  it('an old transaction: skipped, to be tried again', async () => {
    const table = await world.table('old', 100);
    const reader = await world.connect();
    await reader.query('START TRANSACTION');
    await reader.query(`SELECT * FROM ${table} WHERE id = 1 FOR UPDATE`);
    await world.services.clock.sleep(3_200);
    const forced = { decision: planned('rebuild'), force: true };
    const outcome = await world.unit(table, forced);
    expect(outcome).toMatchObject({ status: 'skipped', code: 'long-transaction', retry: true });
    await reader.end();
    await world.services.clock.sleep(200);
    expect(await world.unit(table, forced)).toMatchObject({ status: 'done' });
  });

  it('a lock on the table: given up after the short wait, to be tried again', async () => {
    const table = await world.table('locked', 100);
    const holder = await world.connect();
    await holder.query(`LOCK TABLES ${table} READ`);
    const outcome = await world.unit(table, { decision: planned('rebuild'), force: true });
    expect(outcome).toMatchObject({ status: 'skipped', code: 'metadata-lock', retry: true });
    await holder.end();
    expect(await world.log(table)).toMatchObject([{ status: 'skipped', code: 'metadata-lock' }]);
  });

  it('too little disk, or nobody who knows: refused before it begins', async () => {
    const table = await world.table('disk', 100);
    const forced = { decision: planned('rebuild'), force: true };
    const short = await world.unit(table, forced, { freeBytes: () => Promise.resolve(1_000) });
    expect(short).toMatchObject({ status: 'skipped', code: 'disk-space-short', retry: true });
    const settings = { MAINTENANCE_UNKNOWN_DISK_MAX_MB: '0' };
    const careful = createMaintenanceWorld(databases, { settings });
    expect(await careful.unit(table, forced)).toMatchObject({ code: 'disk-space-unknown' });
    await careful.services.close();
  });

  it('a server that takes no writes: skipped; the next unit runs when it does', async () => {
    const table = await world.table('readonly', 100);
    const forced = { decision: planned('analyze'), force: true };
    await world.asAdmin('SET GLOBAL read_only = ON');
    try {
      expect(await world.unit(table, forced)).toMatchObject({
        status: 'skipped',
        code: 'read-only',
        retry: true,
        logId: null,
      });
    } finally {
      await world.asAdmin('SET GLOBAL read_only = OFF');
    }
    expect(await world.unit(table, forced)).toMatchObject({ status: 'done' });
  });

  it('what cannot be rebuilt online: skipped with the server’s words, and not tried again', async () => {
    await world.sql(
      'CREATE TABLE t_fulltext (id INT PRIMARY KEY, words TEXT, FULLTEXT KEY (words)) ENGINE=InnoDB',
    );
    const forced = { decision: planned('rebuild'), force: true };
    const outcome = await world.unit('t_fulltext', forced);
    expect(outcome).toMatchObject({ status: 'skipped', code: 'not-supported', retry: false });
    expect(outcome.reason).toMatch(/not supported/);
    expect(await world.unit('t_nothing', forced)).toMatchObject({ code: 'table-gone' });
  });

  it('a window that is over: nothing begins', async () => {
    const table = await world.table('late', 100);
    const change = { decision: planned('analyze'), force: true, untilMs: Date.now() };
    expect(await world.unit(table, change)).toMatchObject({ code: 'window-over', retry: true });
  });

  it('another run with the lock: skipped, or waited for', async () => {
    const table = await world.table('busy', 100);
    const forced = { decision: planned('analyze'), force: true };
    const other = await world.connect();
    const lock = maintenanceLock(databases.database);
    expect(lock.length).toBeLessThanOrEqual(64);
    await other.query('SELECT GET_LOCK(?, 0)', [lock]);
    const skipped = await world.unit(table, { ...forced, lockWaitMs: 0 });
    expect(skipped).toMatchObject({ status: 'skipped', code: 'lock-busy', retry: true });
    const waiting = world.unit(table, { ...forced, lockWaitMs: 20_000 });
    await world.services.clock.sleep(500);
    await other.query('SELECT RELEASE_LOCK(?)', [lock]);
    expect(await waiting).toMatchObject({ status: 'done' });
    await other.end();
  });
});

describe('the log and the advice', () => {
  it('keep rows for their time, and drop older ones', async () => {
    const table = await world.table('kept', 100);
    await world.unit(table, { decision: planned('analyze'), force: true });
    await world.unit(table, { decision: planned('analyze'), force: true });
    await world.sql(
      "UPDATE maintenance_log SET started_at = '2020-01-01' WHERE table_name = ? ORDER BY log_id LIMIT 1",
      [table],
    );
    expect(await purgeLog(world.services, SHARD)).toEqual({ rows: 1, more: false });
    expect(await world.log(table)).toHaveLength(1);
  });

  it('name what a person should look at, and nothing about a fresh schema of ours', async () => {
    await world.sql('CREATE TABLE t_odd (a INT NOT NULL, b INT, KEY only_a (a), KEY pair (a, b))');
    const { advice, notes } = await adviseShard(world.services, SHARD);
    const found = advice.map((remark) => `${remark.kind} ${remark.table} ${remark.index}`);
    expect(found).toContain('no-primary-key t_odd null');
    expect(found).toContain('not-registered t_odd null');
    expect(found).toContain('redundant-index t_odd only_a');
    expect(found.filter((remark) => !/ (t_|many_)/.test(remark))).toEqual([]);
    expect(notes.join()).toMatch(/up for \d+ hours/);
  });
});

describe('an inspection', () => {
  it('takes bounded statements and time on a server with thousands of tables', async () => {
    const count = process.env['TEST_LONG'] === '1' ? 10_000 : 300;
    const maker = await world.connect();
    for (let index = 0; index < count; index += 1) {
      await maker.query(`CREATE TABLE many_${index} (id INT PRIMARY KEY) ENGINE=InnoDB`);
    }
    await maker.end();
    const statements: string[] = [];
    const limited = createMaintenanceWorld(databases, {
      settings: { MAINTENANCE_MAX_TABLES: '100' },
    });
    const { database } = limited.services;
    const counted: typeof database = {
      ...database,
      onShard: (shard, run, options) =>
        database.onShard(
          shard,
          (on) =>
            run({
              ...on,
              query: (text, values) => {
                statements.push(text);
                return on.query(text, values);
              },
            }),
          options,
        ),
    };
    const startedMs = performance.now();
    const inspection = await inspectShard({ ...limited.services, database: counted }, SHARD);
    const ms = Math.round(performance.now() - startedMs);
    console.log(`inspected ${count} tables in ${ms} ms with ${statements.length} statements`);
    expect(statements.length).toBeLessThanOrEqual(12);
    expect(inspection.tables.length).toBeLessThanOrEqual(100);
    expect(inspection.tables.length).toBeGreaterThan(90);
    expect(inspection.tablesLeftOut).toBeGreaterThanOrEqual(count - 100);
    await limited.services.close();
  });
});
