import { EventType, type StoredEvent } from '../turn/history-events.ts';

/** What the caller wants to see. */
export interface HistoryViewOptions {
  readonly showInput: boolean;
  readonly showOutput: boolean;
}

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(EventType).map(([name, value]) => [value, name]),
);

const HIDDEN_FIELDS = new Set(['EventId', 'IsPlayed', 'TaskScheduledId', 'TimerId', 'Version']);

type Fields = Record<string, unknown>;

/**
 * The history as `showHistory=true` shows it (the durable extension's own view): turn markers and
 * answered scheduling events left out, answers enriched with what was scheduled, types by name.
 */
export function historyView(
  events: readonly StoredEvent[],
  options: HistoryViewOptions,
): Readonly<Fields>[] {
  const scheduled = new Map<number, StoredEvent>();
  const answered = new Set<number>();
  for (const event of events) {
    if (event.EventId >= 0) scheduled.set(event.EventId, event);
    const id = answeredId(event);
    if (id !== null) answered.add(id);
  }
  return events
    .filter((event) => isShown(event, answered))
    .map((event) => {
      const id = answeredId(event);
      return viewOf(event, id === null ? undefined : scheduled.get(id), options);
    });
}

function answeredId(event: StoredEvent): number | null {
  if ('TaskScheduledId' in event) return event.TaskScheduledId;
  return 'TimerId' in event ? event.TimerId : null;
}

const TURN_MARKERS: ReadonlySet<number> = new Set([
  EventType.OrchestratorStarted,
  EventType.OrchestratorCompleted,
]);
const ANSWERABLE: ReadonlySet<number> = new Set([
  EventType.TaskScheduled,
  EventType.SubOrchestrationInstanceCreated,
  EventType.TimerCreated,
]);

function isShown(event: StoredEvent, answered: ReadonlySet<number>): boolean {
  if (TURN_MARKERS.has(event.EventType)) return false;
  return !ANSWERABLE.has(event.EventType) || !answered.has(event.EventId);
}

function viewOf(
  event: StoredEvent,
  cause: StoredEvent | undefined,
  options: HistoryViewOptions,
): Readonly<Fields> {
  const view: Fields = {};
  for (const [name, value] of Object.entries(event)) {
    if (!HIDDEN_FIELDS.has(name)) view[name] = value;
  }
  view['EventType'] = NAMES.get(event.EventType) ?? event.EventType;
  if (event.EventType === EventType.ExecutionStarted) {
    view['FunctionName'] = event.Name;
    delete view['Name'];
  }
  if (cause !== undefined) {
    view['ScheduledTime'] = cause.Timestamp;
    if ('Name' in cause) view['FunctionName'] = cause.Name;
    if ('Input' in cause) view['Input'] = cause.Input;
  }
  if (!options.showInput) delete view['Input'];
  if (!options.showOutput) delete view['Result'];
  return view;
}

/** Size of an execution, for tests that bound it; not part of Azure's API. */
export interface HistoryStats {
  readonly historyEvents: number;
  /** UTF-8 bytes of the stored JSON texts. */
  readonly historyBytes: number;
  /** Activities, timers, entity messages and sub-orchestrations scheduled, retries included. */
  readonly actions: number;
  readonly subOrchestrations: number;
}

/** Counts the entries of a stored history. */
export function historyStats(entries: readonly string[]): HistoryStats {
  let historyBytes = 0;
  let actions = 0;
  let subOrchestrations = 0;
  for (const json of entries) {
    historyBytes += Buffer.byteLength(json);
    const event = JSON.parse(json) as StoredEvent;
    if (event.EventId >= 0) actions += 1;
    if (event.EventType === EventType.SubOrchestrationInstanceCreated) subOrchestrations += 1;
  }
  return { historyEvents: entries.length, historyBytes, actions, subOrchestrations };
}
