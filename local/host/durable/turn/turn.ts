import type { EntityMessage } from '../entities/entity-messages.ts';
import { renderEvent, type EventBody, type IncomingEvent } from './history-events.ts';
import type { RetryState } from './retry-policy.ts';

/** Runtime status as Azure spells it. */
export type RuntimeStatus =
  'Pending' | 'Running' | 'Suspended' | 'Completed' | 'Failed' | 'Terminated';

/** Whether an instance in this status will never run again by itself. */
export function isTerminal(status: RuntimeStatus): boolean {
  return status === 'Completed' || status === 'Failed' || status === 'Terminated';
}

/** The entities an orchestration has locked, or has asked to lock. */
export interface HeldLock {
  readonly id: string;
  /** Entity ids (`@name@key`) in locking order. */
  readonly entityIds: readonly string[];
}

/** Where the end of a sub-orchestration is reported. */
export interface ParentLink {
  readonly instanceId: string;
  readonly taskId: number;
  readonly executionId: string;
}

/** One row of `instances`; times in ms since the epoch, values as JSON text. */
export interface InstanceRow {
  readonly id: string;
  readonly name: string;
  readonly version: string | null;
  executionId: string;
  readonly parent: ParentLink | null;
  status: RuntimeStatus;
  input: string | null;
  output: string | null;
  customStatus: string | null;
  readonly createdMs: number;
  updatedMs: number;
  /** The next id the SDK will hand out. */
  nextSeq: number;
  /** Timestamp of the latest turn: later turns must not precede it. */
  lastTurnMs: number;
  lock: HeldLock | null;
  /** History index of the turn in which the orchestrator first failed, if it can be undone from there. */
  rewindFrom: number | null;
}

/** Work that has been scheduled and not yet answered; keeps the instance from finishing. */
export interface OpenTask {
  readonly kind: 'activity' | 'subOrchestration' | 'timer';
  readonly retry: RetryState | null;
}

/** A recorded action: what it was, and the id of its task or `null` when it takes none. */
export interface RecordedAction {
  readonly text: string;
  readonly taskId: number | null;
}

/** Everything the engine knows of the current execution of one instance. */
export interface InstanceState {
  row: InstanceRow;
  /** JSON texts of the history, all marked as played. */
  readonly history: string[];
  /** Number of the next history row. */
  nextEvent: number;
  readonly actions: RecordedAction[];
  readonly open: Map<number, OpenTask>;
}

/** One row of `inbox`. */
export interface InboxMessage {
  readonly seq: number;
  /** The execution it is meant for; `null` for external events and control requests. */
  readonly executionId: string | null;
  readonly kind: InboxKind;
  readonly event: IncomingEvent;
}

export type InboxKind = 'start' | 'completion' | 'event' | 'reply' | 'control';

/** A call to be dispatched to an activity function, or (`http`) by the host itself. */
export interface NewActivity {
  readonly taskId: number;
  readonly kind: 'activity' | 'http';
  readonly name: string;
  readonly input: string | null;
}

/** A sub-orchestration to be started. */
export interface NewChild {
  readonly taskId: number;
  readonly instanceId: string;
  readonly name: string;
  readonly version: string | null;
  readonly input: string | null;
}

/** What a turn wants written, in one transaction. */
export interface TurnChanges {
  /** Fresh history entries (JSON text, not played). */
  readonly events: string[];
  readonly consumed: number[];
  readonly opened: Set<number>;
  readonly closed: Set<number>;
  readonly retries: Set<RetryState>;
  readonly newActions: RecordedAction[];
  readonly activities: NewActivity[];
  readonly timers: { readonly taskId: number; readonly fireAtMs: number }[];
  readonly cancelledTimers: number[];
  readonly children: NewChild[];
  readonly entityMessages: { readonly entityId: string; readonly message: EntityMessage }[];
}

/** A turn in the making: the state it changes and the list of changes to write. */
export interface Turn {
  readonly state: InstanceState;
  readonly nowMs: number;
  readonly changes: TurnChanges;
}

/** Begins a turn; the state is changed in place, so it must be discarded if the turn is not committed. */
export function beginTurn(state: InstanceState, nowMs: number): Turn {
  return {
    state,
    nowMs,
    changes: {
      events: [],
      consumed: [],
      opened: new Set(),
      closed: new Set(),
      retries: new Set(),
      newActions: [],
      activities: [],
      timers: [],
      cancelledTimers: [],
      children: [],
      entityMessages: [],
    },
  };
}

/** Appends an event to the turn's part of the history. */
export function record(turn: Turn, body: EventBody): void {
  turn.changes.events.push(renderEvent(body, turn.nowMs, false));
}

/** Takes the next id of the SDK's own counter. */
export function takeId(turn: Turn): number {
  const id = turn.state.row.nextSeq;
  turn.state.row.nextSeq += 1;
  return id;
}

/** Marks a task as waiting for its answer. */
export function openTask(turn: Turn, id: number, task: OpenTask): void {
  turn.state.open.set(id, task);
  turn.changes.opened.add(id);
  if (task.retry !== null) turn.changes.retries.add(task.retry);
}

/** Marks a task as answered or cancelled. */
export function closeTask(turn: Turn, id: number): void {
  turn.state.open.delete(id);
  if (!turn.changes.opened.delete(id)) turn.changes.closed.add(id);
}
