import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProbePoint } from '../../src/kernel/probe.ts';
import { maintenanceLock } from '../../src/maintenance/unit.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createMaintenanceWorld, fill, planned } from '../support/maintenance/world.ts';
import type { MaintenanceWorld } from '../support/maintenance/world.ts';

const IS_LONG = process.env['TEST_LONG'] === '1';
const ROWS = IS_LONG ? 1_000_000 : 100_000;
const WRITERS = 16;

let databases: TestDatabases;
let world: MaintenanceWorld;

beforeAll(async () => {
  databases = await createTestDatabases();
  world = createMaintenanceWorld(databases);
  await world.services.database.prewarm();
});

afterAll(async () => {
  await world.services.close();
  await databases.drop();
});

class Crash extends Error {}

/** A world whose probe does something at one point, once. */
function worldAt(
  point: ProbePoint,
  act: () => Promise<void> | void,
  settings: Readonly<Record<string, string>> = {},
): MaintenanceWorld {
  let isSpent = false;
  return createMaintenanceWorld(databases, {
    settings,
    probe: {
      reach: async (reached) => {
        if (reached !== point || isSpent) return;
        isSpent = true;
        await act();
      },
    },
  });
}

/** The session that runs a statement of maintenance on this database. */
async function runningSession(): Promise<string> {
  for (let look = 0; look < 200; look += 1) {
    const [row] = await world.sql(
      "SELECT ID AS id FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND INFO LIKE 'ALTER TABLE % /* shardline-maintenance %'",
    );
    if (row !== undefined) return String(row['id']);
    await world.services.clock.sleep(10);
  }
  throw new Error('no statement of maintenance was seen');
}

/** Until nobody holds the lock: a server notices a dead client only when its statement has ended. */
async function lockIsFree(): Promise<void> {
  const lock = maintenanceLock(databases.database);
  for (let look = 0; look < 600; look += 1) {
    const [row] = await world.sql('SELECT IS_FREE_LOCK(?) AS free', [lock]);
    if (Number(row?.['free']) === 1) return;
    await world.services.clock.sleep(50);
  }
  throw new Error('the lock was never freed');
}

describe('a process that dies', () => {
  const points = [
    'maintenance.beforeLock',
    'maintenance.afterLogRow',
    'maintenance.duringStatement',
    'maintenance.afterStatement',
    'maintenance.afterLogClose',
  ] as const;

  it.each(points)('at %s leaves a complete log once the unit is repeated', async (point) => {
    const table = await world.table('crash', 25_000);
    await world.sql('DELETE FROM maintenance_log');
    await world.sql('DELETE FROM maintenance_tables');
    await world.inspect(table);
    await world.sql(`DELETE FROM ${table} WHERE id % 2 = 0`);
    const { decision } = await world.inspect(table);
    expect(decision.action).toBe('rebuild');
    const dying = worldAt(point, () => {
      throw new Crash();
    });
    await expect(dying.unit(table, { decision })).rejects.toThrow(Crash);
    await lockIsFree();
    const outcome = await world.unit(table, { decision });
    const log = await world.log(table);
    console.log(`${point}: ${log.map((row) => String(row['status'])).join(', ')}`);
    expect(log.filter((row) => row['status'] === 'running')).toEqual([]);
    expect(['done', 'unneeded']).toContain(outcome.status);
    // Half of the rows were gone. A rebuild of so few pages leaves some of them less than full.
    expect(outcome.after?.waste ?? outcome.before?.waste ?? 1).toBeLessThan(0.3);
    const open = point === 'maintenance.beforeLock' || point === 'maintenance.afterLogClose';
    expect(log.some((row) => row['status'] === 'abandoned')).toBe(!open);
    await dying.services.close();
  });
});

