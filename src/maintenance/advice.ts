import type { Shard, SqlRow } from '../database/contracts.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import {
  READ_ALL_TABLES,
  READ_INDEX_COLUMNS,
  READ_INDEX_USE,
  READ_UPTIME,
} from './advice-statements.ts';
import type { Advice, ShardAdvice } from './model.ts';
import { readOr } from './read-or.ts';
import { REGISTERED_TABLES } from './registry.ts';

const DEADLINE_MS = 30_000;
const MAX_ADVICE = 200;
/** A week has every day's and the week-end's work in it; a monthly report may still be missed, hence only advice. */
const LEAST_UPTIME_SECONDS = 7 * 24 * 3_600;

/** An index with its columns in order; a prefix length is part of a column's name. */
export interface IndexShape {
  readonly table: string;
  readonly name: string;
  readonly isUnique: boolean;
  readonly columns: readonly string[];
}

/**
 * Remarks on a shard's indexes and tables. Reads only; nothing is ever done about them. Throws what `onShard` throws when
 * the shard cannot be used.
 */
export async function adviseShard(
  services: Pick<Services, 'database'>,
  shardId: ShardId,
): Promise<ShardAdvice> {
  return services.database.onShard(
    shardId,
    async (shard) => {
      const notes: string[] = [];
      const indexes = shapesOf(await shard.query(READ_INDEX_COLUMNS, []));
      const tables = (await shard.query(READ_ALL_TABLES, [])).map((row) => String(row['t']));
      const advice = [
        ...keyless(tables, indexes),
        ...unknownTables(tables),
        ...redundant(indexes),
        ...(await unused(shard, indexes, notes)),
      ];
      return {
        shard: shardId,
        advice: advice.slice(0, MAX_ADVICE),
        leftOut: Math.max(0, advice.length - MAX_ADVICE),
        notes,
      };
    },
    { deadlineMs: DEADLINE_MS },
  );
}

function shapesOf(rows: readonly SqlRow[]): readonly IndexShape[] {
  const shapes = new Map<string, { isUnique: boolean; columns: string[] } & IndexShape>();
  for (const row of rows) {
    // Of full text and places the order of columns means nothing.
    if (String(row['kind']) !== 'BTREE') continue;
    const table = String(row['t']);
    const name = String(row['i']);
    const key = `${table}.${name}`;
    const isUnique = Number(row['non_unique']) === 0;
    const shape = shapes.get(key) ?? { table, name, isUnique, columns: [] };
    // A functional part has no column; no two of them count as the same.
    const column = row['c'] === null ? `(${name})` : String(row['c']);
    shape.columns.push(row['sub_part'] === null ? column : `${column}(${String(row['sub_part'])})`);
    shapes.set(key, shape);
  }
  return [...shapes.values()];
}

/** Indexes whose columns another index of the table begins with. A unique one enforces something and is never redundant. Pure. */
export function redundant(indexes: readonly IndexShape[]): readonly Advice[] {
  return indexes.flatMap((index) => {
    if (index.isUnique || index.name === 'PRIMARY') return [];
    const covering = indexes.find(
      (other) =>
        other !== index &&
        other.table === index.table &&
        index.columns.every((column, position) => other.columns[position] === column) &&
        // Of two equal ones the later name is the redundant one.
        (other.columns.length > index.columns.length || other.isUnique || other.name < index.name),
    );
    if (covering === undefined) return [];
    const text = `Its columns (${index.columns.join(', ')}) begin the index ${covering.name} (${covering.columns.join(', ')}); each write keeps both.`;
    return [{ kind: 'redundant-index' as const, table: index.table, index: index.name, text }];
  });
}

async function unused(
  shard: Shard,
  indexes: readonly IndexShape[],
  notes: string[],
): Promise<readonly Advice[]> {
  const [row] = await shard.query(READ_UPTIME, []);
  const uptime = Number(row?.['Value'] ?? 0);
  if (uptime < LEAST_UPTIME_SECONDS) {
    notes.push(
      `the server has been up for ${Math.floor(uptime / 3_600)} hours; which indexes are unused is said after ${LEAST_UPTIME_SECONDS / 3_600}`,
    );
    return [];
  }
  const uses = await readOr(shard, READ_INDEX_USE, [], () => []);
  if (uses.length === 0) {
    notes.push('uses of indexes are not counted: performance_schema is off or may not be read');
    return [];
  }
  return unusedOf(indexes, new Map(uses.map((use) => [keyOf(use), Number(use['uses'])])), uptime);
}

function keyOf(row: SqlRow): string {
  return `${String(row['t'])}.${String(row['i'])}`;
}

/** Not unique, not the primary key, and counted as never used. What is not counted at all is not called unused. Pure. */
export function unusedOf(
  indexes: readonly IndexShape[],
  uses: ReadonlyMap<string, number>,
  uptimeSeconds: number,
): readonly Advice[] {
  return indexes
    .filter((index) => !index.isUnique && index.name !== 'PRIMARY')
    .filter((index) => uses.get(`${index.table}.${index.name}`) === 0)
    .map(({ table, name }) => ({
      kind: 'unused-index',
      table,
      index: name,
      text: `Not used since the server started, ${Math.floor(uptimeSeconds / 86_400)} days ago. Rare work, and what a failover would need, does not show.`,
    }));
}

function keyless(tables: readonly string[], indexes: readonly IndexShape[]): readonly Advice[] {
  const withKey = new Set(
    indexes.filter((index) => index.name === 'PRIMARY').map((index) => index.table),
  );
  return tables
    .filter((table) => !withKey.has(table))
    .map((table) => ({
      kind: 'no-primary-key',
      table,
      index: null,
      text: 'It has no primary key: rows cannot be moved or repaired one by one, and replicas search for each row they change.',
    }));
}

function unknownTables(tables: readonly string[]): readonly Advice[] {
  const missing = REGISTERED_TABLES.filter((table) => !tables.includes(table));
  return [
    ...tables
      .filter((table) => !REGISTERED_TABLES.includes(table))
      .map((table) => ({
        kind: 'not-registered' as const,
        table,
        index: null,
        text: 'This build does not know it; it is neither moved nor maintained unless MAINTENANCE_INCLUDE names it.',
      })),
    ...missing.map((table) => ({
      kind: 'registered-missing' as const,
      table,
      index: null,
      text: 'This build knows it, and the shard does not have it.',
    })),
  ];
}
