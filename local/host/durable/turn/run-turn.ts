import type { Engine } from '../engine.ts';
import type { RunVerdict } from '../keyed-runner.ts';
import { acceptEvents } from './accept-events.ts';
import { runControlTurn } from './control-turn.ts';
import { EventType } from './history-events.ts';
import { interpretFailure, interpretResult, type ReplayResult } from './interpret-result.ts';
import { orchestratorInput } from './orchestrator-input.ts';
import { settleTurn } from './settle-turn.ts';
import {
  beginTurn,
  isTerminal,
  record,
  type InboxMessage,
  type InstanceState,
  type Turn,
} from './turn.ts';

/** Most messages looked at in one turn. */
const MAX_BATCH = 1000;

/**
 * While several tasks are open, the next turn waits for this many times the duration of the last one,
 * so that more answers share it: a turn replays the whole history, and one turn per answer would make
 * a fan-out of n cost n² events.
 */
const PAUSE_FACTOR = 2;
const MAX_PAUSE_MS = 250;

/** Pause before a turn is tried again after an internal error, such as a full disk. */
const ERROR_PAUSE_MS = 1000;

const IDLE: RunVerdict = { more: false, cooldownMs: 0 };

/** Runs the next turn of an instance, if something waits for it. Never rejects. */
export async function runTurn(engine: Engine, id: string): Promise<RunVerdict> {
  try {
    return await nextTurn(engine, id);
  } catch (error) {
    engine.cache.evict(id);
    if (engine.closed.aborted) return IDLE;
    engine.logger.log('error', 'durable.turn_not_committed', { instanceId: id, error });
    return { more: true, cooldownMs: ERROR_PAUSE_MS };
  }
}

async function nextTurn(engine: Engine, id: string): Promise<RunVerdict> {
  if (engine.closed.aborted) return IDLE;
  const state = engine.cache.load(id);
  if (state === null) return IDLE;
  if (isTerminal(state.row.status)) {
    engine.commit(() => engine.work.dropInbox(id));
    engine.cache.evict(id);
    return IDLE;
  }
  const requests = engine.work.controlMessages(id);
  if (requests.length > 0) {
    runControlTurn(engine, state, requests);
    return IDLE;
  }
  if (state.row.status === 'Suspended') return IDLE;
  const messages = engine.work.inbox(id, MAX_BATCH);
  return messages.length === 0 ? IDLE : runOrchestrator(engine, state, messages);
}

async function runOrchestrator(
  engine: Engine,
  state: InstanceState,
  messages: readonly InboxMessage[],
): Promise<RunVerdict> {
  const startedMs = performance.now();
  const turn = beginTurn(state, turnTime(engine, state, messages));
  record(turn, { EventType: EventType.OrchestratorStarted, EventId: -1 });
  if (acceptEvents(turn, messages) === 0) {
    engine.commit(() => engine.work.consume(turn.changes.consumed));
    return { more: true, cooldownMs: 0 };
  }
  state.row.status = 'Running';
  const replay = await replayOrchestrator(engine, turn);
  engine.probe.reach('turn.ran');
  if (engine.closed.aborted) return IDLE;
  if (!(await settleTurn(engine, turn, replay))) return { more: true, cooldownMs: 0 };
  const tookMs = performance.now() - startedMs;
  const pauseMs = state.open.size > 1 ? Math.min(tookMs * PAUSE_FACTOR, MAX_PAUSE_MS) : 0;
  return { more: true, cooldownMs: pauseMs };
}

/** Not before any earlier turn, nor before the due time of a timer that fires in this turn. */
function turnTime(engine: Engine, state: InstanceState, messages: readonly InboxMessage[]): number {
  let nowMs = Math.max(engine.clock(), state.row.lastTurnMs);
  for (const { event } of messages) {
    if (event.EventType === EventType.TimerFired) nowMs = Math.max(nowMs, Date.parse(event.FireAt));
  }
  return nowMs;
}

async function replayOrchestrator(engine: Engine, turn: Turn): Promise<ReplayResult> {
  const { row } = turn.state;
  const fn = engine.functions.orchestrator(row.name);
  if (fn === undefined) {
    return interpretFailure(
      new Error(`The function '${row.name}' doesn't exist or is not an orchestrator function.`),
    );
  }
  const traceParent = engine.instances.traceParent(row.id);
  try {
    const result = await engine.invoker.invoke({
      fn,
      triggerData: { string: orchestratorInput(turn) },
      triggerMetadata: {},
      ...(traceParent === undefined ? {} : { traceParent }),
    });
    return interpretResult(result);
  } catch (error) {
    return interpretFailure(error);
  }
}