describe('a statement under way', () => {
  it('whose connection is killed: a clear outcome, and the next unit does it', async () => {
    const table = await world.table('kill', ROWS);
    const dying = worldAt('maintenance.duringStatement', async () => {
      await world.sql(`KILL ${await runningSession()}`);
    });
    const forced = { decision: planned('rebuild'), force: true };
    const outcome = await dying.unit(table, forced);
    expect(outcome, JSON.stringify(outcome)).toMatchObject({
      status: 'failed',
      code: 'connection-lost',
      retry: true,
    });
    expect(await world.log(table)).toMatchObject([{ status: 'failed', code: 'connection-lost' }]);
    await lockIsFree();
    expect(await world.unit(table, forced)).toMatchObject({ status: 'done' });
    await dying.services.close();
  });

  it('that somebody ends: failed, to be tried again', async () => {
    const dying = worldAt('maintenance.duringStatement', async () => {
      await world.sql(`KILL QUERY ${await runningSession()}`);
    });
    const outcome = await dying.unit('t_kill', { decision: planned('rebuild'), force: true });
    expect(outcome, JSON.stringify(outcome)).toMatchObject({ code: 'killed', retry: true });
    await dying.services.close();
  });

  it('that makes others wait for too long is ended by its own watcher', async () => {
    const patience = {
      MAINTENANCE_METADATA_WAIT_SECONDS: '15',
      MAINTENANCE_MAX_BLOCK_MS: '300',
      MAINTENANCE_LONG_TRANSACTION_SECONDS: '600',
    };
    const patient = createMaintenanceWorld(databases, { settings: patience });
    const reader = await world.connect();
    await reader.query('START TRANSACTION');
    await reader.query('SELECT * FROM t_kill WHERE id = 1 FOR UPDATE');
    const running = patient.unit('t_kill', { decision: planned('rebuild'), force: true });
    await runningSession();
    const write = world.sql("UPDATE t_kill SET note = 'waited' WHERE id = 7");
    const outcome = await running;
    await write;
    console.log(`ended: ${outcome.code} after others waited ${outcome.blockedOthersMs} ms`);
    await reader.end();
    await patient.services.close();
    expect(outcome).toMatchObject({ status: 'failed', code: 'blocked-others', retry: true });
  });
});

describe('steady writes', () => {
  it('none fails while the table is rebuilt under them', async () => {
    const table = await world.table('steady', 0);
    await fill(world.sql, table, 1, ROWS);
    const stop = { now: false };
    const phases: Record<'without' | 'with', number[]> = { without: [], with: [] };
    let phase: keyof typeof phases = 'without';
    const failures: unknown[] = [];
    let next = ROWS + 1;
    const writer = async (): Promise<void> => {
      const connection = await world.connect();
      while (!stop.now) {
        const id = next++;
        const startedMs = performance.now();
        const into = phases[phase];
        await connection
          .query(`INSERT INTO ${table} VALUES (?, ?, 'steady')`, [id, id])
          .catch((error: unknown) => failures.push(error));
        into.push(performance.now() - startedMs);
        await world.services.clock.sleep(4);
      }
      await connection.end();
    };
    const writers = Array.from({ length: WRITERS }, writer);
    await world.services.clock.sleep(1_500);
    phase = 'with';
    const outcome = await world.unit(table, { decision: planned('rebuild'), force: true });
    stop.now = true;
    await Promise.all(writers);
    const [row] = await world.sql(`SELECT COUNT(*) AS n FROM ${table}`);
    const written = phases.with.length + phases.without.length;
    const ratio = percentile(phases.with, 0.95) / percentile(phases.without, 0.95);
    console.log(
      `${ROWS} rows rebuilt in ${outcome.statementMs} ms under ${written} writes: slowest ${Math.round(Math.max(...phases.with))} ms, p95 with/without ${ratio.toFixed(2)}, outcome ${outcome.code}`,
    );
    expect(failures).toEqual([]);
    expect(outcome).toMatchObject({ status: 'done' });
    expect(Number(row?.['n'])).toBe(ROWS + written);
    expect(phases.with.length).toBeGreaterThan(0);
  });
});

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
