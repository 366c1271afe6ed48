import { randomUUID } from 'node:crypto';
import type { Engine, Wakes } from '../engine.ts';
import { EventType, type FailureDetails, type TaskFaulted } from '../turn/history-events.ts';
import { record, type InstanceRow, type Turn } from '../turn/turn.ts';
import { postMessage } from './post-message.ts';
import { releaseLock } from './release-lock.ts';
import { postStart } from './start-instance.ts';

/** How an instance ends; `output` is JSON text. */
export type Ending =
  | { readonly status: 'Completed'; readonly output: string | null }
  | {
      readonly status: 'Failed';
      readonly error: string;
      readonly failureDetails: FailureDetails | null;
    }
  | { readonly status: 'Terminated'; readonly reason: string };

/**
 * Ends the instance within the turn's transaction, before the turn is written: records the end,
 * releases its locks, tells its parent and forgets what only a running instance needs.
 */
export function finishInstance(engine: Engine, wakes: Wakes, turn: Turn, ending: Ending): void {
  const { row } = turn.state;
  row.status = ending.status;
  row.output = outputOf(row, ending);
  record(turn, {
    EventType: EventType.ExecutionCompleted,
    EventId: -1,
    OrchestrationStatus: ending.status,
    Result: row.output,
    ...failureDetailsOf(row, ending),
  });
  releaseLock(engine, wakes, row);
  notifyParent(engine, wakes, row, ending);
}

/** Removes the leftovers of an ended instance; a failed one keeps its record of actions, for a rewind. */
export function clearEnded(engine: Engine, row: InstanceRow): void {
  engine.work.dropInbox(row.id);
  engine.executions.clearPending(row.id);
  if (row.status !== 'Failed') engine.executions.clearRecord(row.id);
}

/** Begins the next execution of an eternal orchestration; external events not yet taken remain. */
export function continueAsNew(
  engine: Engine,
  wakes: Wakes,
  row: InstanceRow,
  input: string | null,
): void {
  releaseLock(engine, wakes, row);
  engine.work.dropExecution(row.id, row.executionId);
  engine.executions.clear(row.id);
  row.executionId = randomUUID().replaceAll('-', '');
  row.input = input;
  row.nextSeq = 0;
  row.rewindFrom = null;
  engine.instances.update(row);
  engine.cache.evict(row.id);
  postStart(engine, wakes, row);
}

/** The output text of a failed orchestration, as Azure words it. */
export function failureText(name: string, error: string): string {
  return `Orchestrator function '${name}' failed: ${error}`;
}

function outputOf(row: InstanceRow, ending: Ending): string | null {
  switch (ending.status) {
    case 'Completed':
      return ending.output;
    case 'Failed':
      return JSON.stringify(failureText(row.name, ending.error));
    case 'Terminated':
      return JSON.stringify(ending.reason);
  }
}

function failureDetailsOf(row: InstanceRow, ending: Ending): { FailureDetails?: FailureDetails } {
  if (ending.status !== 'Failed' || ending.failureDetails === null) return {};
  return {
    FailureDetails: {
      ErrorType: 'OrchestratorFailed',
      ErrorMessage: failureText(row.name, ending.error),
      InnerFailure: ending.failureDetails,
    },
  };
}

function notifyParent(engine: Engine, wakes: Wakes, row: InstanceRow, ending: Ending): void {
  if (row.parent === null) return;
  const { instanceId, executionId, taskId } = row.parent;
  const event =
    ending.status === 'Completed'
      ? ({
          EventType: EventType.SubOrchestrationInstanceCompleted,
          EventId: -1,
          TaskScheduledId: taskId,
          Result: ending.output ?? 'null',
        } as const)
      : childFailure(row, taskId, ending);
  postMessage(engine, wakes, { instanceId, executionId, kind: 'completion', event });
}

function childFailure(
  row: InstanceRow,
  taskId: number,
  ending: Exclude<Ending, { status: 'Completed' }>,
): TaskFaulted {
  const failed = ending.status === 'Failed';
  return {
    EventType: EventType.SubOrchestrationInstanceFailed,
    EventId: -1,
    TaskScheduledId: taskId,
    Reason: failed
      ? failureText(row.name, ending.error)
      : `Orchestrator function '${row.name}' was terminated: ${ending.reason}`,
    Details: failed ? ending.error : '',
    ...failureDetailsOf(row, ending),
  };
}
