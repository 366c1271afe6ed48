import type { Shard } from '../database/contracts.ts';
import type { Services } from '../services.ts';
import { readFigures } from './figures.ts';
import type { FreeSpaceSource } from './guards.ts';
import type { Decision, TableFigures, UnitOutcome, UnitRequest, Work } from './model.ts';
import { decide } from './policy.ts';
import type { Policy } from './policy.ts';

export type UnitServices = Pick<Services, 'database' | 'clock' | 'config' | 'logger' | 'probe'>;

/** What one unit carries along. */
export interface Unit {
  readonly services: UnitServices;
  readonly request: UnitRequest;
  readonly policy: Policy;
  readonly freeBytes: FreeSpaceSource;
  readonly startedAtMs: number;
  readonly startedMonotonicMs: number;
  readonly notes: string[];
}

const CALL_DEADLINE_MS = 10_000;

/** Names a unit to probes. */
export function subjectOf(request: Pick<UnitRequest, 'shard' | 'table'>): string {
  return `${request.shard}/${request.table}`;
}

/** One call to the unit's shard, beside its session. */
export function onShard<T>(unit: Unit, run: (shard: Shard) => Promise<T>): Promise<T> {
  return unit.services.database.onShard(unit.request.shard, run, { deadlineMs: CALL_DEADLINE_MS });
}

/** Fresh figures of the unit's table; undefined when it is gone. */
export async function lookAgain(unit: Unit): Promise<TableFigures | undefined> {
  const found = await onShard(unit, (shard) =>
    readFigures(shard, [unit.request.table], unit.policy),
  );
  for (const note of found.notes) if (!unit.notes.includes(note)) unit.notes.push(note);
  return found.tables[0];
}

const RANK: Readonly<Record<Work, number>> = { analyze: 1, histogram: 2, rebuild: 3 };

/** What is done: of the plan and of the decision by fresh figures the lesser. A forced plan stands, within the patterns. */
export function settle(
  unit: Pick<Unit, 'request' | 'policy' | 'services'>,
  figures: TableFigures,
): Decision {
  const { request, policy, services } = unit;
  const planned = request.decision;
  const fresh = decide(figures, policy, services.clock.nowMs(), { force: request.force });
  if (planned.action === 'none' || fresh.action === 'none') {
    return fresh.action === 'none' ? fresh : { ...planned, action: 'none' };
  }
  if (request.force) return planned;
  return RANK[planned.action] <= RANK[fresh.action] ? planned : fresh;
}

/** Until the window or the policy ends a statement. */
export function timeLeftMs(unit: Unit): number {
  const { config, clock } = unit.services;
  const { untilMs } = unit.request;
  const untilWindow = untilMs === null ? Number.POSITIVE_INFINITY : untilMs - clock.nowMs();
  return Math.min(config.MAINTENANCE_STATEMENT_MAX_MS, untilWindow);
}

/** How a unit ended, as far as it is not the same for all. */
export type UnitEnd = Pick<UnitOutcome, 'status' | 'code' | 'reason'> & Partial<UnitOutcome>;

/** Whether the next night may find it otherwise, without anybody changing something. */
const NOT_AGAIN: ReadonlySet<UnitOutcome['code']> = new Set([
  'done',
  'unneeded',
  'not-supported',
  'not-permitted',
  'table-gone',
  'disk-space-unknown',
]);

/** The outcome, with what is the same for all of a unit's. */
export function outcomeOf(unit: Unit, end: UnitEnd): UnitOutcome {
  const { request, services } = unit;
  return {
    shard: request.shard,
    table: request.table,
    action: request.decision.action,
    retry: !NOT_AGAIN.has(end.code),
    before: null,
    after: null,
    startedAtMs: unit.startedAtMs,
    durationMs: Math.round(services.clock.monotonicMs() - unit.startedMonotonicMs),
    statementMs: null,
    blockedOthersMs: 0,
    logId: null,
    ...end,
    reason: end.reason.slice(0, 1_000),
    notes: unit.notes.slice(0, 16).map((note) => note.slice(0, 1_000)),
  };
}
