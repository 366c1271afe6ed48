/** The numbers the SDK knows events by (`HistoryEventType` of durable-functions 3.5.0). */
export const EventType = {
  ExecutionStarted: 0,
  ExecutionCompleted: 1,
  ExecutionTerminated: 3,
  TaskScheduled: 4,
  TaskCompleted: 5,
  TaskFailed: 6,
  SubOrchestrationInstanceCreated: 7,
  SubOrchestrationInstanceCompleted: 8,
  SubOrchestrationInstanceFailed: 9,
  TimerCreated: 10,
  TimerFired: 11,
  OrchestratorStarted: 12,
  OrchestratorCompleted: 13,
  EventSent: 14,
  EventRaised: 15,
  GenericEvent: 17,
  ExecutionSuspended: 19,
  ExecutionResumed: 20,
} as const;

/** Why a task failed, in the wire's own casing. */
export interface FailureDetails {
  readonly ErrorType: string;
  readonly ErrorMessage: string;
  readonly StackTrace?: string;
  readonly IsNonRetriable?: boolean;
  readonly Properties?: unknown;
  readonly InnerFailure?: FailureDetails;
}

/** The part of a failure event that is copied from attempt to attempt. Both texts are never null. */
export interface FailureFields {
  readonly Reason: string;
  readonly Details: string;
  readonly FailureDetails?: FailureDetails;
}

/** First event of an execution; `Input` is JSON text. */
export interface ExecutionStarted {
  readonly EventType: typeof EventType.ExecutionStarted;
  readonly EventId: -1;
  readonly Name: string;
  readonly Version: string | null;
  readonly Input: string | null;
  readonly OrchestrationInstance: { readonly InstanceId: string; readonly ExecutionId: string };
}

/** An activity or sub-orchestration ended well; `Result` is JSON text and never absent. */
export interface TaskSucceeded {
  readonly EventType:
    typeof EventType.TaskCompleted | typeof EventType.SubOrchestrationInstanceCompleted;
  readonly EventId: -1;
  readonly TaskScheduledId: number;
  readonly Result: string;
}

/** An activity or sub-orchestration failed. */
export interface TaskFaulted extends FailureFields {
  readonly EventType: typeof EventType.TaskFailed | typeof EventType.SubOrchestrationInstanceFailed;
  readonly EventId: -1;
  readonly TaskScheduledId: number;
}

export interface TimerFired {
  readonly EventType: typeof EventType.TimerFired;
  readonly EventId: -1;
  readonly TimerId: number;
  /** ISO 8601. */
  readonly FireAt: string;
}

/** An external event, or the reply of an entity (then `Name` is the request's id). */
export interface EventRaised {
  readonly EventType: typeof EventType.EventRaised;
  readonly EventId: -1;
  readonly Name: string;
  readonly Input: string | null;
}

/** A request of the management API to an orchestration. */
export interface ControlEvent {
  readonly EventType:
    | typeof EventType.ExecutionTerminated
    | typeof EventType.ExecutionSuspended
    | typeof EventType.ExecutionResumed;
  readonly EventId: -1;
  readonly Input: string;
  readonly Reason: string;
}

/** What can lie in an orchestration's inbox. */
export type IncomingEvent =
  ExecutionStarted | TaskSucceeded | TaskFaulted | TimerFired | EventRaised | ControlEvent;

/** Any event, as written to the history, before `Timestamp` and `IsPlayed` are added. */
export type EventBody =
  | IncomingEvent
  | {
      readonly EventType: typeof EventType.OrchestratorStarted;
      readonly EventId: -1;
    }
  | { readonly EventType: typeof EventType.OrchestratorCompleted; readonly EventId: -1 }
  | {
      readonly EventType: typeof EventType.ExecutionCompleted;
      readonly EventId: -1;
      readonly OrchestrationStatus: string;
      readonly Result: string | null;
      readonly FailureDetails?: FailureDetails;
    }
  | {
      readonly EventType: typeof EventType.TaskScheduled;
      readonly EventId: number;
      readonly Name: string;
      readonly Version: null;
      readonly Input: string;
    }
  | {
      readonly EventType: typeof EventType.SubOrchestrationInstanceCreated;
      readonly EventId: number;
      readonly Name: string;
      readonly InstanceId: string;
      readonly Input: string | null;
      readonly Version: string | null;
    }
  | {
      readonly EventType: typeof EventType.TimerCreated;
      readonly EventId: number;
      readonly FireAt: string;
    }
  | {
      readonly EventType: typeof EventType.EventSent;
      readonly EventId: number;
      readonly InstanceId: string;
      readonly Name: 'op' | 'release';
      readonly Input: string;
    }
  | {
      readonly EventType: typeof EventType.GenericEvent;
      readonly EventId: -1;
      readonly Data: string;
    };

/** A history event as read back from the store. */
export type StoredEvent = EventBody & { readonly Timestamp: string; readonly IsPlayed: boolean };

/**
 * Renders an event as the JSON text of one history entry.
 *
 * `isPlayed` says whether the event belongs to an earlier turn; it comes last, so that
 * {@link markPlayed} can flip it without parsing.
 */
export function renderEvent(body: EventBody, timestampMs: number, isPlayed: boolean): string {
  const timestamp = new Date(timestampMs).toISOString();
  return `${JSON.stringify(body).slice(0, -1)},"Timestamp":"${timestamp}","IsPlayed":${isPlayed}}`;
}

const FRESH_SUFFIX = '"IsPlayed":false}';

/** Turns the text of a fresh event into that of a played one; other texts are returned unchanged. */
export function markPlayed(json: string): string {
  return json.endsWith(FRESH_SUFFIX)
    ? `${json.slice(0, -FRESH_SUFFIX.length)}"IsPlayed":true}`
    : json;
}

/** The id of the open task or timer that an event answers; `null` for events that answer none. */
export function answeredTaskId(event: IncomingEvent): number | null {
  switch (event.EventType) {
    case EventType.TaskCompleted:
    case EventType.TaskFailed:
    case EventType.SubOrchestrationInstanceCompleted:
    case EventType.SubOrchestrationInstanceFailed:
      return event.TaskScheduledId;
    case EventType.TimerFired:
      return event.TimerId;
    case EventType.ExecutionStarted:
    case EventType.ExecutionTerminated:
    case EventType.ExecutionSuspended:
    case EventType.ExecutionResumed:
    case EventType.EventRaised:
      return null;
  }
}

/** Whether an event reports the failure of an activity or a sub-orchestration. */
export function isFault(event: { readonly EventType: number }): event is TaskFaulted {
  return (
    event.EventType === EventType.TaskFailed ||
    event.EventType === EventType.SubOrchestrationInstanceFailed
  );
}
