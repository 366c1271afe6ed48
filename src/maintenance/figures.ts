import type { Shard, SqlRow } from '../database/contracts.ts';
import {
  READ_SERVER,
  readChanged,
  readHistograms,
  readIndexStatistics,
  readKept,
  readPrimaryKeys,
  readTables,
  readTableStatistics,
} from './inspect-statements.ts';
import { keptOf, LEAST_PAGES } from './kept.ts';
import type { KeptTable } from './kept.ts';
import type { Engine, FiguresSummary, IndexFigures, TableFigures } from './model.ts';
import type { Policy } from './policy.ts';
import { readOr } from './read-or.ts';
import { REGISTERED_TABLES } from './registry.ts';

export interface FoundFigures {
  readonly engine: Engine;
  readonly serverVersion: string;
  readonly tables: readonly TableFigures[];
  readonly notes: readonly string[];
}

/** The counters of changed rows lie with all tables of the server: given up after this. */
const COUNTERS_LIMIT_MS = 5_000;
/**
 * A segment grows by whole extents and keeps an eighth free: without a baseline, so much of an index may be empty without
 * being waste. A rebuilt index of 353 pages had 300 leaf pages, a share of 0.85 (FACTS-mysql 6).
 */
const HEALTHY_LEAF_SHARE = 0.85;

/** Everything that was read of one shard, by table. */
interface Readings {
  readonly statistics: ReadonlyMap<string, SqlRow>;
  readonly indexes: ReadonlyMap<string, readonly SqlRow[]>;
  readonly withPrimaryKey: ReadonlySet<string>;
  readonly changed: ReadonlyMap<string, number>;
  readonly histograms: ReadonlyMap<string, number>;
  readonly kept: ReadonlyMap<string, KeptTable>;
}

interface Server {
  readonly engine: Engine;
  readonly version: string;
  readonly database: string;
  readonly pageBytes: number;
}

/** Reads the figures of the named tables; names that are no tables are left out. A few statements, however many names. */
export async function readFigures(
  shard: Shard,
  names: readonly string[],
  policy: Pick<Policy, 'histograms'>,
): Promise<FoundFigures> {
  const server = await readServer(shard);
  const notes: string[] = [];
  const tables = names.length === 0 ? [] : await shard.query(readTables(names.length), names);
  const present = tables.map((row) => String(row['t']));
  if (present.length === 0) return { ...facts(server), tables: [], notes };
  const readings = await readAll(shard, server, present, notes);
  return {
    ...facts(server),
    tables: tables.map((row) => figuresOf(row, server, readings, policy)),
    notes,
  };
}

function facts(server: Server): Pick<FoundFigures, 'engine' | 'serverVersion'> {
  return { engine: server.engine, serverVersion: server.version };
}

async function readServer(shard: Shard): Promise<Server> {
  const [row] = await shard.query(READ_SERVER, []);
  const version = String(row?.['version']);
  return {
    engine: /mariadb/i.test(version) ? 'mariadb' : 'mysql',
    version,
    database: String(row?.['db']),
    pageBytes: Number(row?.['page_bytes']),
  };
}

async function readAll(
  shard: Shard,
  server: Server,
  names: readonly string[],
  notes: string[],
): Promise<Readings> {
  const count = names.length;
  const without = (note: string) => (): readonly SqlRow[] => {
    notes.push(note);
    return [];
  };
  const statistics = await readOr(
    shard,
    readTableStatistics(count),
    names,
    without('mysql.innodb_table_stats cannot be read: SELECT on it is needed'),
  );
  const indexes = await readOr(
    shard,
    readIndexStatistics(count),
    names,
    without('mysql.innodb_index_stats cannot be read, so fragmentation is unknown'),
  );
  const keys = await shard.query(readPrimaryKeys(count), names);
  const changed = await readOr(
    shard,
    readChanged(server.engine, count, COUNTERS_LIMIT_MS),
    names.map((name) => `${server.database}/${name}`),
    without('counters of changed rows cannot be read (PROCESS is needed, and some seconds)'),
  );
  const histograms =
    server.engine === 'mysql' ? await readOr(shard, readHistograms(count), names, () => []) : [];
  const kept = await shard.query(readKept(count), names);
  return {
    statistics: byTable(statistics),
    indexes: groupBy(indexes, (row) => String(row['t'])),
    withPrimaryKey: new Set(keys.map((row) => String(row['t']))),
    changed: new Map(
      changed.map((row) => [tableOfPath(String(row['t']), server.database), Number(row['n'])]),
    ),
    histograms: new Map(
      histograms.map((row) => [
        `${String(row['t'])}.${String(row['c'])}`,
        Date.parse(`${String(row['updated_at']).replace(' ', 'T').slice(0, 23)}Z`),
      ]),
    ),
    kept: new Map(kept.map((row) => [String(row['t']), keptOf(row)])),
  };
}

function byTable(rows: readonly SqlRow[]): ReadonlyMap<string, SqlRow> {
  return new Map(rows.map((row) => [String(row['t']), row]));
}

