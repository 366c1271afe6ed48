import { createRequire } from 'node:module';
import type { DurableOrchestrationContext } from 'durable-functions';
import type { ActivityRun, OrchestrationImplementation } from '../../src/durable/implement.ts';
import type { Logger } from '../../src/kernel/logger.ts';
import { History, type Action, type HistoryEvent } from './orchestration-history.ts';

/**
 * Runs orchestrations in memory against the SDK's own replay executor. Every turn replays the generator from its
 * first line over the recorded history, so each yield is a crash and a replay; an orchestrator that decides
 * differently the second time is reported. Completions arrive in an order drawn from `random`, and activities may be
 * run twice, as after a crash between the work and its record. Timers fire at once, on a virtual clock.
 */
export type BoundActivity = (input: unknown, run: ActivityRun) => Promise<unknown>;

export interface DriveOptions {
  readonly orchestrations: readonly OrchestrationImplementation[];
  readonly activities: Readonly<Record<string, BoundActivity>>;
  /** In [0, 1); decides the order of completions and which activities are run twice. */
  readonly random?: () => number;
  /** Share of activities that run twice, 0 … 1. */
  readonly redeliver?: number;
  readonly maxTurns?: number;
  /** Of the instance that is started; default `root`. */
  readonly instanceId?: string;
  /**
   * Asked after each turn of the root: the external event to be sent to it, if any. It arrives in an order drawn from
   * `random`, as completions do, and a timer that it races has not fired when it comes first.
   */
  readonly raise?: (
    status: unknown,
  ) => { readonly name: string; readonly data: unknown } | undefined;
}

export interface DriveResult {
  readonly state: 'completed' | 'failed';
  /** What the orchestration returned (an envelope), when it completed. */
  readonly output: unknown;
  readonly error: string | undefined;
  /** Sum over all instances and executions. */
  readonly actions: number;
  readonly historyBytes: number;
  readonly executions: number;
  /** Events in the longest history of one execution. */
  readonly longestHistory: number;
  /** On the virtual clock, from the first start to the last turn. */
  readonly elapsedMs: number;
  /** Last custom status per instance. */
  readonly statuses: ReadonlyMap<string, unknown>;
}

interface Delivery {
  readonly instance: Instance;
  /** Undefined: for whichever execution is there, as external events are. */
  readonly execution: number | undefined;
  readonly event: () => Promise<HistoryEvent>;
}

interface Instance {
  readonly id: string;
  readonly name: string;
  readonly parent:
    { readonly instance: Instance; readonly execution: number; readonly id: number } | undefined;
  history: History;
  execution: number;
  result:
    { readonly failed: boolean; readonly output: unknown; readonly error?: string } | undefined;
}

interface TurnResult {
  readonly isDone: boolean;
  readonly actions: readonly (readonly Action[])[];
  readonly output?: unknown;
  readonly customStatus?: unknown;
}

type Listener = (trigger: unknown, context: Record<string, unknown>) => Promise<TurnResult>;

const { createOrchestrator } = createRequire(import.meta.url)(
  'durable-functions/lib/src/util/testingUtils.js',
) as {
  createOrchestrator(
    this: void,
    fn: (context: { df: DurableOrchestrationContext }) => unknown,
  ): Listener;
};

export const silentLogger: Logger = { log: () => undefined, with: () => silentLogger };

export async function driveOrchestrator(
  name: string,
  input: unknown,
  options: DriveOptions,
): Promise<DriveResult> {
  const driver = new Driver(options);
  const root = driver.start(name, options.instanceId ?? 'root', input, undefined);
  await driver.run();
  if (root.result === undefined) throw new Error(`${name} waits for something that never comes`);
  return {
    state: root.result.failed ? 'failed' : 'completed',
    output: root.result.output,
    error: root.result.error,
    ...driver.totals(),
  };
}

class Driver {
  readonly #options: DriveOptions;
  readonly #random: () => number;
  readonly #listeners = new Map<string, Listener>();
  readonly #instances = new Map<string, Instance>();
  readonly #statuses = new Map<string, unknown>();
  readonly #pending: Delivery[] = [];
  readonly #startMs = Date.UTC(2026, 0, 1);
  #nowMs = this.#startMs;
  #actions = 0;
  #historyBytes = 0;
  #executions = 0;
  #longestHistory = 0;

