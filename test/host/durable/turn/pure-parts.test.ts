import { describe, expect, it } from 'vitest';
import { acceptEvents } from '../../../../local/host/durable/turn/accept-events.ts';
import { ActionType, type AtomicAction } from '../../../../local/host/durable/turn/actions.ts';
import { allocateActions } from '../../../../local/host/durable/turn/allocate.ts';
import { flattenActions } from '../../../../local/host/durable/turn/flatten-actions.ts';
import {
  EventType,
  markPlayed,
  renderEvent,
  type IncomingEvent,
} from '../../../../local/host/durable/turn/history-events.ts';
import { retryVerdict, type RetryState } from '../../../../local/host/durable/turn/retry-policy.ts';
import {
  beginTurn,
  openTask,
  type InboxMessage,
  type Turn,
} from '../../../../local/host/durable/turn/turn.ts';

const call = (functionName: string): AtomicAction => ({
  actionType: ActionType.CallActivity,
  functionName,
});
const wait = (externalEventName: string): AtomicAction => ({
  actionType: ActionType.WaitForExternalEvent,
  externalEventName,
});

describe('flattenActions', () => {
  it('lists actions depth-first, each object once', () => {
    const [a, b, c] = [call('a'), call('b'), call('b')];
    const inner = { actionType: ActionType.WhenAll, compoundActions: [b, c] };
    const list = [[a, { actionType: ActionType.WhenAny, compoundActions: [inner, a] }, b]];
    expect(flattenActions(list)).toEqual([a, b, c]);
  });

  it('takes the executor’s flat list and nothing at all', () => {
    expect(flattenActions([call('a')])).toHaveLength(1);
    expect(flattenActions([[]])).toEqual([]);
    expect(flattenActions(undefined)).toEqual([]);
  });
});

describe('allocateActions', () => {
  const lock: AtomicAction = {
    actionType: ActionType.LockEntities,
    lockRequestId: 'l',
    lockSet: [
      { name: 'e', key: '1' },
      { name: 'e', key: '2' },
    ],
  };

  it('gives one id to each action, none to waits, one per entity to a release', () => {
    const flat = [
      call('a'),
      wait('e'),
      lock,
      { actionType: ActionType.ReleaseEntities },
      call('b'),
    ];
    const allocation = allocateActions([], flat as AtomicAction[], 7);
    if (allocation.kind === 'diverged') throw new Error(allocation.message);
    expect(allocation.fresh.map(({ ids }) => ids)).toEqual([[7], [], [8], [9, 10], [11]]);
    expect(allocation.nextSeq).toBe(12);
  });

  it('leaves known actions alone and notices cancelled timers', () => {
    const timer = (isCanceled: boolean): AtomicAction => ({
      actionType: ActionType.CreateTimer,
      fireAt: new Date(0),
      isCanceled,
    });
    const recorded = [
      { text: 'timer', taskId: 0 },
      { text: 'activity a', taskId: 1 },
    ];
    const allocation = allocateActions(recorded, [timer(true), call('a'), call('b')], 2);
    expect(allocation).toMatchObject({ kind: 'allocated', cancelledTimerIds: [0], nextSeq: 3 });
  });

  it('detects other and missing actions', () => {
    const recorded = [{ text: 'activity a', taskId: 0 }];
    expect(allocateActions(recorded, [call('b')], 1).kind).toBe('diverged');
    expect(allocateActions(recorded, [wait('a')], 1).kind).toBe('diverged');
    expect(allocateActions(recorded, [], 1).kind).toBe('diverged');
  });
});

describe('retryVerdict', () => {
  const failure = { Reason: 'r', Details: 'd' };
  const retry = (failures: number, options: Partial<RetryState['options']> = {}): RetryState => ({
    retryId: 0,
    kind: 'activity',
    name: 'a',
    input: null,
    instanceId: null,
    version: null,
    options: { firstRetryIntervalInMilliseconds: 100, maxNumberOfAttempts: 5, ...options },
    firstAttemptMs: 1000,
    failures,
  });

  it('grows the delay up to its maximum', () => {
    const options = { backoffCoefficient: 3, maxRetryIntervalInMilliseconds: 500 };
    const delays = [1, 2, 3].map((n) => retryVerdict(retry(n, options), failure, 1000));
    expect(delays).toEqual([100, 300, 500].map((delayMs) => ({ kind: 'retry', delayMs })));
    expect(retryVerdict(retry(2), failure, 1000)).toEqual({ kind: 'retry', delayMs: 100 });
  });

  it('ends with the last attempt, with the timeout, and with a failure that says so', () => {
    expect(retryVerdict(retry(5), failure, 1000)).toEqual({ kind: 'exhausted' });
    const timed = retry(2, { retryTimeoutInMilliseconds: 50 });
    expect(retryVerdict(timed, failure, 1049).kind).toBe('retry');
    expect(retryVerdict(timed, failure, 1050)).toEqual({ kind: 'given-up', remaining: 3 });
    const final = {
      ...failure,
      FailureDetails: { ErrorType: 'E', ErrorMessage: 'm', IsNonRetriable: true },
    };
    expect(retryVerdict(retry(1), final, 1000)).toEqual({ kind: 'given-up', remaining: 4 });
  });
});

