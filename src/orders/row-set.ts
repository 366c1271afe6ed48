import { BugError } from '../kernel/errors.ts';
import { compareIds, type BucketId, type UserId } from '../kernel/ids.ts';
import { toSqlDatetime, type Timestamp } from '../kernel/time.ts';
import type { OrderRow } from './batch-statements.ts';

/**
 * The rows of one transaction with the texts that its statements are made of, so that rows which were checked and
 * written down once (a chunk in storage) need not be taken apart and put together again.
 *
 * All rows agree in `createdAtGiven` and stand in the order of the primary key.
 */
export interface RowSet {
  readonly count: number;
  readonly createdAtGiven: boolean;
  /** Distinct, ascending. */
  readonly buckets: readonly BucketId[];
  /** Distinct users, and their keys as elements of a JSON array: `[bucket,user],…`. */
  readonly users: number;
  readonly userKeys: string;
  /** The list of a VALUES clause: `(bucket,order,user,cents,'time'),…`; numbers and times only. */
  readonly values: string;
  /** The rows one by one, for the rare case that some of them are left out. */
  readonly rows: () => readonly OrderRow[];
}

/** Order of the primary key (bucket, order_id): batches that overlap in this order do not deadlock (FACTS-mysql 3). */
export function byPrimaryKey(a: OrderRow, b: OrderRow): number {
  return a.bucket - b.bucket || compareIds(a.orderId, b.orderId);
}

/** A set of rows that agree in `createdAtGiven`, in any order. */
export function rowSetOf(given: readonly OrderRow[]): RowSet {
  const rows = given.toSorted(byPrimaryKey);
  const users = distinctUsers(rows);
  return {
    count: rows.length,
    createdAtGiven: rows[0]?.createdAtGiven ?? false,
    buckets: [...new Set(rows.map((row) => row.bucket))],
    users: users.length,
    userKeys: users.map((row) => `[${row.bucket},${row.userId}]`).join(','),
    values: valuesOf(rows),
    rows: () => rows,
  };
}

/** One row per user, standing for it. */
export function distinctUsers(rows: readonly OrderRow[]): OrderRow[] {
  return [...new Map<UserId, OrderRow>(rows.map((row) => [row.userId, row])).values()];
}

/** One text that grows: a third cheaper than one per row, joined. Most rows of a batch have the same time. */
function valuesOf(rows: readonly OrderRow[]): string {
  let values = '';
  let createdAt: Timestamp | undefined;
  let time = '';
  for (const row of rows) {
    if (row.createdAt !== createdAt) {
      createdAt = row.createdAt;
      time = toSqlDatetime(createdAt);
    }
    values += `,(${row.bucket},${row.orderId},${row.userId},${row.amountCents},'${time}')`;
  }
  return values.slice(1);
}

const USER_KEYS = listOf(String.raw`\[\d{1,4},\d{1,19}\]`);
const VALUES = listOf(
  String.raw`\(\d{1,4},\d{1,19},\d{1,19},\d{1,10},'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}'\)`,
);

/**
 * Lets a stored text of {@link RowSet.values} or {@link RowSet.userKeys} pass only when it holds nothing but rows of
 * numbers and times, as many as it should: the text becomes a part of a statement. Throws `internal` otherwise.
 */
export function checkStored(kind: 'values' | 'userKeys', text: string, count: number): void {
  const [pattern, opening] = kind === 'values' ? [VALUES, '('] : [USER_KEYS, '['];
  if (!pattern.test(text) || occurrences(text, opening) !== count) {
    throw new BugError(`stored rows are not as they were written (${kind})`);
  }
}

function occurrences(text: string, character: string): number {
  let found = 0;
  for (let at = text.indexOf(character); at !== -1; at = text.indexOf(character, at + 1)) found++;
  return found;
}

function listOf(item: string): RegExp {
  return new RegExp(`^${item}(?:,${item})*$`);
}
