import { randomUUID } from 'node:crypto';
import type { Session } from '../database/contracts.ts';
import { errorFields } from '../kernel/logger.ts';
import { beginLog, endLog } from './command-log.ts';
import { summarize } from './figures.ts';
import { keepFigures } from './kept.ts';
import type { Decision, TableFigures, UnitOutcome, Work } from './model.ts';
import { lookAgain, onShard, outcomeOf, settle, subjectOf, timeLeftMs } from './unit-context.ts';
import type { Unit } from './unit-context.ts';
import { failureOf, ReportedFailure } from './unit-errors.ts';
import type { StatementFailure } from './unit-errors.ts';
import { analyzeTable, statementOf } from './unit-statements.ts';
import { runWatched } from './watch.ts';
import type { WatchResult } from './watch.ts';

export interface WorkPlan {
  /** Holds the lock. */
  readonly session: Session;
  readonly sessionId: string;
  /** As they were under the lock. */
  readonly figures: TableFigures;
  readonly decision: Decision & { readonly action: Work };
}

/** Our own limit is a net under the watcher's, which can end a statement without losing the session. */
const CLIENT_GRACE_MS = 30_000;
const ANALYZE_LIMIT_MS = 60_000;

interface Ran {
  readonly failure: StatementFailure | undefined;
  readonly watch: WatchResult;
  readonly statementMs: number;
}

/** Runs the statement of a unit whose guards let it pass, with the log around it. */
export async function runWork(unit: Unit, plan: WorkPlan): Promise<UnitOutcome> {
  const { services, request, startedAtMs } = unit;
  const { decision, figures } = plan;
  const mark = randomUUID();
  const target = { table: request.table, columns: decision.columns, mark };
  const statement = statementOf(decision.action, target);
  const before = summarize(figures);
  const logId = await onShard(unit, (shard) =>
    beginLog(shard, {
      request,
      action: decision.action,
      reason: decision.reason,
      statement,
      status: 'running',
      code: null,
      detail: null,
      before,
      startedAtMs,
      finishedAtMs: null,
    }),
  );
  await services.probe.reach('maintenance.afterLogRow', subjectOf(request));
  const isStill = decision.action !== 'rebuild' || (await isStillWasted(unit, plan));
  const ran = isStill ? await runStatement(unit, plan, { statement, mark }) : NOTHING_RAN;
  await services.probe.reach('maintenance.afterStatement', subjectOf(request));
  if (ran.failure === undefined && isStill) await refresh(unit, plan);
  return await conclude(unit, plan, { logId, before, ran, isStill });
}

const NOTHING_RAN: Ran = {
  failure: undefined,
  watch: { ended: null, longestBlockMs: 0 },
  statementMs: 0,
};

/**
 * Whether a rebuild is right by fresh statistics: with old ones a table may seem emptier than it is. Takes some ten
 * milliseconds, and is worth them before minutes of copying.
 */
async function isStillWasted(unit: Unit, plan: WorkPlan): Promise<boolean> {
  await plan.session.report(analyzeTable(unit.request.table, randomUUID()), ANALYZE_LIMIT_MS);
  const figures = await lookAgain(unit);
  return figures !== undefined && settle(unit, figures).action === 'rebuild';
}

async function runStatement(
  unit: Unit,
  plan: WorkPlan,
  text: { readonly statement: string; readonly mark: string },
): Promise<Ran> {
  const { services, request } = unit;
  const { config, clock, probe } = services;
  const limitMs = Math.max(1_000, timeLeftMs(unit));
  const startedMs = clock.monotonicMs();
  const { end, watch } = await runWatched(
    services,
    {
      shardId: request.shard,
      sessionId: plan.sessionId,
      mark: text.mark,
      maxBlockMs: config.MAINTENANCE_MAX_BLOCK_MS,
      limitMs,
    },
    async () => {
      const running = send(plan, text.statement, limitMs + CLIENT_GRACE_MS);
      await Promise.all([running, probe.reach('maintenance.duringStatement', subjectOf(request))]);
    },
  );
  const statementMs = Math.round(clock.monotonicMs() - startedMs);
  if (end.status === 'fulfilled') return { failure: undefined, watch, statementMs };
  const failure = failureOf(end.reason, watch);
  if (failure === undefined) throw end.reason;
  return { failure, watch, statementMs };
}

