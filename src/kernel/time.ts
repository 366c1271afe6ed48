import type { Brand } from './brand.ts';

/** RFC 3339 UTC with exactly three fraction digits: `2026-01-31T09:30:00.000Z`. */
export type Timestamp = Brand<string, 'Timestamp'>;

/** Range of MySQL's DATETIME that we accept; wide enough for any order, narrow enough to catch slips. */
const EARLIEST_MS = Date.UTC(1970, 0, 1);
const LATEST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

const CANONICAL_LENGTH = '2026-01-31T09:30:00.000Z'.length;

const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|[+-]\d{2}:\d{2})$/;

/**
 * The canonical form of an RFC 3339 time with any offset (finer fractions are cut to milliseconds), or
 * `undefined` for anything else, for dates that do not exist, and outside 1970 … 9999.
 */
export function parseTimestamp(value: unknown): Timestamp | undefined {
  if (typeof value !== 'string') return undefined;
  // Written as we write it, as most are: then no part needs a look of its own.
  if (value.length === CANONICAL_LENGTH && timestampOf(Date.parse(value)) === value) {
    return value as Timestamp;
  }
  const match = RFC3339.exec(value);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction = ''] = match;
  const milliseconds = fraction.slice(0, 3).padEnd(3, '0');
  const local = `${year}-${month}-${day}T${hour}:${minute}:${second}.${milliseconds}`;
  const offset = /[Zz]$/.test(value) ? 'Z' : value.slice(-6);
  // A date that does not exist (31 February) rolls over in `Date`; seen by writing it back.
  const written = new Date(`${local}Z`);
  if (Number.isNaN(written.getTime()) || written.toISOString() !== `${local}Z`) return undefined;
  const instant = Date.parse(`${local}${offset}`);
  return Number.isNaN(instant) ? undefined : timestampOf(instant);
}

/** The timestamp of an instant in milliseconds since 1970, or `undefined` outside 1970 … 9999. */
export function timestampOf(epochMs: number): Timestamp | undefined {
  if (!(epochMs >= EARLIEST_MS && epochMs <= LATEST_MS)) return undefined;
  return new Date(epochMs).toISOString() as Timestamp;
}

/** As MySQL's DATETIME(3) literal, UTC: `2026-01-31 09:30:00.000`. */
export function toSqlDatetime(timestamp: Timestamp): string {
  return `${timestamp.slice(0, 10)} ${timestamp.slice(11, 23)}`;
}

/** Of `2026-01-31 09:30:00.000`. */
const SQL_DATETIME_LENGTH = 23;

/**
 * From mysql2's `dateStrings` text. The binary protocol drops a zero fraction and the text protocol
 * keeps it (FACTS-mysql 0.6), so both forms are accepted.
 */
export function fromSqlDatetime(text: string): Timestamp {
  // Almost all have three digits of a fraction; taken apart by place these cost a tenth.
  if (text.length === SQL_DATETIME_LENGTH)
    return `${text.slice(0, 10)}T${text.slice(11)}Z` as Timestamp;
  const [date, time = '00:00:00'] = text.split(' ');
  const [whole, fraction = ''] = time.split('.');
  return `${date}T${whole}.${fraction.slice(0, 3).padEnd(3, '0')}Z` as Timestamp;
}
