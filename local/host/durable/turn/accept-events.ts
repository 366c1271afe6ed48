import { answeredTaskId, EventType, isFault, type TaskFaulted } from './history-events.ts';
import { retryVerdict, type RetryState } from './retry-policy.ts';
import { recordTimer, scheduleAttempt, scheduleTimer } from './schedule-work.ts';
import { closeTask, record, takeId, type InboxMessage, type OpenTask, type Turn } from './turn.ts';

/**
 * Moves messages from the inbox into the turn's history, in order, as many as may share a turn.
 *
 * The host and the SDK count ids independently, so both must allocate in the same order. The SDK
 * takes ids for a retry while it reads the history (one for the timer after a failure, one for the
 * attempt after the timer) and ids for new work when the user's code runs. Hence: events that
 * allocate may come first as long as user code cannot have run; after the first event that may have
 * resumed user code, only events that allocate nothing may join. A success allocates nothing.
 *
 * An external event never joins after user code may have run: if that code ended with
 * `continueAsNew`, the event must still lie in the inbox for the next execution.
 *
 * Messages for another execution, and answers to tasks that are not open (duplicates, cancelled
 * timers), are consumed without effect. Returns the number of events accepted.
 */
export function acceptEvents(turn: Turn, pending: readonly InboxMessage[]): number {
  let accepted = 0;
  let userCodeMayHaveRun = false;
  for (const message of pending) {
    const task = taskOf(turn, message);
    if (task === 'stale') {
      turn.changes.consumed.push(message.seq);
      continue;
    }
    const allocates = allocatesRetryIds(message, task);
    if (userCodeMayHaveRun && (allocates || message.kind === 'event')) break;
    turn.changes.consumed.push(message.seq);
    accepted += 1;
    const silent = applyEvent(turn, message, task);
    if (!silent) userCodeMayHaveRun = true;
  }
  return accepted;
}

function taskOf(turn: Turn, message: InboxMessage): OpenTask | null | 'stale' {
  if (message.executionId !== null && message.executionId !== turn.state.row.executionId) {
    return 'stale';
  }
  const id = answeredTaskId(message.event);
  return id === null ? null : (turn.state.open.get(id) ?? 'stale');
}

function allocatesRetryIds(message: InboxMessage, task: OpenTask | null): boolean {
  if (task === null || task.retry === null) return false;
  return isFault(message.event) || message.event.EventType === EventType.TimerFired;
}

/** Returns whether the event certainly leaves the user's code where it is. */
function applyEvent(turn: Turn, message: InboxMessage, task: OpenTask | null): boolean {
  const { event } = message;
  const id = answeredTaskId(event);
  if (id !== null) closeTask(turn, id);
  record(turn, event);
  const retry = task?.retry ?? null;
  if (retry === null) return false;
  if (isFault(event)) return afterFailure(turn, retry, event);
  if (event.EventType === EventType.TimerFired) {
    scheduleAttempt(turn, takeId(turn), retry);
    return true;
  }
  return false;
}

function afterFailure(turn: Turn, retry: RetryState, failure: TaskFaulted): boolean {
  retry.failures += 1;
  turn.changes.retries.add(retry);
  const verdict = retryVerdict(retry, failure, turn.nowMs);
  switch (verdict.kind) {
    case 'retry':
      scheduleTimer(turn, takeId(turn), turn.nowMs + verdict.delayMs, retry);
      return true;
    case 'given-up':
      for (let i = 0; i < verdict.remaining; i += 1) failAttemptAtOnce(turn, retry, failure);
      passTimer(turn);
      return false;
    case 'exhausted':
      passTimer(turn);
      return false;
  }
}

/** The SDK waits for a back-off timer also after the last failure; it fires within the same turn. */
function passTimer(turn: Turn): void {
  const id = takeId(turn);
  recordTimer(turn, id, turn.nowMs);
  record(turn, {
    EventType: EventType.TimerFired,
    EventId: -1,
    TimerId: id,
    FireAt: new Date(turn.nowMs).toISOString(),
  });
}

/** Answers an attempt that must not run with a copy of the failure that ended the chain. */
function failAttemptAtOnce(turn: Turn, retry: RetryState, failure: TaskFaulted): void {
  passTimer(turn);
  const id = takeId(turn);
  const { name, input, version } = retry;
  if (retry.kind === 'activity') {
    record(turn, {
      EventType: EventType.TaskScheduled,
      EventId: id,
      Name: name,
      Version: null,
      Input: `[${input ?? 'null'}]`,
    });
  } else {
    record(turn, {
      EventType: EventType.SubOrchestrationInstanceCreated,
      EventId: id,
      Name: name,
      InstanceId: retry.instanceId ?? `${turn.state.row.executionId}:${id}`,
      Input: input,
      Version: version,
    });
  }
  record(turn, { ...failure, TaskScheduledId: id });
  retry.failures += 1;
}
