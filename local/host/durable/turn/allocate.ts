import { ActionType, describeAction, type AtomicAction } from './actions.ts';
import type { RecordedAction } from './turn.ts';

/** An action seen for the first time, with the ids it takes (none for waits). */
export interface FreshAction {
  readonly action: AtomicAction;
  readonly ids: readonly number[];
  /** For `ReleaseEntities`: the lock it gives up. */
  readonly lockSet: readonly { readonly name: string; readonly key: string }[];
}

/** The outcome of comparing a turn's actions with the record. */
export type Allocation =
  | {
      readonly kind: 'allocated';
      readonly fresh: readonly FreshAction[];
      readonly nextSeq: number;
      /** Timers, scheduled in earlier turns, that the orchestrator has cancelled by now. */
      readonly cancelledTimerIds: readonly number[];
    }
  | { readonly kind: 'diverged'; readonly message: string };

/**
 * Gives ids to the new actions of a turn, in the order in which the SDK gave them.
 *
 * @param recorded the actions of earlier turns, by index.
 * @param flat all actions since the beginning, flattened, without `ContinueAsNew`.
 * @param nextSeq the next id, after the ids taken by retries in this turn.
 */
export function allocateActions(
  recorded: readonly RecordedAction[],
  flat: readonly AtomicAction[],
  nextSeq: number,
): Allocation {
  if (flat.length < recorded.length) {
    const missing = recorded[flat.length]?.text ?? '';
    return diverged(flat.length, missing, 'nothing');
  }
  const fresh: FreshAction[] = [];
  const cancelledTimerIds: number[] = [];
  let lockSet: FreshAction['lockSet'] = [];
  for (const [index, action] of flat.entries()) {
    if (action.actionType === ActionType.LockEntities) lockSet = action.lockSet;
    const known = recorded[index];
    if (known !== undefined) {
      const text = describeAction(action);
      if (known.text !== text) return diverged(index, known.text, text);
      if (known.taskId !== null && isCancelled(action)) cancelledTimerIds.push(known.taskId);
      continue;
    }
    const count = idCount(action, lockSet.length);
    const ids = Array.from({ length: count }, (_, i) => nextSeq + i);
    nextSeq += count;
    fresh.push({ action, ids, lockSet });
  }
  return { kind: 'allocated', fresh, nextSeq, cancelledTimerIds };
}

function idCount(action: AtomicAction, lockSize: number): number {
  switch (action.actionType) {
    case ActionType.WaitForExternalEvent:
    case ActionType.ContinueAsNew:
      return 0;
    case ActionType.ReleaseEntities:
      return lockSize;
    case ActionType.CallActivity:
    case ActionType.CallActivityWithRetry:
    case ActionType.CallSubOrchestrator:
    case ActionType.CallSubOrchestratorWithRetry:
    case ActionType.CreateTimer:
    case ActionType.CallEntity:
    case ActionType.SignalEntity:
    case ActionType.CallHttp:
    case ActionType.LockEntities:
      return 1;
  }
}

function isCancelled(action: AtomicAction): boolean {
  return action.actionType === ActionType.CreateTimer && action.isCanceled;
}

function diverged(index: number, expected: string, found: string): Allocation {
  return {
    kind: 'diverged',
    message:
      `Non-Deterministic workflow detected: action ${index} was "${expected}" when it was scheduled, ` +
      `but the replay produced "${found}". The orchestrator's code has changed while the instance ` +
      `was running, or it reads something that differs between replays (time, random, environment).`,
  };
}
