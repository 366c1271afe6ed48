import { hash } from 'node:crypto';
import type { Clock } from '../kernel/clock.ts';
import { PermanentError, RetryableError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { DatabaseError } from './database-error.ts';
import type { Migration } from './migration-files.ts';
import { driverErrorFields } from './mysql-errors.ts';
import { sqlNow } from './ownership.ts';
import type { Session } from './contracts.ts';
import {
  ADD_COMPATIBILITY_TO_LOG,
  BEGIN_MIGRATION,
  BEGIN_MIGRATION_STATEMENT,
  CREATE_MIGRATION_LOG,
  END_MIGRATION,
  END_MIGRATION_STATEMENT,
  FREE_NAMED_LOCK,
  MIGRATION_LOG_EXISTS,
  MIGRATION_LOG_HAS_COMPATIBILITY,
  READ_MIGRATION_LOG,
  TAKE_NAMED_LOCK,
} from './statements.ts';

const DEFAULT_LOCK_WAIT_SECONDS = 10;

/** For one statement of a migration: building an index on a large table takes its time. */
const STATEMENT_LIMIT_MS = 3_600_000;
/** MariaDB's session limit would end DDL as well (connection.ts); a no-op elsewhere. */
const NO_SERVER_TIME_LIMIT = 'SET @shardline = 0 /*M! , SESSION max_statement_time = 0 */';

/** One row of `schema_migrations`. */
export interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly begun: number;
  readonly done: number;
  readonly finished: boolean;
  /** Builds that know versions up to this one or later may use the schema; undefined: only those that know this file. */
  readonly compatibleWith: number | undefined;
}

export type MigrationPlan =
  /** In ascending order; empty when the schema is up to date. */
  | { readonly kind: 'pending'; readonly migrations: readonly Migration[] }
  | { readonly kind: 'clash'; readonly problem: string };

/**
 * What is left to do; pure. A clash (a changed file, a version we do not have, one that was left out) is for a
 * person to settle: going on would work on a schema that nobody has described.
 */
export function planMigrations(
  files: readonly Migration[],
  applied: readonly AppliedMigration[],
): MigrationPlan {
  const newest = files.length;
  for (const [index, row] of applied.entries()) {
    const file = files[row.version - 1];
    if (file === undefined && mayGoOnWith(row, newest)) continue;
    if (file === undefined) {
      return clash(
        `its schema is at version ${row.version} (${row.name}), but this build knows versions up to ${newest}: a newer build has been here; deploy that one or a later one`,
      );
    }
    if (row.version !== index + 1) {
      return clash(
        `migration ${index + 1} (${files[index]?.name}) was never applied although ${row.name} was; migrations apply in order only`,
      );
    }
    if (row.checksum !== file.checksum) {
      return clash(
        `migration ${file.name} has changed since it was ${row.finished ? 'applied' : 'begun'} here (checksum ${row.checksum.slice(0, 12)}…, now ${file.checksum.slice(0, 12)}…); restore the file and put the change into a new migration`,
      );
    }
    if (!row.finished && index !== applied.length - 1) {
      return clash(`migration ${row.name} was left unfinished although later ones were applied`);
    }
  }
  const finished = applied.filter((row) => row.finished).length;
  return { kind: 'pending', migrations: files.slice(finished) };
}

/** A newer build has declared its change harmless to ours: instances of both run side by side while it is deployed. */
function mayGoOnWith(row: AppliedMigration, newest: number): boolean {
  return row.compatibleWith !== undefined && row.compatibleWith <= newest;
}

function clash(problem: string): MigrationPlan {
  return { kind: 'clash', problem };
}

export interface MigrateOptions {
  readonly shardId: number;
  readonly shardName: string;
  /** Name of the database: the lock is for it, not for the whole server. */
  readonly database: string;
  readonly files: readonly Migration[];
  /** False: only look, and refuse a schema that is behind. */
  readonly apply: boolean;
  /** How long to wait for another instance that is at it; default 10. */
  readonly lockWaitSeconds?: number;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly logger: Logger;
}

/**
 * Brings one shard's schema up to this build. `session` must be one connection throughout: the named lock that keeps
 * other instances out is tied to it. Idempotent; goes on where a crashed run stopped.
 *
 * Throws `configuration-invalid` for a clash or, with `apply` false, a schema that is behind; `shard-unavailable`
 * when another instance is still migrating.
 */
