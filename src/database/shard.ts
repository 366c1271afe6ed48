import { escape } from 'mysql2';
import { BugError, RetryableError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { ConnectionPool } from './connection-pool.ts';
import type { DriverConnection, Protocol } from './connection.ts';
import type {
  LockLimits,
  PacketResult,
  Session,
  Shard,
  SqlRow,
  SqlRunner,
  SqlValue,
  TransactionOptions,
  WriteResult,
} from './contracts.ts';
import { DatabaseError, isFailure } from './database-error.ts';
import type { GroupWriters } from './group-writer.ts';
import type { ShardPools } from './shard-pools.ts';
import type { ShardTelemetry } from './shard-telemetry.ts';

/** Well under the smallest default of `max_allowed_packet` (16 MiB, MariaDB); a chunk of 10 000 orders is about 1 MB. */
export const MAX_PACKET_BYTES = 8 * 1024 * 1024;
/** Time for a ROLLBACK; a server that needs longer loses the connection, which rolls back as well. */
const ROLLBACK_LIMIT_MS = 1_000;

export interface ShardContext {
  readonly id: ShardId;
  readonly name: string;
  readonly pools: ShardPools;
  readonly acquireTimeoutMs: number;
  readonly statementTimeoutMs: number;
  /** Milliseconds until the caller's deadline; no statement gets more. */
  readonly remainingMs: () => number;
  /** Undefined: nothing is measured. */
  readonly telemetry?: ShardTelemetry | undefined;
}

/** One shard as one caller sees it: every statement is bounded by the caller's deadline. Opens nothing by itself. */
export function createShard(context: ShardContext, groups: GroupWriters): Shard {
  const onSingle = <T>(use: (runner: SqlRunner) => Promise<T>): Promise<T> =>
    withConnection(context, context.pools.single, (connection) =>
      use(createRunner(context, connection)),
    );
  const shard: Shard = {
    id: context.id,
    name: context.name,
    execute: (text, values) => onSingle((runner) => runner.execute(text, values)),
    select: (text, values) => onSingle((runner) => runner.select(text, values)),
    query: (text, values) => onSingle((runner) => runner.query(text, values)),
    transaction: (run, options) =>
      withConnection(context, context.pools.single, (connection) =>
        runTransaction(context, connection, run, options ?? {}),
      ),
    executeWithin: (limits, text, values) =>
      executeWithin(context, limits, (connection) =>
        createRunner(context, connection).execute(text, values),
      ),
    packet: (statements) =>
      withConnection(context, context.pools.batch, (connection) =>
        runPacket(context, connection, statements),
      ),
    grouped: (kind, item, alone) =>
      groups.of(kind).run(item, (items) => kind.together(shard, items), alone),
    literal: sqlLiteral,
  };
  return shard;
}

/** A value as SQL text, for packets and generated lists. Throws BugError for what has no exact literal. */
export function sqlLiteral(value: SqlValue): string {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new BugError('a number in SQL text must be finite', { details: { value } });
  }
  return escape(value, false, 'Z');
}

/** Runs on one connection; for set-up work that needs the same session throughout (GET_LOCK). */
export function withSession<T>(
  context: ShardContext,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  return withConnection(context, context.pools.single, async (connection) => {
    let discarded = false;
    const session: Session = {
      ...createRunner(context, connection),
      command: async (text, limitMs) => {
        await connection.run('text', text, [], limitMs ?? statementLimit(context));
      },
      report: async (text, limitMs) =>
        rowsOf(await connection.run('text', text, [], limitMs ?? statementLimit(context))),
      discard: () => {
        discarded = true;
      },
    };
    try {
      return await use(session);
    } finally {
      if (discarded) connection.destroy();
    }
  });
}

async function withConnection<T>(
  context: ShardContext,
  pool: ConnectionPool,
  use: (connection: DriverConnection) => Promise<T>,
): Promise<T> {
  try {
    const waitMs = Math.min(context.acquireTimeoutMs, remaining(context));
    const { telemetry } = context;
    return await (telemetry === undefined
      ? pool.with(waitMs, use)
      : watchedWith(context, telemetry, pool, waitMs, use));
  } catch (error) {
    // Connections of before a failover lead to the old primary, all of them.
    if (isFailure(error, 'read-only')) {
      context.pools.single.retire();
      context.pools.batch.retire();
    }
    throw error;
  }
}

/** As `pool.with`, measured; a wait that ends without a connection counts as well. */
async function watchedWith<T>(
  { pools }: ShardContext,
  telemetry: ShardTelemetry,
  pool: ConnectionPool,
  waitMs: number,
  use: (connection: DriverConnection) => Promise<T>,
): Promise<T> {
  const startedMs = performance.now();
  let waiting = true;
  const waited = (): void => {
    if (!waiting) return;
    waiting = false;
    telemetry.waited(pool === pools.batch ? 'batch' : 'single', performance.now() - startedMs);
  };
  try {
    return await pool.with(waitMs, (connection) => {
      waited();
      return use(telemetry.watch(connection));
    });
  } finally {
    waited();
  }
}

function remaining(context: ShardContext): number {
  const ms = context.remainingMs();
  if (ms > 0) return ms;
  throw RetryableError.shardUnavailable(context.id, { details: { reason: 'deadline passed' } });
}

