import { z } from 'zod';
import { BugError } from '../kernel/errors.ts';
import type { BucketId, OrderId, UserId } from '../kernel/ids.ts';
import type { AmountCents } from '../kernel/money.ts';
import { fromSqlDatetime } from '../kernel/time.ts';
import type { OrderRow } from '../orders/batch-statements.ts';
import { checkStored, rowSetOf, type RowSet } from '../orders/row-set.ts';

/** An order on its way, with the line it came from. */
export interface ChunkRow extends OrderRow {
  readonly line: number;
}

/** A chunk's rows, ready to be written. */
export interface Chunk extends RowSet {
  readonly rows: () => readonly ChunkRow[];
}

const headerSchema = z.strictObject({
  count: z.int().min(1),
  createdAtGiven: z.boolean(),
  buckets: z.array(z.int().min(0).max(1_023)),
  users: z.int().min(1),
});

const LINE_NUMBERS = /^\d{1,10}(?:,\d{1,10})*$/;
const ROW = /\((\d+),(\d+),(\d+),(\d+),'([^']+)'\)/g;

/**
 * A chunk as text: a header, the users' keys, the rows, and the lines that they came from, each on one line. Keys and
 * rows stand as the statements want them, because every order of a batch passes here, and taking rows apart and putting
 * them together again costs more than writing them.
 */
export function encodeChunk(given: readonly ChunkRow[]): string {
  const set = rowSetOf(given);
  const { count, createdAtGiven, buckets, users } = set;
  const header: z.input<typeof headerSchema> = {
    count,
    createdAtGiven,
    buckets: [...buckets],
    users,
  };
  const lines = (set.rows() as readonly ChunkRow[]).map((row) => row.line);
  return [JSON.stringify(header), set.userKeys, set.values, lines.join(',')].join('\n');
}

/** What {@link encodeChunk} wrote. Throws `internal` when the text is anything else, so that none of it becomes SQL. */
export function decodeChunk(text: string): Chunk {
  const [header = '', userKeys = '', values = '', lines = ''] = text.split('\n', 4);
  const { count, createdAtGiven, buckets, users } = headerSchema.parse(JSON.parse(header));
  checkStored('userKeys', userKeys, users);
  checkStored('values', values, count);
  let rows: readonly ChunkRow[] | undefined;
  return {
    count,
    createdAtGiven,
    buckets: buckets as BucketId[],
    users,
    userKeys,
    values,
    rows: () => (rows ??= rowsOf(values, lines, createdAtGiven)),
  };
}

function rowsOf(values: string, lines: string, createdAtGiven: boolean): ChunkRow[] {
  if (!LINE_NUMBERS.test(lines)) throw new BugError('stored lines are not as they were written');
  const numbers = lines.split(',');
  return [...values.matchAll(ROW)].map(([, bucket, orderId, userId, cents, time], index) => ({
    line: Number(numbers[index]),
    bucket: Number(bucket) as BucketId,
    orderId: orderId as OrderId,
    userId: userId as UserId,
    amountCents: Number(cents) as AmountCents,
    createdAt: fromSqlDatetime(time ?? ''),
    createdAtGiven,
  }));
}