export async function migrate(session: Session, options: MigrateOptions): Promise<void> {
  // Without the lock, which every start would otherwise take: most find nothing to do.
  if (pendingOf(options, await readLog(session)).length === 0) return;
  if (!options.apply) {
    throw new PermanentError(
      'configuration-invalid',
      `Shard "${options.shardName}" has an older schema than this build needs (version ${options.files.length}), and MIGRATE_ON_START is false. Apply the migrations first.`,
      { details: { shardId: options.shardId } },
    );
  }
  const lock = `shardline:migrate:${hash('sha256', options.database, 'hex').slice(0, 32)}`;
  const [row] = await session.select(TAKE_NAMED_LOCK, [
    lock,
    options.lockWaitSeconds ?? DEFAULT_LOCK_WAIT_SECONDS,
  ]);
  if (Number(row?.['taken']) !== 1) {
    throw RetryableError.shardUnavailable(options.shardId, {
      details: { reason: 'another instance is migrating this shard' },
    });
  }
  try {
    session.discard();
    await session.command(NO_SERVER_TIME_LIMIT);
    await session.command(CREATE_MIGRATION_LOG);
    const [column] = await session.select(MIGRATION_LOG_HAS_COMPATIBILITY, []);
    if (Number(column?.['present']) === 0) await session.command(ADD_COMPATIBILITY_TO_LOG);
    const applied = await readLog(session);
    for (const migration of pendingOf(options, applied)) {
      const begun = applied.find((candidate) => candidate.version === migration.version);
      await applyMigration(session, migration, begun, options);
    }
  } finally {
    await session.select(FREE_NAMED_LOCK, [lock]).catch((error: unknown) => {
      // A connection that cannot say it has lost the lock with it; any other refusal must not hide the first error.
      options.logger.log('warn', 'database.migration_lock_kept', {
        shardId: options.shardId,
        errorMessage: String(error),
      });
    });
  }
}

function pendingOf(
  options: MigrateOptions,
  applied: readonly AppliedMigration[],
): readonly Migration[] {
  const plan = planMigrations(options.files, applied);
  if (plan.kind === 'pending') return plan.migrations;
  throw new PermanentError(
    'configuration-invalid',
    `Shard "${options.shardName}" cannot be used by this build: ${plan.problem}.`,
    { details: { shardId: options.shardId } },
  );
}

/** What is left to do on one shard, without doing it. */
export async function readMigrationPlan(
  session: Session,
  files: readonly Migration[],
): Promise<MigrationPlan> {
  return planMigrations(files, await readLog(session));
}

async function readLog(session: Session): Promise<readonly AppliedMigration[]> {
  const [table] = await session.select(MIGRATION_LOG_EXISTS, []);
  if (Number(table?.['present']) === 0) return [];
  const rows = await session.select(READ_MIGRATION_LOG, []);
  return rows.map((row) => ({
    version: Number(row['version']),
    name: String(row['name']),
    checksum: String(row['checksum']),
    begun: Number(row['begun']),
    done: Number(row['done']),
    finished: Number(row['finished']) === 1,
    // NULL, or no such column in a log of an earlier build.
    compatibleWith: Number(row['compatible_with'] ?? 0) || undefined,
  }));
}

/**
 * Applies one file statement by statement. DDL commits by itself in MySQL, so a file cannot be one transaction; the
 * log says before each statement that it is begun and after it that it is done. A statement begun and not done by a
 * run that died is run again: a data change was rolled back with its log entry, and a schema change that had gone
 * through says so by its error (see {@link ALREADY_THERE}).
 */
async function applyMigration(
  session: Session,
  migration: Migration,
  before: AppliedMigration | undefined,
  options: MigrateOptions,
): Promise<void> {
  const { version, name, checksum, statements } = migration;
  const { clock, logger, shardId } = options;
  logger.log('info', 'database.migration_started', {
    shardId,
    migration: name,
    from: before?.done,
  });
  if (before === undefined) {
    await session.execute(BEGIN_MIGRATION, [
      version,
      name,
      checksum,
      sqlNow(clock.nowMs()),
      migration.compatibleWith,
    ]);
  }
  for (let index = before?.done ?? 0; index < statements.length; index++) {
    const number = index + 1;
    const resumed = before?.begun === number;
    await session.execute(BEGIN_MIGRATION_STATEMENT, [number, version]);
    await runStatement(session, statements[index] as string, { version, index, resumed });
    await session.execute(END_MIGRATION_STATEMENT, [number, version]);
    await session.command('COMMIT');
  }
  await session.execute(END_MIGRATION, [sqlNow(clock.nowMs()), version]);
  logger.log('info', 'database.migration_applied', { shardId, migration: name });
}

/** Table, column, key or constraint exists already; table, column, key to drop is gone already. */
const ALREADY_THERE: ReadonlySet<number> = new Set([1050, 1051, 1060, 1061, 1091, 1826, 3822]);

async function runStatement(
  session: Session,
  statement: string,
  at: { readonly version: number; readonly index: number; readonly resumed: boolean },
): Promise<void> {
  // For data changes: they and their log entry commit together. DDL ends the transaction by itself.
  await session.command('START TRANSACTION');
  try {
    await session.command(statement, STATEMENT_LIMIT_MS);
  } catch (error) {
    const errno = error instanceof DatabaseError ? driverErrorFields(error.cause).errno : undefined;
    if (at.resumed && errno !== undefined && ALREADY_THERE.has(errno)) return;
    if (!at.resumed && errno !== undefined) {
      // The server refused it, so it had no effect: the next run must not think that it may have. A failure to say so
      // would hide why.
      await session.command('ROLLBACK').catch(() => undefined);
      await session
        .execute(BEGIN_MIGRATION_STATEMENT, [at.index, at.version])
        .catch(() => undefined);
    }
    throw error;
  }
}
