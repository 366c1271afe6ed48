import type { SQLOutputValue } from 'node:sqlite';

type Row = Readonly<Record<string, SQLOutputValue>>;

/** A TEXT column declared NOT NULL. @throws TypeError when the row holds something else. */
export function requiredText(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw new TypeError(`column ${column} is not text`);
  return value;
}

/** A TEXT column that may be NULL. */
export function textOrNull(row: Row, column: string): string | null {
  return row[column] === null ? null : requiredText(row, column);
}

/** An INTEGER column declared NOT NULL. @throws TypeError when the row holds something else. */
export function requiredNumber(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== 'number') throw new TypeError(`column ${column} is not a number`);
  return value;
}