function groupBy(
  rows: readonly SqlRow[],
  keyOf: (row: SqlRow) => string,
): ReadonlyMap<string, readonly SqlRow[]> {
  const groups = new Map<string, SqlRow[]>();
  for (const row of rows) groups.set(keyOf(row), [...(groups.get(keyOf(row)) ?? []), row]);
  return groups;
}

function tableOfPath(path: string, database: string): string {
  return path.slice(database.length + 1);
}

function figuresOf(
  row: SqlRow,
  server: Server,
  readings: Readings,
  policy: Pick<Policy, 'histograms'>,
): TableFigures {
  const table = String(row['t']);
  const statistics = readings.statistics.get(table);
  const kept = readings.kept.get(table);
  const rows = Number(row['n_rows'] ?? 0);
  const statisticsRows = statistics === undefined ? null : Number(statistics['n_rows']);
  const indexes = indexFigures(readings.indexes.get(table) ?? [], statisticsRows ?? 0, kept);
  const changed = changedRows(readings.changed.get(table), rows, statisticsRows);
  return {
    schema: server.database,
    table,
    engine: server.engine,
    storageEngine: String(row['storage_engine'] ?? 'none'),
    rows,
    statisticsRows,
    dataBytes: Number(row['data_bytes'] ?? 0),
    indexBytes: Number(row['index_bytes'] ?? 0),
    freeBytes: Number(row['free_bytes'] ?? 0),
    pageBytes: server.pageBytes,
    indexes,
    ...changed,
    lastAnalyzedAtMs:
      statistics === undefined ? null : Math.floor(Number(statistics['analyzed_at']) * 1_000),
    lastRebuiltAtMs: kept?.rebuiltAtMs ?? null,
    ...wasteOf(indexes, rows),
    hasPrimaryKey: readings.withPrimaryKey.has(table),
    isRegistered: REGISTERED_TABLES.includes(table),
    histograms: (policy.histograms.get(table) ?? []).map((column) => ({
      column,
      updatedAtMs: readings.histograms.get(`${table}.${column}`) ?? null,
    })),
    unknown:
      statistics === undefined
        ? ['it has no row in mysql.innodb_table_stats, or the row may not be read']
        : [],
  };
}

function indexFigures(
  rows: readonly SqlRow[],
  statisticsRows: number,
  kept: KeptTable | undefined,
): IndexFigures[] {
  const byIndex = groupBy(rows, (row) => String(row['i']));
  return [...byIndex].map(([name, values]) => {
    const valueOf = (stat: string): number =>
      Number(values.find((value) => value['n'] === stat)?.['v'] ?? 0);
    const pages = valueOf('size');
    return {
      name,
      pages,
      leafPages: valueOf('n_leaf_pages'),
      rowsPerPage: pages === 0 ? 0 : statisticsRows / pages,
      baselineRowsPerPage: kept?.baseline.get(name) ?? null,
    };
  });
}

/** The counter counts from the last recalculation; the difference is what it is at least, and all there is without it. */
function changedRows(
  counter: number | undefined,
  rows: number,
  statisticsRows: number | null,
): Pick<TableFigures, 'changedRows' | 'changedRowsFrom'> {
  if (statisticsRows === null) {
    return counter === undefined
      ? { changedRows: null, changedRowsFrom: 'unknown' }
      : { changedRows: counter, changedRowsFrom: 'counter' };
  }
  const difference = Math.abs(rows - statisticsRows);
  return counter !== undefined && counter >= difference
    ? { changedRows: counter, changedRowsFrom: 'counter' }
    : { changedRows: difference, changedRowsFrom: 'difference' };
}

/**
 * Pages that a rebuild would give back, of all. With baselines: what the rows of now would take at the best fill. Without:
 * pages that are allocated and hold no rows, past what is usual; thin pages do not show that way. Pure.
 */
export function wasteOf(
  indexes: readonly IndexFigures[],
  rows: number,
): Pick<TableFigures, 'waste' | 'wasteFrom'> {
  const counted = indexes.filter((index) => index.pages >= LEAST_PAGES);
  if (counted.length === 0) return { waste: null, wasteFrom: 'unknown' };
  const pages = counted.reduce((sum, index) => sum + index.pages, 0);
  const needed = counted.reduce((sum, index) => {
    const byBaseline = index.baselineRowsPerPage === null ? null : rows / index.baselineRowsPerPage;
    return sum + Math.min(index.pages, byBaseline ?? index.leafPages / HEALTHY_LEAF_SHARE);
  }, 0);
  const known = counted.every((index) => index.baselineRowsPerPage !== null);
  return {
    waste: Math.min(1, Math.max(0, 1 - needed / pages)),
    wasteFrom: known ? 'baseline' : 'layout',
  };
}

/** The few figures that logs and reports keep. */
export function summarize(figures: TableFigures): FiguresSummary {
  return {
    rows: figures.rows,
    statisticsRows: figures.statisticsRows,
    dataBytes: figures.dataBytes,
    indexBytes: figures.indexBytes,
    pages: figures.indexes.reduce((sum, index) => sum + index.pages, 0),
    waste: figures.waste,
    changedRows: figures.changedRows,
  };
}
