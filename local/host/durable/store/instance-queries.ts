import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { InstanceRow } from '../turn/turn.ts';
import { readInstance } from './instance-store.ts';

/** Which instances a list or a purge means; times in ms since the epoch. */
export interface InstanceFilter {
  readonly createdFromMs: number | null;
  readonly createdToMs: number | null;
  /** Empty means any. */
  readonly statuses: readonly string[];
  readonly idPrefix: string;
}

/** A place in the list, which is ordered by creation time and id. */
export interface ListPosition {
  readonly createdMs: number;
  readonly id: string;
}

/** Searches over `instances`. */
export interface InstanceQueries {
  /** At most `limit` matching instances after `after`. */
  list(filter: InstanceFilter, after: ListPosition | null, limit: number): InstanceRow[];
}

/** Statements are prepared once per combination of filters and then reused. */
export function createInstanceQueries(db: DatabaseSync): InstanceQueries {
  const prepared = new Map<string, StatementSync>();
  return {
    list(filter, after, limit) {
      const { where, values } = conditions(filter, after);
      const sql = `SELECT * FROM instances WHERE ${where} ORDER BY created, id LIMIT ?`;
      let statement = prepared.get(sql);
      if (statement === undefined) {
        statement = db.prepare(sql);
        prepared.set(sql, statement);
      }
      return statement.all(...values, limit).map(readInstance);
    },
  };
}

function conditions(
  filter: InstanceFilter,
  after: ListPosition | null,
): { where: string; values: (string | number)[] } {
  const parts = ['1'];
  const values: (string | number)[] = [];
  const add = (part: string, ...bound: (string | number)[]): void => {
    parts.push(part);
    values.push(...bound);
  };
  if (after !== null) add('(created, id) > (?, ?)', after.createdMs, after.id);
  if (filter.createdFromMs !== null) add('created >= ?', filter.createdFromMs);
  if (filter.createdToMs !== null) add('created <= ?', filter.createdToMs);
  if (filter.statuses.length > 0) {
    add(`status IN (${filter.statuses.map(() => '?').join(',')})`, ...filter.statuses);
  }
  if (filter.idPrefix !== '') add('substr(id, 1, length(?)) = ?', filter.idPrefix, filter.idPrefix);
  return { where: parts.join(' AND '), values };
}
