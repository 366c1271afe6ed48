import type { Engine, Wakes } from '../engine.ts';
import { EventType, isFault, renderEvent, type StoredEvent } from '../turn/history-events.ts';
import { HTTP_ACTIVITY } from '../turn/schedule-work.ts';
import type { InstanceRow } from '../turn/turn.ts';
import { startInstance } from './start-instance.ts';

/** What is undone in one instance. */
interface RewindPlan {
  readonly row: InstanceRow;
  /** History rows to remove. */
  readonly removals: readonly number[];
  /** The scheduling events of the tasks that failed. */
  readonly redo: readonly StoredEvent[];
  readonly children: readonly RewindPlan[];
}

/**
 * Undoes the failure of an orchestration: the tasks whose failure ended it run again, and so do those
 * of its failed sub-orchestrations. Returns `false`, without effect, when that is not possible.
 *
 * Possible only when the failing turn scheduled nothing new and its failures were not retried by the
 * app: otherwise ids given since then would shift. Call within a transaction.
 */
export function rewindInstance(
  engine: Engine,
  wakes: Wakes,
  row: InstanceRow,
  reason: string,
): boolean {
  const plan = planRewind(engine, row);
  if (plan === null) return false;
  applyRewind(engine, wakes, plan, reason);
  return true;
}

function planRewind(engine: Engine, row: InstanceRow): RewindPlan | null {
  const { rewindFrom } = row;
  if (row.status !== 'Failed' || rewindFrom === null || rewindFrom < 0) return null;
  const removals: number[] = [];
  const failedIds = new Set<number>();
  const scheduled = new Map<number, StoredEvent>();
  for (const { n, json } of engine.executions.history(row.id)) {
    const event = JSON.parse(json) as StoredEvent;
    if (event.EventId >= 0) scheduled.set(event.EventId, event);
    if (n < rewindFrom) continue;
    if (event.EventType === EventType.ExecutionCompleted) removals.push(n);
    if (isFault(event)) {
      removals.push(n);
      failedIds.add(event.TaskScheduledId);
    }
  }
  const plainIds = engine.executions.plainTaskIds(row.id);
  const redo: StoredEvent[] = [];
  const children: RewindPlan[] = [];
  for (const id of failedIds) {
    const event = scheduled.get(id);
    if (event === undefined || !plainIds.has(id)) return null;
    redo.push(event);
    const child = failedChild(engine, row, event);
    if (child === null) continue;
    const plan = planRewind(engine, child);
    if (plan === null) return null;
    children.push(plan);
  }
  return redo.length === 0 ? null : { row, removals, redo, children };
}

/** The sub-orchestration's instance; `null` for activities and for children that never came to be. */
function failedChild(engine: Engine, parent: InstanceRow, event: StoredEvent): InstanceRow | null {
  if (event.EventType !== EventType.SubOrchestrationInstanceCreated) return null;
  const child = engine.instances.get(event.InstanceId);
  return child?.parent?.executionId === parent.executionId ? child : null;
}

function applyRewind(engine: Engine, wakes: Wakes, plan: RewindPlan, reason: string): void {
  const { row, removals, redo, children } = plan;
  const nowMs = Math.max(engine.clock(), row.lastTurnMs);
  // ExecutionCompleted is always among the removed rows and is the last one: its number is free now.
  const freed = Math.max(...removals);
  for (const n of removals) engine.executions.removeHistory(row.id, n);
  const note = {
    EventType: EventType.GenericEvent,
    EventId: -1,
    Data: `Rewind: ${reason}`,
  } as const;
  engine.executions.appendHistory(row.id, freed, renderEvent(note, nowMs, true));
  row.status = 'Running';
  row.output = null;
  row.rewindFrom = null;
  row.updatedMs = nowMs;
  engine.instances.update(row);
  engine.cache.evict(row.id);
  const rewound = new Set(children.map((child) => child.row.id));
  for (const event of redo) redoTask(engine, wakes, row, event, rewound);
  for (const child of children) applyRewind(engine, wakes, child, reason);
  wakes.instances.add(row.id);
}

function redoTask(
  engine: Engine,
  wakes: Wakes,
  row: InstanceRow,
  event: StoredEvent,
  rewound: ReadonlySet<string>,
): void {
  if (event.EventType === EventType.TaskScheduled) {
    engine.executions.openTask(row.id, event.EventId, { kind: 'activity', retry: null });
    const input = event.Input.slice(1, -1);
    wakes.activities.push(
      engine.work.addActivity(row.id, row.executionId, {
        taskId: event.EventId,
        kind: event.Name === HTTP_ACTIVITY ? 'http' : 'activity',
        name: event.Name,
        input: input === 'null' ? null : input,
      }),
    );
  } else if (event.EventType === EventType.SubOrchestrationInstanceCreated) {
    engine.executions.openTask(row.id, event.EventId, { kind: 'subOrchestration', retry: null });
    if (rewound.has(event.InstanceId)) return;
    startInstance(engine, wakes, {
      id: event.InstanceId,
      name: event.Name,
      version: event.Version,
      input: event.Input,
      parent: { instanceId: row.id, taskId: event.EventId, executionId: row.executionId },
    });
  }
}
