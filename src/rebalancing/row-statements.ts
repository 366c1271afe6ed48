import type { ShardedTable } from '../sharding/sharded-tables.ts';
import type { ColumnShape, TableShape } from './table-shapes.ts';

/**
 * SQL over the rows of one bucket of one table, as text with literals in it: the text protocol is the faster one for
 * many rows on both engines (FACTS-mysql 2, 8). Keys are lists of literals, made by `keyLiterals`.
 */

/** A part of a table's key space in one bucket: rows after `after` (null: from the first), up to and with `upTo` (null: to the last). */
export interface KeyRange {
  readonly after: readonly string[] | null;
  readonly upTo: readonly string[] | null;
}

const names = (columns: readonly ColumnShape[]): string =>
  columns.map((column) => column.name).join(', ');

/**
 * Written out as ORs of prefixes: neither engine bounds an index range by a comparison of whole rows, `(a, b) > (x, y)`.
 */
function beyond(
  key: readonly ColumnShape[],
  literals: readonly string[],
  operator: string,
): string {
  const terms = key.map((column, index) => {
    const equal = key.slice(0, index).map((before, at) => `${before.name} = ${literals[at]}`);
    return `(${[...equal, `${column.name} ${operator} ${literals[index]}`].join(' AND ')})`;
  });
  return terms.join(' OR ');
}

function equalTo(key: readonly ColumnShape[], literals: readonly string[]): string {
  return `(${key.map((column, index) => `${column.name} = ${literals[index]}`).join(' AND ')})`;
}

function inRange(table: TableShape, bucket: number, range: KeyRange): string {
  const { key } = table;
  const conditions = [`bucket = ${bucket}`];
  if (range.after !== null) conditions.push(`(${beyond(key, range.after, '>')})`);
  if (range.upTo !== null) {
    conditions.push(`(${beyond(key, range.upTo, '<')} OR ${equalTo(key, range.upTo)})`);
  }
  return conditions.join(' AND ');
}

function amongKeys(
  table: TableShape,
  bucket: number,
  keys: readonly (readonly string[])[],
): string {
  return `bucket = ${bucket} AND (${keys.map((key) => equalTo(table.key, key)).join(' OR ')})`;
}

/** Name of the column with a row's text. No sharded table has a column of this name. */
export const ROW_TEXT = 'row_text';

/**
 * What is needed of rows that are to be inserted elsewhere: their keys' columns, and {@link ROW_TEXT}, the row as VALUES
 * takes it. The source writes it, since a row is then one value for the driver and for us: 1.2 µs less of our processor
 * for each row, 0.5 µs more of the source's. Numbers stand bare, times and texts as QUOTE gives them, which knows their
 * character set, bytes in hexadecimal.
 */
function insertable(table: TableShape, bucket: number): string {
  const values = table.columns.map(({ name, kind }) => {
    if (name === 'bucket') return `'${bucket}'`;
    if (kind === 'integer' || kind === 'decimal') return `IFNULL(${name}, 'NULL')`;
    return kind === 'binary'
      ? `IFNULL(CONCAT('X''', HEX(${name}), ''''), 'NULL')`
      : `QUOTE(${name})`;
  });
  const text = `CONCAT('(', ${values.join(", ',', ")}, ')')`;
  return `${names(table.key)}, ${text} AS ${ROW_TEXT}`;
}

/** The next rows in key order, as {@link insertable}. */
export function selectRows(
  table: TableShape,
  bucket: number,
  after: readonly string[] | null,
  limit: number,
): string {
  const condition = inRange(table, bucket, { after, upTo: null });
  return `SELECT ${insertable(table, bucket)} FROM ${table.name} WHERE ${condition} ORDER BY bucket, ${names(table.key)} LIMIT ${limit}`;
}

/** The rows with these keys, as far as they are there, as {@link insertable}. */
export function selectKeys(
  table: TableShape,
  bucket: number,
  keys: readonly (readonly string[])[],
): string {
  return `SELECT ${insertable(table, bucket)} FROM ${table.name} WHERE ${amongKeys(table, bucket, keys)}`;
}