  constructor(options: DriveOptions) {
    this.#options = options;
    this.#random = options.random ?? (() => 0);
    for (const implementation of options.orchestrations) {
      this.#listeners.set(
        implementation.contract.name,
        createOrchestrator((context) => implementation.run(context.df, silentLogger)),
      );
    }
  }

  totals(): Omit<DriveResult, 'state' | 'output' | 'error'> {
    return {
      actions: this.#actions,
      historyBytes: this.#historyBytes,
      executions: this.#executions,
      longestHistory: this.#longestHistory,
      elapsedMs: this.#nowMs - this.#startMs,
      statuses: this.#statuses,
    };
  }

  start(name: string, id: string, input: unknown, parent: Instance['parent']): Instance {
    const history = new History(input);
    const instance: Instance = { id, name, parent, history, execution: 0, result: undefined };
    this.#instances.set(id, instance);
    this.#executions++;
    this.#deliver(instance, () => Promise.resolve(history.started(name, id)));
    return instance;
  }

  async run(): Promise<void> {
    const maxTurns = this.#options.maxTurns ?? 20_000;
    for (let turn = 0; this.#pending.length > 0; turn++) {
      if (turn > maxTurns) throw new Error(`not finished after ${maxTurns} turns`);
      const [next] = this.#pending.splice(Math.floor(this.#random() * this.#pending.length), 1);
      if (next === undefined) continue;
      const { instance, execution } = next;
      const event = await next.event();
      const stale = execution !== undefined && instance.execution !== execution;
      if (instance.result !== undefined || stale) continue;
      await this.#turn(instance, event);
      if (instance.parent === undefined) this.#raise(instance);
    }
  }

  async #turn(instance: Instance, event: HistoryEvent): Promise<void> {
    this.#nowMs += 10;
    const { history } = instance;
    const accepted = history.accept(event, this.#nowMs);
    if (!accepted.known) return;
    if (accepted.timerMs !== undefined) this.#nowMs = Math.max(this.#nowMs, accepted.timerMs);
    for (const again of accepted.scheduled) this.#schedule(instance, again.id, again.action);
    history.begin(event, new Date(this.#nowMs));
    const turn = await this.#replay(instance);
    if (turn.result?.customStatus !== undefined) {
      this.#statuses.set(instance.id, turn.result.customStatus);
    }
    const added = turn.result === undefined ? [] : history.allocate(turn.result.actions.flat());
    this.#actions += added.length;
    for (const { id, action } of added) this.#schedule(instance, id, action);
    this.#settle(instance, turn);
  }

  #raise(instance: Instance): void {
    const raised = this.#options.raise?.(this.#statuses.get(instance.id));
    if (raised === undefined) return;
    const event = { EventType: 15, Name: raised.name, Input: JSON.stringify(raised.data) };
    this.#pending.push({ instance, execution: undefined, event: () => Promise.resolve(event) });
  }

  #settle(instance: Instance, turn: { result?: TurnResult; error?: Error }): void {
    if (turn.error !== undefined) {
      this.#finish(instance, { failed: true, output: undefined, error: turn.error.message });
      return;
    }
    if (turn.result?.isDone !== true) return;
    if (instance.history.hasOpenTimer()) {
      throw new Error('an open timer holds up the end of this execution');
    }
    const again = turn.result.actions.flat().find((action) => action.actionType === 4);
    if (again === undefined) {
      this.#finish(instance, { failed: false, output: turn.result.output });
      return;
    }
    this.#measure(instance.history);
    instance.execution++;
    this.#executions++;
    const history = new History(again.input);
    instance.history = history;
    this.#deliver(instance, () => Promise.resolve(history.started(instance.name, instance.id)));
  }

  async #replay(instance: Instance): Promise<{ result?: TurnResult; error?: Error }> {
    const listener = this.#listeners.get(instance.name);
    if (listener === undefined) throw new Error(`no orchestration ${instance.name}`);
    const trigger = instance.history.trigger(instance.id, instance.parent?.instance.id ?? null);
    try {
      return { result: await listener(trigger, {}) };
    } catch (error) {
      return { error: error as Error };
    }
  }

  #finish(instance: Instance, result: NonNullable<Instance['result']>): void {
    instance.result = result;
    this.#measure(instance.history);
    const { parent } = instance;
    if (parent === undefined) return;
    const event = result.failed
      ? { EventType: 9, TaskScheduledId: parent.id, Reason: result.error ?? '', Details: 'none' }
      : { EventType: 8, TaskScheduledId: parent.id, Result: JSON.stringify(result.output ?? null) };
    this.#pending.push({
      instance: parent.instance,
      execution: parent.execution,
      event: () => Promise.resolve(event),
    });
  }

  #measure(history: History): void {
    this.#historyBytes += history.bytes();
    this.#longestHistory = Math.max(this.#longestHistory, history.events);
  }

  #deliver(instance: Instance, event: () => Promise<HistoryEvent>): void {
    this.#pending.push({ instance, execution: instance.execution, event });
  }

  #schedule(instance: Instance, id: number, action: Action): void {
    switch (action.actionType) {
      case 0:
      case 1:
        this.#deliver(instance, () => this.#runActivity(instance, id, action));
        return;
      case 2:
      case 3: {
        const child = action.instanceId ?? `${instance.id}:${id}`;
        this.start(action.functionName ?? '', child, action.input, {
          instance,
          execution: instance.execution,
          id,
        });
        return;
      }
      case 4:
        return;
      case 5: {
        if (action.isCanceled === true) return;
        const fireAt = new Date(action.fireAt ?? 0).toISOString();
        this.#deliver(instance, () =>
          Promise.resolve({ EventType: 11, TimerId: id, FireAt: fireAt }),
        );
        return;
      }
      default:
        throw new Error(`this driver does not know action ${action.actionType}`);
    }
  }

  async #runActivity(instance: Instance, id: number, action: Action): Promise<HistoryEvent> {
    const name = action.functionName ?? '';
    const handler = this.#options.activities[name];
    if (handler === undefined) throw new Error(`no activity ${name}`);
    const run: ActivityRun = { instanceId: instance.id, logger: silentLogger };
    const input = JSON.parse(JSON.stringify(action.input ?? null)) as unknown;
    try {
      if (this.#random() < (this.#options.redeliver ?? 0))
        await handler(input, run).catch(() => {});
      const value = await handler(input, run);
      return { EventType: 5, TaskScheduledId: id, Result: JSON.stringify(value ?? null) };
    } catch (error) {
      return {
        EventType: 6,
        TaskScheduledId: id,
        Reason: `Activity function '${name}' failed: ${(error as Error).message}`,
        Details: 'none',
      };
    }
  }
}
