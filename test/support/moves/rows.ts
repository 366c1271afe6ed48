import type { Shard, SqlRow, SqlValue } from '../../../src/database/contracts.ts';
import type { BucketId } from '../../../src/kernel/ids.ts';
import { SHARDED_TABLES } from '../../../src/sharding/sharded-tables.ts';
import type { Random } from '../random.ts';

interface Column {
  readonly name: string;
  readonly type: string;
  readonly unsigned: boolean;
  readonly nullable: boolean;
  readonly length: number;
  readonly ascii: boolean;
}

async function columnsOf(shard: Shard, table: string): Promise<readonly Column[]> {
  const rows = await shard.query(
    'SELECT COLUMN_NAME AS c, DATA_TYPE AS d, COLUMN_TYPE AS ct, IS_NULLABLE AS n, CHARACTER_MAXIMUM_LENGTH AS l, CHARACTER_SET_NAME AS cs FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION',
    [table],
  );
  return rows.map((row) => ({
    name: String(row['c']),
    type: String(row['d']),
    unsigned: String(row['ct']).includes('unsigned'),
    nullable: row['n'] === 'YES',
    length: Number(row['l'] ?? 0),
    ascii: row['cs'] === 'ascii',
  }));
}

const BITS: Readonly<Record<string, bigint>> = {
  tinyint: 8n,
  smallint: 16n,
  int: 32n,
  bigint: 64n,
};

function integer(column: Column, random: Random): string {
  const bits = BITS[column.type] ?? 8n;
  const least = column.unsigned ? 0n : -(1n << (bits - 1n));
  const most = column.unsigned ? (1n << bits) - 1n : (1n << (bits - 1n)) - 1n;
  const edges = [least, most, 0n, least + 1n, most - 1n];
  if (random.below(4) === 0) return String(edges[random.below(edges.length)]);
  const any = (BigInt(random.below(2 ** 30)) << 34n) + BigInt(random.below(2 ** 30));
  return String(least + (any % (most - least + 1n)));
}

const NASTY = [
  '\0',
  "'",
  '"',
  '\\',
  '\n',
  '\r',
  '\t',
  '\x1a',
  '%',
  '_',
  '?',
  ';',
  '--',
  '/*',
  ' ',
  '\x01',
  '#',
];
const WIDE = ['é', 'ß', 'Ж', '中', '\u0301', '😀', '🏳️‍🌈', '\uFFFD', '\u{10FFFF}', '\u200B', 'ｱ'];

function text(column: Column, random: Random): string {
  const room = column.type === 'varchar' ? column.length : random.below(6) === 0 ? 65_535 : 400;
  const wanted = random.below(5) === 0 ? room : random.below(Math.min(room, 60) + 1);
  const bytes = column.type === 'varchar' ? Number.POSITIVE_INFINITY : 65_535;
  let made = '';
  let units = 0;
  let size = 0;
  while (units < wanted) {
    const kind = random.below(column.ascii ? 2 : 3);
    const piece =
      kind === 0
        ? String.fromCharCode(33 + random.below(94))
        : ((kind === 1 ? NASTY : WIDE)[random.below(kind === 1 ? NASTY.length : WIDE.length)] ??
          '');
    size += Buffer.byteLength(piece);
    units += Array.from(piece).length;
    if (units > wanted || size > bytes) break;
    made += piece;
  }
  return made;
}

function bytes(length: number, random: Random): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

function time(random: Random): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const date = `${1000 + random.below(9000)}-${two(1 + random.below(12))}-${two(1 + random.below(28))}`;
  const clock = `${two(random.below(24))}:${two(random.below(60))}:${two(random.below(60))}`;
  const fraction = String(random.below(3) === 0 ? 0 : random.below(1000)).padStart(3, '0');
  return `${date} ${clock}.${fraction}`;
}

function value(column: Column, random: Random): SqlValue {
  if (column.nullable && random.below(3) === 0) return null;
  if (column.type in BITS) return integer(column, random);
  if (column.type === 'datetime') return time(random);
  if (column.type === 'binary') return bytes(column.length, random);
  return text(column, random);
}

/** Inserts rows with random values of every table, through prepared statements; at most `count` each, since keys may clash. */
export async function insertRandomRows(
  shard: Shard,
  bucket: BucketId,
  count: number,
  random: Random,
): Promise<void> {
  for (const table of SHARDED_TABLES) {
    const columns = await columnsOf(shard, table.name);
    const places = columns.map(() => '?').join(', ');
    const names = columns.map(({ name }) => name).join(', ');
    const insert = `INSERT INTO ${table.name} (${names}) VALUES (${places}) ON DUPLICATE KEY UPDATE bucket = ${table.name}.bucket`;
    for (let row = 0; row < count; row++) {
      const values = columns.map((column) =>
        column.name === 'bucket' ? bucket : value(column, random),
      );
      await shard.execute(insert, values);
    }
  }
}

/** Inserts plain rows: `orders` and as many `idempotency_keys` (a key of several parts), a tenth of it in `saga_steps`. */
export async function insertPlainRows(
  shard: Shard,
  bucket: BucketId,
  count: number,
  from = 1,
): Promise<void> {
  const at = "'2026-01-31 09:30:00.000'";
  for (let begin = from; begin < from + count; begin += 1_000) {
    const numbers = Array.from(
      { length: Math.min(1_000, from + count - begin) },
      (_, index) => begin + index,
    );
    const orders = numbers.map((n) => `(${bucket}, ${n}, ${n % 97}, ${n * 3}, ${at})`);
    const hash = (n: number): string => `X'${String(n * 7919).padStart(64, '0')}'`;
    const keys = numbers.map(
      (n) => `(${bucket}, 'scope-${n % 3}', ${hash(n)}, ${hash(n + 1)}, ${n}, ${at})`,
    );
    const steps = numbers
      .filter((n) => n % 10 === 0)
      .map((n) => `(${bucket}, 'saga-${n}', 'step', 'done', '{"n":${n}}', ${at})`);
    const statements = [
      `INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at) VALUES ${orders.join(',')}`,
      `INSERT INTO idempotency_keys (bucket, scope, key_hash, request_hash, resource_id, created_at) VALUES ${keys.join(',')}`,
    ];
    if (steps.length > 0) {
      statements.push(
        `INSERT INTO saga_steps (bucket, saga_id, step, state, result, updated_at) VALUES ${steps.join(',')}`,
      );
    }
    await shard.packet(statements);
  }
}

/** Every row of the bucket on a shard, as `table: column=value …` with texts in hexadecimal; written without the mover's code. */
export async function contentOf(shard: Shard, bucket: BucketId): Promise<readonly string[]> {
  const rows: string[] = [];
  for (const table of SHARDED_TABLES) {
    const columns = await columnsOf(shard, table.name);
    const selected = columns.map(({ name, type }) =>
      type in BITS || type === 'datetime'
        ? `CAST(${name} AS CHAR) AS ${name}`
        : `HEX(${name}) AS ${name}`,
    );
    const found = await shard.query(
      `SELECT ${selected.join(', ')} FROM ${table.name} WHERE bucket = ?`,
      [bucket],
    );
    rows.push(...found.map((row) => `${table.name}: ${describe(columns, row)}`));
  }
  return rows.toSorted((a, b) => (a < b ? -1 : 1));
}

function describe(columns: readonly Column[], row: SqlRow): string {
  return columns.map(({ name }) => `${name}=${String(row[name])}`).join(' ');
}
