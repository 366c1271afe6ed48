import type { Engine, Wakes } from '../engine.ts';
import { postMessage } from '../instances/post-message.ts';
import { startInstance } from '../instances/start-instance.ts';
import { EventType, type TaskFaulted } from './history-events.ts';
import { isTerminal, type NewActivity, type NewChild, type Turn } from './turn.ts';

/** Writes everything a turn has decided. Call within the turn's transaction. */
export function writeTurn(engine: Engine, wakes: Wakes, turn: Turn): void {
  const { state, changes, nowMs } = turn;
  const { row } = state;
  row.updatedMs = nowMs;
  row.lastTurnMs = nowMs;
  engine.work.consume(changes.consumed);
  engine.executions.save(turn);
  engine.instances.update(row);
  for (const activity of changes.activities) writeActivity(engine, wakes, turn, activity);
  for (const { taskId, fireAtMs } of changes.timers) {
    engine.work.addTimer({
      instanceId: row.id,
      executionId: row.executionId,
      taskId,
      fireAtMs,
    });
    wakes.timersAtMs.push(fireAtMs);
  }
  for (const taskId of changes.cancelledTimers) engine.work.removeTimer(row.id, taskId);
  for (const child of changes.children) writeChild(engine, wakes, turn, child);
  for (const { entityId, message } of changes.entityMessages) {
    engine.entities.post(entityId, message);
    wakes.entities.add(entityId);
  }
}

function writeActivity(engine: Engine, wakes: Wakes, turn: Turn, activity: NewActivity): void {
  const { row } = turn.state;
  if (activity.kind === 'activity' && engine.functions.activity(activity.name) === undefined) {
    failTask(engine, wakes, turn, {
      EventType: EventType.TaskFailed,
      TaskScheduledId: activity.taskId,
      Reason: `The function '${activity.name}' doesn't exist, is disabled, or is not an activity function.`,
    });
    return;
  }
  wakes.activities.push(engine.work.addActivity(row.id, row.executionId, activity));
}

function writeChild(engine: Engine, wakes: Wakes, turn: Turn, child: NewChild): void {
  const { row } = turn.state;
  const problem = childProblem(engine, child);
  if (problem !== null) {
    failTask(engine, wakes, turn, {
      EventType: EventType.SubOrchestrationInstanceFailed,
      TaskScheduledId: child.taskId,
      Reason: problem,
    });
    return;
  }
  startInstance(engine, wakes, {
    id: child.instanceId,
    name: child.name,
    version: child.version,
    input: child.input,
    parent: { instanceId: row.id, taskId: child.taskId, executionId: row.executionId },
  });
}

function childProblem(engine: Engine, child: NewChild): string | null {
  if (engine.functions.orchestrator(child.name) === undefined) {
    return `The function '${child.name}' doesn't exist, is disabled, or is not an orchestrator function.`;
  }
  const existing = engine.instances.get(child.instanceId);
  if (existing !== null && !isTerminal(existing.status)) {
    return `An orchestration with the instance id '${child.instanceId}' is already ${existing.status}.`;
  }
  return null;
}

function failTask(
  engine: Engine,
  wakes: Wakes,
  turn: Turn,
  fault: Pick<TaskFaulted, 'EventType' | 'TaskScheduledId' | 'Reason'>,
): void {
  const { id, executionId } = turn.state.row;
  postMessage(engine, wakes, {
    instanceId: id,
    executionId,
    kind: 'completion',
    event: { ...fault, EventId: -1, Details: '' },
  });
}