describe('acceptEvents', () => {
  const options = { firstRetryIntervalInMilliseconds: 10, maxNumberOfAttempts: 3 };

  /** A turn with plain tasks 0 and 1 and tasks with retries 2 and 3 open. */
  function turn(): Turn {
    const created = beginTurn(
      {
        row: {
          id: 'i',
          name: 'f',
          version: null,
          executionId: 'x',
          parent: null,
          status: 'Running',
          input: null,
          output: null,
          customStatus: null,
          createdMs: 0,
          updatedMs: 0,
          nextSeq: 4,
          lastTurnMs: 0,
          lock: null,
          rewindFrom: null,
        },
        history: [],
        nextEvent: 0,
        actions: [],
        open: new Map(),
      },
      1000,
    );
    for (const id of [0, 1]) openTask(created, id, { kind: 'activity', retry: null });
    for (const id of [2, 3]) {
      const retry: RetryState = {
        retryId: id,
        kind: 'activity',
        name: 'a',
        input: '1',
        instanceId: null,
        version: null,
        options,
        firstAttemptMs: 0,
        failures: 0,
      };
      openTask(created, id, { kind: 'activity', retry });
    }
    return created;
  }
  const message = (seq: number, event: IncomingEvent, executionId = 'x'): InboxMessage => ({
    seq,
    executionId,
    kind: 'completion',
    event,
  });
  const success = (TaskScheduledId: number): IncomingEvent => ({
    EventType: EventType.TaskCompleted,
    EventId: -1,
    TaskScheduledId,
    Result: '1',
  });
  const fault = (TaskScheduledId: number): IncomingEvent => ({
    EventType: EventType.TaskFailed,
    EventId: -1,
    TaskScheduledId,
    Reason: 'r',
    Details: 'd',
  });
  const external = (seq: number): InboxMessage => ({
    seq,
    executionId: null,
    kind: 'event',
    event: { EventType: EventType.EventRaised, EventId: -1, Name: 'n', Input: null },
  });

  it('drops duplicates and messages for other executions', () => {
    const t = turn();
    const accepted = acceptEvents(t, [
      message(1, success(0)),
      message(2, success(0)),
      message(3, success(1), 'old'),
      message(4, success(99)),
    ]);
    expect(accepted).toBe(1);
    expect(t.changes.consumed).toEqual([1, 2, 3, 4]);
    expect(t.state.open.has(1)).toBe(true);
  });

  it('takes silent retry events first, then one of any kind, then only such as take no ids', () => {
    const t = turn();
    const accepted = acceptEvents(t, [
      message(1, fault(2)),
      message(2, success(0)),
      message(3, success(1)),
      message(4, fault(3)),
    ]);
    expect(accepted).toBe(3);
    expect(t.changes.timers).toEqual([{ taskId: 4, fireAtMs: 1010 }]);
    expect(t.state.row.nextSeq).toBe(5);
  });

  it('leaves an external event in the inbox once user code may have run', () => {
    const t = turn();
    expect(acceptEvents(t, [message(1, success(0)), external(2)])).toBe(1);
    expect(acceptEvents(turn(), [external(1), message(2, success(0))])).toBe(2);
  });

  it('lets the last failure surface within the turn', () => {
    const t = turn();
    const retry = t.state.open.get(2)?.retry;
    if (!retry) throw new Error('not tracked');
    retry.failures = 2;
    acceptEvents(t, [message(1, fault(2))]);
    const types = t.changes.events.map((json) => (JSON.parse(json) as IncomingEvent).EventType);
    expect(types).toEqual([EventType.TaskFailed, EventType.TimerCreated, EventType.TimerFired]);
    expect(t.changes.timers).toEqual([]);
    expect(t.state.open.size).toBe(3);
  });
});

describe('rendering of events', () => {
  it('marks a fresh event as played, and user data never', () => {
    const event: IncomingEvent = {
      EventType: EventType.EventRaised,
      EventId: -1,
      Name: '"IsPlayed":false}',
      Input: '{"IsPlayed":false}',
    };
    const fresh = renderEvent(event, 0, false);
    expect(JSON.parse(fresh)).toEqual({
      ...event,
      Timestamp: '1970-01-01T00:00:00.000Z',
      IsPlayed: false,
    });
    expect(JSON.parse(markPlayed(fresh))).toMatchObject({ ...event, IsPlayed: true });
    expect(markPlayed(markPlayed(fresh))).toBe(markPlayed(fresh));
  });
});
