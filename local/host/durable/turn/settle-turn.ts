import type { Engine, Wakes } from '../engine.ts';
import { clearEnded, continueAsNew, finishInstance } from '../instances/finish-instance.ts';
import { allocateActions } from './allocate.ts';
import { EventType } from './history-events.ts';
import type { Outcome, ReplayResult } from './interpret-result.ts';
import { absorbEvents } from './orchestrator-input.ts';
import { scheduleAction } from './schedule-actions.ts';
import { closeTask, isTerminal, record, type Turn } from './turn.ts';
import { writeTurn } from './write-turn.ts';

/** Largest custom status, in UTF-16 code units of its JSON text (Azure: 16 KB of UTF-16). */
const MAX_CUSTOM_STATUS = 8 * 1024;

/** `rewindFrom` of an instance that failed in a way that cannot be rewound. */
export const NOT_REWINDABLE = -1;

/**
 * Turns the SDK's answer into new work and writes the turn in one transaction.
 *
 * The instance ends only when its code has ended and nothing it started is still open (activities,
 * sub-orchestrations, timers that were not cancelled), as DurableTask.Core has it.
 *
 * Returns `false` when the turn was overtaken: the instance has been replaced meanwhile.
 */
export async function settleTurn(
  engine: Engine,
  turn: Turn,
  replay: ReplayResult,
): Promise<boolean> {
  const { state } = turn;
  const { row } = state;
  const committed = await engine.commitSoon((wakes) => {
    // The instance may have been replaced while its code ran: then this turn never happened.
    if (!engine.cache.holds(row.id, state)) return false;
    decide(engine, wakes, turn, replay);
    return true;
  });
  if (!committed) return false;
  if (isTerminal(row.status)) engine.cache.evict(row.id);
  else if (engine.cache.holds(row.id, state)) absorbEvents(turn);
  return true;
}

function decide(engine: Engine, wakes: Wakes, turn: Turn, replay: ReplayResult): void {
  const problem = scheduleNewActions(engine, turn, replay);
  const { state } = turn;
  if (replay.customStatus !== null && problem === null) {
    state.row.customStatus = replay.customStatus;
  }
  const outcome = problem === null ? replay.outcome : failure(problem);
  if (outcome.kind === 'failed') noteFailure(engine, turn, outcome.error);
  record(turn, { EventType: EventType.OrchestratorCompleted, EventId: -1 });
  const ends = outcome.kind !== 'waiting' && (state.open.size === 0 || problem !== null);
  if (ends && outcome.kind !== 'continued') {
    end(engine, wakes, turn, outcome);
    return;
  }
  writeTurn(engine, wakes, turn);
  if (ends && outcome.kind === 'continued') continueAsNew(engine, wakes, state.row, outcome.input);
}

function end(engine: Engine, wakes: Wakes, turn: Turn, outcome: Outcome): void {
  if (outcome.kind === 'failed') {
    const { error, failureDetails } = outcome;
    finishInstance(engine, wakes, turn, { status: 'Failed', error, failureDetails });
  } else if (outcome.kind === 'completed') {
    finishInstance(engine, wakes, turn, { status: 'Completed', output: outcome.output });
  }
  writeTurn(engine, wakes, turn);
  clearEnded(engine, turn.state.row);
}

/** Returns why the orchestration must fail at once, or `null`. */
function scheduleNewActions(engine: Engine, turn: Turn, replay: ReplayResult): string | null {
  if (replay.customStatus !== null && replay.customStatus.length > MAX_CUSTOM_STATUS) {
    return `The custom status is ${replay.customStatus.length} characters long; at most ${MAX_CUSTOM_STATUS} are allowed.`;
  }
  if (replay.actions === null) return null;
  const { maxOrchestrationActions } = engine.settings;
  if (replay.actions.length > maxOrchestrationActions) {
    return `The orchestration scheduled ${replay.actions.length} actions; maxOrchestrationActions is ${maxOrchestrationActions}.`;
  }
  const { state } = turn;
  const allocation = allocateActions(state.actions, replay.actions, state.row.nextSeq);
  if (allocation.kind === 'diverged') return allocation.message;
  state.row.nextSeq = allocation.nextSeq;
  for (const id of allocation.cancelledTimerIds) {
    if (!state.open.has(id)) continue;
    closeTask(turn, id);
    turn.changes.cancelledTimers.push(id);
  }
  try {
    for (const fresh of allocation.fresh) scheduleAction(turn, fresh);
  } catch (error) {
    return `An action could not be scheduled: ${error instanceof Error ? error.message : String(error)}`;
  }
  return null;
}

function failure(error: string): Outcome {
  return { kind: 'failed', error, failureDetails: null };
}

/** Remembers where the failing turn began; later turns only wait for open tasks. */
function noteFailure(engine: Engine, turn: Turn, error: string): void {
  const { row } = turn.state;
  if (row.rewindFrom !== null) return;
  const isClean = turn.changes.newActions.length === 0 && row.lock === null;
  row.rewindFrom = isClean ? turn.state.nextEvent : NOT_REWINDABLE;
  engine.logger.log('warn', 'durable.orchestration_failed', {
    instanceId: row.id,
    functionName: row.name,
    error,
  });
}