/** ANALYZE answers with rows and says there what went wrong; ALTER TABLE answers without rows. */
async function send(plan: WorkPlan, statement: string, limitMs: number): Promise<void> {
  if (plan.decision.action === 'rebuild') {
    await plan.session.command(statement, limitMs);
    return;
  }
  const rows = await plan.session.report(statement, limitMs);
  const wrong = rows.find((row) => String(row['Msg_type']).toLowerCase() === 'error');
  if (wrong !== undefined) throw new ReportedFailure(String(wrong['Msg_text']));
}

/** Statistics of the rebuilt table, and what the shard remembers of it. A failure here takes nothing back. */
async function refresh(unit: Unit, plan: WorkPlan): Promise<void> {
  const { clock, logger } = unit.services;
  const rebuilt = plan.decision.action === 'rebuild';
  try {
    if (rebuilt) {
      await plan.session.report(analyzeTable(unit.request.table, randomUUID()), ANALYZE_LIMIT_MS);
    }
    const figures = await lookAgain(unit);
    if (figures === undefined) return;
    await onShard(unit, (shard) =>
      keepFigures(shard, [figures], { nowMs: clock.nowMs(), rebuilt }),
    );
  } catch (error) {
    const fields = { shardId: unit.request.shard, table: unit.request.table };
    logger.log('warn', 'maintenance.refresh_failed', { ...fields, ...errorFields(error) });
    unit.notes.push('statistics or baseline could not be refreshed after the statement');
  }
}

interface Concluded {
  readonly logId: string;
  readonly before: UnitOutcome['before'];
  readonly ran: Ran;
  readonly isStill: boolean;
}

async function conclude(unit: Unit, plan: WorkPlan, done: Concluded): Promise<UnitOutcome> {
  const { services, request } = unit;
  const { ran, logId, before, isStill } = done;
  const after = await figuresAfter(unit);
  const verdict = ran.failure ?? (isStill ? DONE : UNNEEDED);
  const reason = ran.failure?.reason ?? (isStill ? plan.decision.reason : UNNEEDED.reason);
  const statementMs = isStill ? ran.statementMs : null;
  const outcome = outcomeOf(unit, {
    ...verdict,
    reason,
    action: plan.decision.action,
    before,
    after,
    statementMs,
    blockedOthersMs: Math.round(ran.watch.longestBlockMs),
    logId,
  });
  try {
    await onShard(unit, (shard) =>
      endLog(shard, logId, {
        status: verdict.status,
        code: verdict.code,
        detail: reason,
        after,
        finishedAtMs: services.clock.nowMs(),
        statementMs,
        blockedMs: ran.watch.longestBlockMs,
      }),
    );
  } catch (error) {
    // The next unit on the shard closes the row.
    services.logger.log('warn', 'maintenance.log_left_open', {
      shardId: request.shard,
      logId,
      ...errorFields(error),
    });
  }
  await services.probe.reach('maintenance.afterLogClose', subjectOf(request));
  return outcome;
}

const DONE = { status: 'done', code: 'done', retry: false } as const;
const UNNEEDED = {
  status: 'unneeded',
  code: 'unneeded',
  retry: false,
  reason: 'with fresh statistics it is not fragmented enough',
} as const;

async function figuresAfter(unit: Unit): Promise<UnitOutcome['after']> {
  try {
    const figures = await lookAgain(unit);
    return figures === undefined ? null : summarize(figures);
  } catch {
    unit.notes.push('figures after the statement could not be read');
    return null;
  }
}
