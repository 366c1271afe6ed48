/**
 * One execution's history in the shape that the SDK replays, and the allocation of ids that it expects
 * (FACTS-host 5.2, 5.6, 5.7).
 */
export interface Action {
  readonly actionType: number;
  readonly functionName?: string;
  readonly instanceId?: string;
  readonly input?: unknown;
  readonly fireAt?: string | Date;
  readonly isCanceled?: boolean;
  readonly compoundActions?: readonly Action[];
  readonly retryOptions?: { readonly maxNumberOfAttempts: number };
}

export interface HistoryEvent {
  readonly EventType: number;
  readonly [field: string]: unknown;
}

interface Retry {
  readonly action: Action;
  attempts: number;
}

/** What the engine must do because of one event. */
export interface Accepted {
  readonly known: boolean;
  readonly timerMs: number | undefined;
  readonly scheduled: readonly { readonly id: number; readonly action: Action }[];
}

const WITH_RETRY = new Set([1, 3]);
/** ContinueAsNew and WaitForExternalEvent. */
const WITHOUT_ID = new Set([4, 6]);

export class History {
  readonly #events: HistoryEvent[] = [];
  readonly #input: unknown;
  readonly #open = new Map<number, Retry | undefined>();
  /** Name of each action scheduled so far, to notice a replay that decides differently. */
  readonly #scheduled: string[] = [];
  /** Where the timers stand in the list of actions, and their ids. */
  readonly #timerIds: { readonly index: number; readonly id: number }[] = [];
  #nextId = 0;

  constructor(input: unknown) {
    this.#input = JSON.parse(JSON.stringify(input ?? null));
  }

  started(name: string, instanceId: string): HistoryEvent {
    const input = JSON.stringify(this.#input);
    const instance = { InstanceId: instanceId, ExecutionId: '0' };
    return { EventType: 0, Name: name, Input: input, OrchestrationInstance: instance };
  }

  /** Takes an incoming event; one for an id that is not open is a duplicate. Retries are the engine's work. */
  accept(event: HistoryEvent, nowMs: number): Accepted {
    const id = event['TaskScheduledId'] ?? event['TimerId'];
    if (typeof id !== 'number') return { known: true, timerMs: undefined, scheduled: [] };
    if (!this.#open.has(id)) return { known: false, timerMs: undefined, scheduled: [] };
    const retry = this.#open.get(id);
    this.#open.delete(id);
    const timerMs =
      typeof event['FireAt'] === 'string' ? new Date(event['FireAt']).getTime() : undefined;
    const failed = event.EventType === 6 || event.EventType === 9;
    const fired = event.EventType === 11;
    if (retry === undefined || (!failed && !fired)) return { known: true, timerMs, scheduled: [] };
    if (failed) retry.attempts++;
    const exhausted = retry.attempts >= (retry.action.retryOptions?.maxNumberOfAttempts ?? 1);
    if (fired && exhausted) return { known: true, timerMs, scheduled: [] };
    const next = this.#nextId++;
    this.#open.set(next, retry);
    const timer: Action = { actionType: 5, fireAt: new Date(nowMs + 1000) };
    return {
      known: true,
      timerMs,
      scheduled: [{ id: next, action: fired ? retry.action : timer }],
    };
  }

  /** Opens a turn with the event that caused it. */
  begin(event: HistoryEvent, now: Date): void {
    this.#events.forEach((old, index) => (this.#events[index] = { ...old, IsPlayed: true }));
    this.#push({ EventType: 12 }, now);
    this.#push(event, now);
  }

  trigger(instanceId: string, parentInstanceId: string | null): Record<string, unknown> {
    return {
      // The SDK compares and writes its events' times as dates.
      history: this.#events.map((event) => ({
        ...event,
        Timestamp: new Date(event['Timestamp'] as string),
      })),
      input: this.#input,
      instanceId,
      isReplaying: false,
      parentInstanceId,
      upperSchemaVersion: 1,
      upperSchemaVersionNew: 3,
      longRunningTimerIntervalDuration: '3.00:00:00',
      maximumShortTimerDuration: '36500.00:00:00',
      defaultHttpAsyncRequestSleepTimeMillseconds: 30_000,
    };
  }

  /** Ids for the actions that this turn added; throws when the earlier ones are not the same as before. */
  allocate(listed: readonly Action[]): { readonly id: number; readonly action: Action }[] {
    const actions = [...new Set(flatten(listed))];
    this.#cancel(actions);
    const added: { id: number; action: Action }[] = [];
    actions.forEach((action, index) => {
      const label = `${action.actionType} ${action.functionName ?? ''} ${JSON.stringify(action.input)}`;
      const before = this.#scheduled[index];
      if (before !== undefined && before !== label) {
        throw new Error(`non-deterministic: step ${index} was "${before}", now "${label}"`);
      }
      if (before !== undefined) return;
      this.#scheduled.push(label);
      if (WITHOUT_ID.has(action.actionType)) return;
      const id = this.#nextId++;
      const retry = WITH_RETRY.has(action.actionType) ? { action, attempts: 0 } : undefined;
      if (action.actionType === 5) this.#timerIds.push({ index, id });
      if (action.isCanceled !== true) this.#open.set(id, retry);
      this.#push({
        EventType: action.actionType === 5 ? 10 : 4,
        EventId: id,
        Name: action.functionName,
        Input: JSON.stringify([action.input]),
      });
      added.push({ id, action });
    });
    if (actions.length < this.#scheduled.length) {
      throw new Error('non-deterministic: a replay scheduled less than before');
    }
    this.#push({ EventType: 13 });
    return added;
  }

  /** A timer that was created in an earlier turn and is cancelled now is answered no more. */
  #cancel(actions: readonly Action[]): void {
    for (const { index, id } of this.#timerIds) {
      if (actions[index]?.isCanceled === true) this.#open.delete(id);
    }
  }

  /** Whether a timer is left that neither fired nor was cancelled: it would hold up the end. */
  hasOpenTimer(): boolean {
    return this.#timerIds.some(({ id }) => this.#open.has(id));
  }

  get events(): number {
    return this.#events.length;
  }

  bytes(): number {
    return JSON.stringify(this.#events).length;
  }

  #push(event: HistoryEvent, now?: Date): void {
    const last = this.#events.at(-1)?.['Timestamp'];
    const time = now?.toISOString() ?? last;
    this.#events.push({ EventId: -1, IsPlayed: false, ...event, Timestamp: time });
  }
}

function flatten(actions: readonly Action[]): Action[] {
  return actions.flatMap((action) =>
    action.compoundActions === undefined ? [action] : flatten(action.compoundActions),
  );
}
