import { hash } from 'node:crypto';
import type { Session } from '../database/contracts.ts';
import { FREE_NAMED_LOCK, TAKE_NAMED_LOCK } from '../database/statements.ts';
import { AppError, BugError } from '../kernel/errors.ts';
import { errorFields } from '../kernel/logger.ts';
import { abandonStale, beginLog } from './command-log.ts';
import { summarize } from './figures.ts';
import { checkGuards, freeSpaceBySettings, obstacleOf } from './guards.ts';
import type { FreeSpaceSource, Obstacle } from './guards.ts';
import type { Decision, TableFigures, UnitOutcome, UnitRequest, Work } from './model.ts';
import { policyOf } from './policy.ts';
import type { Policy } from './policy.ts';
import { lookAgain, onShard, outcomeOf, settle, subjectOf, timeLeftMs } from './unit-context.ts';
import type { Unit, UnitEnd, UnitServices } from './unit-context.ts';
import { READ_READ_ONLY, READ_SESSION_ID, unitSession } from './unit-statements.ts';
import { runWork } from './unit-work.ts';

export interface UnitTools {
  /** Default: {@link freeSpaceBySettings}. */
  readonly freeBytes?: FreeSpaceSource;
  /** Default: the policy of the settings. */
  readonly policy?: Policy;
}

/** A chunk of the wait for the lock: shorter than any time limit of a session. */
const LOCK_CHUNK_SECONDS = 2;
/** Looks and the log around the statement. */
const AROUND_MS = 120_000;
/** A window that ends sooner is over. */
const LEAST_TIME_MS = 1_000;

/**
 * The server-wide name of the lock that one run of maintenance on a database holds; at most 64 characters. It lies on the
 * session that runs the statement: a process that dies leaves it with the server until the statement has ended, so that no
 * two statements of maintenance ever run at once.
 */
export function maintenanceLock(database: string): string {
  return `shardline:maintenance:${hash('sha256', database, 'hex').slice(0, 32)}`;
}

/**
 * Runs one unit: takes the lock, closes what dead units left, looks and decides anew, checks the guards, runs the statement
 * under a watcher, looks again, writes the log. Whatever a server does is an outcome; only bugs are thrown. A unit that is
 * repeated finds what was done, by the figures, and does nothing again.
 */
export async function runUnit(
  services: UnitServices,
  request: UnitRequest,
  tools: UnitTools = {},
): Promise<UnitOutcome> {
  const { clock, config, database, logger, probe } = services;
  const unit: Unit = {
    services,
    request,
    policy: tools.policy ?? policyOf(config),
    freeBytes: tools.freeBytes ?? freeSpaceBySettings(services),
    startedAtMs: clock.nowMs(),
    startedMonotonicMs: clock.monotonicMs(),
    notes: [],
  };
  await probe.reach('maintenance.beforeLock', subjectOf(request));
  const lockWaitMs = request.lockWaitMs ?? config.MAINTENANCE_LOCK_WAIT_MS;
  const deadlineMs = lockWaitMs + config.MAINTENANCE_STATEMENT_MAX_MS + AROUND_MS;
  let outcome: UnitOutcome;
  try {
    outcome = await database.onSession(
      request.shard,
      (session) => withLock(unit, session, lockWaitMs),
      { deadlineMs },
    );
  } catch (error) {
    if (!(error instanceof AppError) || error instanceof BugError) throw error;
    logger.log('warn', 'maintenance.unit_hindered', {
      shardId: request.shard,
      table: request.table,
      ...errorFields(error),
    });
    outcome = outcomeOf(unit, { ...obstacleOf(error), status: 'skipped' });
  }
  logger.log('info', 'maintenance.unit_ended', { ...outcome, notes: outcome.notes.length });
  return outcome;
}

async function withLock(unit: Unit, session: Session, lockWaitMs: number): Promise<UnitOutcome> {
  const { config, logger } = unit.services;
  const { shard, table } = unit.request;
  await session.command(unitSession(config.MAINTENANCE_METADATA_WAIT_SECONDS));
  const lock = maintenanceLock(config.SHARDS[shard]?.database ?? '');
  if (!(await takeLock(unit, session, lock, lockWaitMs))) {
    const reason = `another run of maintenance holds the shard's lock; waited ${lockWaitMs} ms`;
    return await skip(unit, { code: 'lock-busy', reason });
  }
  try {
    return await underLock(unit, session);
  } finally {
    await session.select(FREE_NAMED_LOCK, [lock]).catch((error: unknown) => {
      // A session that cannot say it has lost the lock with it.
      logger.log('info', 'maintenance.lock_lost', { shardId: shard, table, ...errorFields(error) });
    });
  }
}