/** The key `rows` rows further on, or nothing when there are fewer: where a chunk ends. */
export function selectChunkEnd(
  table: TableShape,
  bucket: number,
  after: readonly string[] | null,
  rows: number,
): string {
  const condition = inRange(table, bucket, { after, upTo: null });
  return `SELECT ${names(table.key)} FROM ${table.name} WHERE ${condition} ORDER BY bucket, ${names(table.key)} LIMIT 1 OFFSET ${rows - 1}`;
}

/** Rows as VALUES. */
export function insertHead(table: TableShape): string {
  return `INSERT INTO ${table.name} (${names(table.columns)}) VALUES\n`;
}

/**
 * The end of an insert that makes rows equal to what is sent, whether they are there or not. `VALUES(…)`, because the
 * row alias that MySQL prefers is a syntax error on MariaDB.
 */
export function insertTail(table: TableShape): string {
  const keys = new Set(['bucket', ...table.key.map((column) => column.name)]);
  const others = table.columns.filter((column) => !keys.has(column.name));
  // A table that is all key: nothing to change.
  const changed = others.length === 0 ? table.columns.slice(0, 1) : others;
  const changes = changed.map(({ name }) => `${name} = VALUES(${name})`);
  return `\nON DUPLICATE KEY UPDATE ${changes.join(', ')}`;
}

export function deleteKeys(
  table: TableShape,
  bucket: number,
  keys: readonly (readonly string[])[],
): string {
  return `DELETE FROM ${table.name} WHERE ${amongKeys(table, bucket, keys)}`;
}

/** The first rows of a bucket in key order, so that two who delete do not wait in circles. */
export function deleteFirstRows(
  table: Pick<ShardedTable, 'name' | 'primaryKey'>,
  bucket: number,
  limit: number,
): string {
  return `DELETE FROM ${table.name} WHERE bucket = ${bucket} ORDER BY ${table.primaryKey.join(', ')} LIMIT ${limit}`;
}

/**
 * A row's content as text that is the same on every engine and for no two contents: numbers and times as the server
 * writes them, text and bytes in hexadecimal, `-` for NULL (which CONCAT_WS would leave out), commas between. The bucket
 * is not in it, since it is what rows are selected by.
 */
function rowText(table: TableShape): string {
  const parts = table.columns
    .filter((column) => column.name !== 'bucket')
    .map(({ name, kind }) =>
      kind === 'text' || kind === 'binary' ? `IFNULL(HEX(${name}), '-')` : `IFNULL(${name}, '-')`,
    );
  return `CONCAT_WS(',', ${parts.join(', ')})`;
}

const HASH = (table: TableShape): string => `SHA2(${rowText(table)}, 256)`;
const word = (from: number): string =>
  `BIT_XOR(CAST(CONV(SUBSTRING(h, ${from}, 16), 16, 10) AS UNSIGNED))`;

/** One range for {@link digestRanges}. */
export interface DigestPart extends KeyRange {
  readonly table: TableShape;
}

/**
 * Digests of several ranges in one statement: `part` (position), `n` (rows), `x1` and `x2` (two 64-bit words of the rows'
 * SHA-256, combined by XOR). The LIMIT keeps the server from merging the inner query, which would hash each row twice.
 */
export function digestRanges(bucket: number, parts: readonly DigestPart[]): string {
  return parts
    .map((part, index) => {
      const { table } = part;
      const rows = `SELECT ${HASH(table)} AS h FROM ${table.name} WHERE ${inRange(table, bucket, part)} LIMIT 18446744073709551615`;
      return `SELECT ${index} AS part, COUNT(*) AS n, ${word(1)} AS x1, ${word(17)} AS x2 FROM (${rows}) d`;
    })
    .join('\nUNION ALL ');
}

/** Key and digest of each row of a range: the key's columns and `h`. */
export function selectRowDigests(part: DigestPart, bucket: number): string {
  const { table } = part;
  return `SELECT ${names(table.key)}, ${HASH(table)} AS h FROM ${table.name} WHERE ${inRange(table, bucket, part)}`;
}
