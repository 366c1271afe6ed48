import { DatabaseError } from '../database/database-error.ts';
import { driverErrorFields } from '../database/mysql-errors.ts';
import type { UnitCode, UnitStatus } from './model.ts';
import type { WatchResult } from './watch.ts';

/** How a statement of a unit ended that did not end well. */
export interface StatementFailure {
  readonly status: Extract<UnitStatus, 'skipped' | 'failed'>;
  readonly code: UnitCode;
  readonly reason: string;
  readonly retry: boolean;
}

/** An answer of ANALYZE that says `Error` in a row instead of by an error (FACTS-mysql 6). */
export class ReportedFailure extends Error {}

/** Out of disk: 1021 ER_DISK_FULL, 1114 ER_RECORD_FILE_FULL, 1026 ER_ERROR_ON_WRITE, 1878 ER_TEMP_FILE_WRITE_FAILURE. */
const DISK_FULL: ReadonlySet<number> = new Set([1021, 1026, 1114, 1878]);
/** 1845, 1846: ALGORITHM or LOCK not supported; 1235: not in this version; 1064: syntax. */
const NOT_SUPPORTED: ReadonlySet<number> = new Set([1845, 1846, 1235, 1064]);
/** 1146: no such table; 1051: unknown table. */
const GONE: ReadonlySet<number> = new Set([1146, 1051]);

/** What an error of a unit's statement means; undefined for one that is not the database's. Pure. */
export function failureOf(
  error: unknown,
  watch: Pick<WatchResult, 'ended'>,
): StatementFailure | undefined {
  if (error instanceof ReportedFailure) {
    return failed('refused', `the server reported: ${error.message}`, false);
  }
  if (!(error instanceof DatabaseError)) return undefined;
  const errno = driverErrorFields(error.cause).errno ?? 0;
  const said = error.cause instanceof Error ? error.cause.message : error.message;
  if (watch.ended === 'blocked-others') {
    return failed(watch.ended, 'it was ended because others waited for it too long', true);
  }
  if (watch.ended === 'time-up') {
    return failed(watch.ended, 'it was ended because its time was up', true);
  }
  // A full disk shows as 1030 (error of the storage engine) with the operating system's number 28 as well.
  if (DISK_FULL.has(errno) || (errno === 1030 && /\b28\b/.test(said))) {
    return failed('disk-full', `the server ran out of disk: ${said}`, true);
  }
  if (NOT_SUPPORTED.has(errno)) return skipped('not-supported', said, false);
  if (GONE.has(errno)) return skipped('table-gone', said, false);
  return byKind(error, said);
}

function byKind(error: DatabaseError, said: string): StatementFailure {
  switch (error.failure) {
    case 'contention':
      return skipped(
        'metadata-lock',
        'a session holds the table, and the statement waited no longer (MAINTENANCE_METADATA_WAIT_SECONDS)',
        true,
      );
    case 'hindered':
      return failed('killed', `somebody or a limit of the server ended it: ${said}`, true);
    case 'lost':
    case 'timeout':
    case 'deadline':
    case 'unreachable':
    case 'crowded':
      return failed('connection-lost', 'the connection broke under the statement', true);
    case 'read-only':
      return skipped('read-only', 'the server takes no writes', true);
    case 'misconfigured':
      return skipped('not-permitted', said, false);
    case 'duplicate':
    case 'assertion':
    case 'too-large':
    case 'rejected':
      return failed('refused', said, true);
  }
}

function failed(code: UnitCode, reason: string, retry: boolean): StatementFailure {
  return { status: 'failed', code, reason: reason.slice(0, 1_000), retry };
}

function skipped(code: UnitCode, reason: string, retry: boolean): StatementFailure {
  return { status: 'skipped', code, reason: reason.slice(0, 1_000), retry };
}
