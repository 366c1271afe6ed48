import type { Engine, Wakes } from '../engine.ts';
import { clearEnded, finishInstance } from '../instances/finish-instance.ts';
import { EventType } from './history-events.ts';
import { beginTurn, record, type InboxMessage, type InstanceState, type Turn } from './turn.ts';
import { writeTurn } from './write-turn.ts';

/**
 * Applies terminate, suspend and resume requests, which jump the queue and do not run the app's code.
 * A request that does not fit the state (resume of a running instance) is dropped.
 */
export function runControlTurn(
  engine: Engine,
  state: InstanceState,
  requests: readonly InboxMessage[],
): void {
  engine.commit((wakes) => {
    const turn = beginTurn(state, Math.max(engine.clock(), state.row.lastTurnMs));
    for (const request of requests) {
      turn.changes.consumed.push(request.seq);
      applyRequest(engine, wakes, turn, request);
      if (state.row.status === 'Terminated') break;
    }
    writeTurn(engine, wakes, turn);
    if (state.row.status === 'Terminated') {
      clearEnded(engine, state.row);
      state.open.clear();
    }
    wakes.instances.add(state.row.id);
  });
  // Rare enough that reading the execution again is cheaper than keeping the copy in step.
  engine.cache.evict(state.row.id);
}

function applyRequest(engine: Engine, wakes: Wakes, turn: Turn, request: InboxMessage): void {
  const { event } = request;
  const { row, history } = turn.state;
  if (event.EventType === EventType.ExecutionTerminated) {
    record(turn, event);
    finishInstance(engine, wakes, turn, { status: 'Terminated', reason: event.Reason });
  } else if (event.EventType === EventType.ExecutionSuspended && row.status !== 'Suspended') {
    record(turn, event);
    row.status = 'Suspended';
  } else if (event.EventType === EventType.ExecutionResumed && row.status === 'Suspended') {
    record(turn, event);
    row.status = history.length === 0 ? 'Pending' : 'Running';
  }
}