function statementLimit(context: ShardContext): number {
  return Math.min(context.statementTimeoutMs, remaining(context));
}

function createRunner(
  context: ShardContext,
  connection: DriverConnection,
  guard: StatementGuard = NO_GUARD,
): SqlRunner {
  const run = (protocol: Protocol, text: string, values: readonly SqlValue[]): Promise<unknown> =>
    guard(async () => await connection.run(protocol, text, values, statementLimit(context)));
  return {
    execute: async (text, values) => writeResult(await run('prepared', text, values)),
    select: async (text, values) => rowsOf(await run('prepared', text, values)),
    query: async (text, values) => rowsOf(await run('text', text, values)),
  };
}

/** Wraps every statement of a transaction. */
type StatementGuard = (statement: () => Promise<unknown>) => Promise<unknown>;
const NO_GUARD: StatementGuard = (statement) => statement();

/**
 * Refuses statements after one that took the transaction away (deadlock, lost connection) and after its end:
 * they would run, and commit, on their own. `check` throws the first such failure.
 */
function transactionGuard(): { guard: StatementGuard; check: () => void; end: () => void } {
  let broken: unknown;
  let ended = false;
  const check = (): void => {
    if (broken !== undefined) throw broken;
  };
  return {
    check,
    end: () => {
      ended = true;
    },
    guard: async (statement) => {
      if (ended) throw new BugError('a statement was sent after the end of its transaction');
      check();
      try {
        return await statement();
      } catch (error) {
        if (!(error instanceof DatabaseError) || error.retryable) broken = error;
        throw error;
      }
    },
  };
}

/** Keeps the session's lock wait for {@link RESTORE_LOCK_WAIT}; assignments are made from left to right. */
function shortenLockWait(seconds: number): string {
  return `SET @shardline_lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = ${sqlLiteral(seconds)}`;
}

const RESTORE_LOCK_WAIT = 'SET SESSION innodb_lock_wait_timeout = @shardline_lock_wait';

/** The connection is set back after the answer was given, and belongs to nobody else until then. */
function executeWithin(
  context: ShardContext,
  { lockWaitSeconds, onSend }: LockLimits,
  execute: (connection: DriverConnection) => Promise<WriteResult>,
): Promise<WriteResult> {
  return new Promise((resolve, reject) => {
    withConnection(context, context.pools.single, async (connection) => {
      await connection.run('text', shortenLockWait(lockWaitSeconds), [], statementLimit(context));
      try {
        onSend?.();
        resolve(await execute(connection));
      } finally {
        await restore(connection, RESTORE_LOCK_WAIT);
      }
    }).catch(reject);
  });
}

async function runTransaction<T>(
  context: ShardContext,
  connection: DriverConnection,
  run: (tx: SqlRunner) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const control = (text: string): Promise<unknown> =>
    connection.run('text', text, [], statementLimit(context));
  const { guard, check, end } = transactionGuard();
  const lockWait = options.lockWaitSeconds;
  try {
    if (lockWait !== undefined) await control(shortenLockWait(lockWait));
    await control('START TRANSACTION');
    const value = await run(createRunner(context, connection, guard));
    check();
    await control('COMMIT');
    return value;
  } catch (error) {
    await rollBack(connection);
    throw error;
  } finally {
    end();
    if (lockWait !== undefined) {
      await restore(connection, RESTORE_LOCK_WAIT);
    }
  }
}

async function runPacket(
  context: ShardContext,
  connection: DriverConnection,
  statements: readonly string[],
): Promise<readonly PacketResult[]> {
  const text = ['START TRANSACTION', ...statements, 'COMMIT'].join(';\n');
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_PACKET_BYTES) {
    throw new BugError('a packet is larger than its bound; send fewer rows at once', {
      details: { bytes, maxBytes: MAX_PACKET_BYTES },
    });
  }
  try {
    const results = (await connection.run('text', text, [], statementLimit(context))) as unknown[];
    return results
      .slice(1, -1)
      .map((result) => (Array.isArray(result) ? rowsOf(result) : writeResult(result)));
  } catch (error) {
    await rollBack(connection);
    throw error;
  }
}

/** Leaves the connection without a transaction or destroyed; never throws, the first error is the one to report. */
function rollBack(connection: DriverConnection): Promise<void> {
  return restore(connection, 'ROLLBACK');
}

async function restore(connection: DriverConnection, text: string): Promise<void> {
  if (!connection.usable) return;
  try {
    await connection.run('text', text, [], ROLLBACK_LIMIT_MS);
  } catch {
    // Whatever went wrong, the state of the session is unknown now; the server undoes it with the connection.
    connection.destroy();
  }
}

function rowsOf(result: unknown): readonly SqlRow[] {
  if (!Array.isArray(result))
    throw new BugError('a statement that returns no rows was run as a read');
  return result as readonly SqlRow[];
}

function writeResult(result: unknown): WriteResult {
  if (Array.isArray(result)) throw new BugError('a statement that returns rows was run as a write');
  const header = result as { readonly affectedRows: number; readonly insertId: number | string };
  return { affectedRows: header.affectedRows, insertId: Number(header.insertId) };
}