async function takeLock(
  unit: Unit,
  session: Session,
  lock: string,
  waitMs: number,
): Promise<boolean> {
  const { clock } = unit.services;
  const endMs = clock.monotonicMs() + waitMs;
  for (;;) {
    const leftSeconds = Math.max(0, Math.ceil((endMs - clock.monotonicMs()) / 1_000));
    const seconds = Math.min(LOCK_CHUNK_SECONDS, leftSeconds);
    const [row] = await session.select(TAKE_NAMED_LOCK, [lock, seconds]);
    if (Number(row?.['taken']) === 1) return true;
    if (clock.monotonicMs() >= endMs) return false;
  }
}

async function underLock(unit: Unit, session: Session): Promise<UnitOutcome> {
  const [state] = await session.query(READ_READ_ONLY, []);
  if (Number(state?.['read_only']) !== 0) {
    return outcomeOf(unit, {
      code: 'read-only',
      reason: 'the server takes no writes (read_only)',
      status: 'skipped',
    });
  }
  const { services, request } = unit;
  const { clock, logger } = services;
  const abandoned = await onShard(unit, (shard) => abandonStale(shard, clock.nowMs()));
  if (abandoned > 0) {
    const fields = { shardId: request.shard, rows: abandoned };
    logger.log('warn', 'maintenance.units_abandoned', fields);
  }
  const figures = await lookAgain(unit);
  if (figures === undefined) {
    return await skip(unit, { code: 'table-gone', reason: 'the shard has no such table' });
  }
  const decision = settle(unit, figures);
  if (decision.action === 'none') return await unneeded(unit, figures, decision);
  const action = decision.action;
  const [row] = await session.query(READ_SESSION_ID, []);
  const sessionId = String(row?.['id']);
  const obstacle = await findObstacle(unit, figures, action, sessionId);
  if (obstacle !== undefined) return await skip(unit, obstacle, figures, action);
  return await runWork(unit, { session, sessionId, figures, decision: { ...decision, action } });
}

async function findObstacle(
  unit: Unit,
  figures: TableFigures,
  action: Work,
  sessionId: string,
): Promise<Obstacle | undefined> {
  if (timeLeftMs(unit) < LEAST_TIME_MS) {
    return { code: 'window-over', reason: 'the window of maintenance is over' };
  }
  const { services, request, freeBytes } = unit;
  const verdict = await onShard(unit, (shard) =>
    checkGuards(services, shard, {
      shardId: request.shard,
      figures,
      action,
      sessionId,
      freeBytes,
    }),
  );
  unit.notes.push(...verdict.notes);
  return verdict.obstacle;
}

async function skip(
  unit: Unit,
  obstacle: Obstacle,
  figures?: TableFigures,
  action = unit.request.decision.action,
): Promise<UnitOutcome> {
  const end = { ...obstacle, status: 'skipped' as const, action };
  return await logged(unit, end, figures);
}

async function unneeded(
  unit: Unit,
  figures: TableFigures,
  decision: Decision,
): Promise<UnitOutcome> {
  const end = { status: 'unneeded', code: 'unneeded', reason: decision.reason } as const;
  return await logged(unit, { ...end, action: unit.request.decision.action }, figures);
}

/** Writes a row for a unit that ran no statement. */
async function logged(unit: Unit, end: UnitEnd, figures?: TableFigures): Promise<UnitOutcome> {
  const { request, startedAtMs, services } = unit;
  const before = figures === undefined ? null : summarize(figures);
  const logId = await onShard(unit, (shard) =>
    beginLog(shard, {
      request,
      action: end.action ?? request.decision.action,
      reason: request.decision.reason,
      statement: null,
      status: end.status,
      code: end.code,
      detail: end.reason,
      before,
      startedAtMs,
      finishedAtMs: services.clock.nowMs(),
    }),
  );
  return outcomeOf(unit, { ...end, before, logId });
}
