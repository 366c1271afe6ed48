import { createConnection } from 'mysql2/promise';
import type { Connection } from 'mysql2/promise';
import { systemClock } from '../../../src/kernel/clock.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { noopProbe } from '../../../src/kernel/probe.ts';
import type { Probe } from '../../../src/kernel/probe.ts';
import { inspectShard } from '../../../src/maintenance/inspect.ts';
import type {
  Decision,
  InspectedTable,
  UnitOutcome,
  UnitRequest,
} from '../../../src/maintenance/model.ts';
import { runUnit } from '../../../src/maintenance/unit.ts';
import type { UnitServices } from '../../../src/maintenance/unit-context.ts';
import type { UnitTools } from '../../../src/maintenance/unit.ts';
import { asAdmin, queryShard } from '../cluster.ts';
import type { TestDatabases } from '../cluster.ts';
import { createTestInstance, testConfig } from '../test-database.ts';

export const SHARD = 0 as ShardId;

/** Small tables are to be maintained as well; all that are not registered too. */
const SETTINGS = {
  MAINTENANCE_INCLUDE: 'registered, t_*',
  MAINTENANCE_REBUILD_MIN_MB: '1',
  MAINTENANCE_LONG_TRANSACTION_SECONDS: '2',
  MAINTENANCE_MAX_THREADS_RUNNING: '200',
  MAINTENANCE_MAX_PROBE_MS: '5000',
};

export interface MaintenanceWorld {
  readonly services: UnitServices & { close(): Promise<void> };
  /** Makes `t_<name>` with that many rows and says how it is called. Statistics are not recalculated behind the test's back. */
  table(name: string, rows: number): Promise<string>;
  readonly sql: (text: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>;
  /** A connection of somebody else. */
  connect(): Promise<Connection>;
  inspect(table: string): Promise<InspectedTable>;
  unit(table: string, change?: Partial<UnitRequest>, tools?: UnitTools): Promise<UnitOutcome>;
  log(table: string): Promise<Record<string, unknown>[]>;
  asAdmin(...statements: string[]): Promise<void>;
}

export function createMaintenanceWorld(
  databases: TestDatabases,
  options: { readonly probe?: Probe; readonly settings?: Readonly<Record<string, string>> } = {},
): MaintenanceWorld {
  const settings = { ...SETTINGS, ...options.settings };
  const { database, logger } = createTestInstance(databases, { settings });
  const config = testConfig(databases, settings);
  const probe = options.probe ?? noopProbe;
  const services = {
    database,
    logger,
    config,
    probe,
    clock: systemClock,
    close: () => database.close(),
  };
  const sql: MaintenanceWorld['sql'] = (text, values) => queryShard(databases, SHARD, text, values);
  const inspect = async (table: string): Promise<InspectedTable> => {
    const { tables } = await inspectShard(services, SHARD, { tables: [table], remember: true });
    const [found] = tables;
    if (found === undefined) throw new Error(`no table ${table}`);
    return found;
  };
  return {
    services,
    sql,
    inspect,
    table: async (name, rows) => {
      const table = `t_${name}`;
      await sql(`DROP TABLE IF EXISTS ${table}`);
      await sql(
        `CREATE TABLE ${table} (id INT PRIMARY KEY, a INT NOT NULL, note CHAR(60) NOT NULL, KEY by_a (a)) ENGINE=InnoDB STATS_AUTO_RECALC=0 CHARACTER SET latin1`,
      );
      await fill(sql, table, 1, rows);
      await sql(`ANALYZE TABLE ${table}`);
      return table;
    },
    connect: () => {
      const { host, port, user, password } = databases.shards[SHARD] ?? {};
      return createConnection({
        host: String(host),
        port: Number(port),
        user: String(user),
        password: String(password),
        database: databases.database,
      });
    },
    unit: async (table, change = {}, tools = {}) => {
      const decision = change.decision ?? (await inspect(table)).decision;
      const request = { shard: SHARD, table, runId: 'test-run', by: 'test', untilMs: null };
      return runUnit(
        services,
        { lockWaitMs: null, force: false, ...request, ...change, decision },
        tools,
      );
    },
    log: (table) =>
      sql('SELECT * FROM maintenance_log WHERE table_name = ? ORDER BY log_id', [table]),
    asAdmin: (...statements) => asAdmin(databases.stack, SHARD, statements),
  };
}

/** Rows `from` … `to`, in the order of the primary key, in chunks. */
export async function fill(
  sql: MaintenanceWorld['sql'],
  table: string,
  from: number,
  to: number,
): Promise<void> {
  const chunk = 20_000;
  for (let start = from; start <= to; start += chunk) {
    const count = Math.min(chunk, to - start + 1);
    const rows = Array.from({ length: count }, (_, index) => {
      const id = start + index;
      return `(${id},${(id * 7919) % 1_000_003},'note of ${id}')`;
    });
    await sql(`INSERT INTO ${table} VALUES ${rows.join(',')}`);
  }
}

/** A decision that was made elsewhere. */
export function planned(action: Decision['action']): Decision {
  return { action, code: 'forced', reason: 'planned by the test', need: 1, columns: [] };
}
