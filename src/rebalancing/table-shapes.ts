import type { SqlRow, SqlRunner, SqlValue } from '../database/contracts.ts';
import { sqlLiteral } from '../database/shard.ts';
import { BugError } from '../kernel/errors.ts';
import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';
import { readColumns } from './move-statements.ts';
import type { KeyPart } from './progress.ts';

/** How a column's values travel and are written down exactly. */
export type ColumnKind = 'integer' | 'decimal' | 'time' | 'text' | 'binary';

export interface ColumnShape {
  readonly name: string;
  readonly kind: ColumnKind;
}

/** A sharded table as this server has it. */
export interface TableShape {
  readonly name: string;
  /** All columns, in the order of the registry. */
  readonly columns: readonly ColumnShape[];
  /** Primary key after `bucket`, in order. */
  readonly key: readonly ColumnShape[];
  /** No row can have more; for the size of chunks. */
  readonly maxRowBytes: number;
}

/** Types that are read as text or bytes and written back without loss. FLOAT, BIT and JSON are not among them. */
const KIND_BY_TYPE: ReadonlyMap<string, ColumnKind> = new Map<string, ColumnKind>([
  ...['tinyint', 'smallint', 'mediumint', 'int', 'bigint'].map(
    (type) => [type, 'integer'] as const,
  ),
  ['decimal', 'decimal'],
  ...['date', 'datetime', 'time'].map((type) => [type, 'time'] as const),
  ...['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext'].map(
    (type) => [type, 'text'] as const,
  ),
  ...['binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob'].map(
    (type) => [type, 'binary'] as const,
  ),
]);

/** Longest text of a number or a time. */
const PLAIN_BYTES = 30;

/**
 * Shapes of all sharded tables, in the order of the registry. Throws BugError for a table or column that is missing, and
 * for a type that a move would not carry exactly.
 */
export async function readTableShapes(runner: SqlRunner): Promise<readonly TableShape[]> {
  const rows = await runner.query(
    readColumns(SHARDED_TABLES.length),
    SHARDED_TABLES.map((table) => table.name),
  );
  const found = new Map(rows.map((row) => [`${String(row['t'])}.${String(row['c'])}`, row]));
  return SHARDED_TABLES.map((table) => {
    const columns = table.columns.map((name) => columnShape(table.name, name, found));
    const bytes = table.columns.map((name) => {
      const length = found.get(`${table.name}.${name}`)?.['bytes'] ?? null;
      return length === null ? PLAIN_BYTES : Number(length);
    });
    return {
      name: table.name,
      columns,
      key: table.primaryKey.slice(1).map((name) => columnShape(table.name, name, found)),
      maxRowBytes: bytes.reduce((sum, length) => sum + length, 0),
    };
  });
}

function columnShape(table: string, name: string, found: ReadonlyMap<string, SqlRow>): ColumnShape {
  const type = String(found.get(`${table}.${name}`)?.['d'] ?? 'missing').toLowerCase();
  const kind = KIND_BY_TYPE.get(type);
  if (kind === undefined) {
    throw new BugError('a column cannot be moved exactly', { details: { table, name, type } });
  }
  return { name, kind };
}

const NUMBER = /^-?[0-9]+(\.[0-9]+)?$/;

/**
 * A value of a column as SQL text that the server reads as exactly that value. Numbers stand bare: a BIGINT compared
 * with quoted text would be compared as a double. Throws BugError when the driver gave another type than the column has.
 */
export function exactLiteral(column: ColumnShape, value: SqlValue | undefined): string {
  if (value === null) return 'NULL';
  if (column.kind === 'integer' || column.kind === 'decimal') {
    const text = String(value);
    if (NUMBER.test(text)) return text;
  } else if (column.kind === 'binary' ? Buffer.isBuffer(value) : typeof value === 'string') {
    return sqlLiteral(value as SqlValue);
  }
  throw new BugError('a value is not of its column’s type', {
    details: { column: column.name, kind: column.kind, type: typeof value },
  });
}

/** A row's key for JSON. */
export function keyParts(table: TableShape, row: SqlRow): KeyPart[] {
  return table.key.map(({ name }) => {
    const value = row[name];
    if (Buffer.isBuffer(value)) return { hex: value.toString('hex') };
    if (typeof value === 'string' || typeof value === 'number') return value;
    throw new BugError('a key has a part without a value', {
      details: { table: table.name, name },
    });
  });
}

/** A key as literals, for statements. */
export function keyLiterals(table: TableShape, key: readonly KeyPart[]): string[] {
  return table.key.map((column, index) => {
    const part = key[index];
    const value = typeof part === 'object' ? Buffer.from(part.hex, 'hex') : part;
    return exactLiteral(column, value);
  });
}
