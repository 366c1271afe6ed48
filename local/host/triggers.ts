import type { Clock, HostLogger, IndexedFunction, Invoker } from './contracts.ts';
import type { QueueSettings } from './app/host-json.ts';
import { errorMessage, HostStartError } from './app/errors.ts';
import { isType } from './app/indexing.ts';
import { manualInput } from './http/admin.ts';
import type { HostStore } from './host-store.ts';
import type { QueueConnections } from './queues/connections.ts';
import { QueueListener, releaseClaims } from './queues/listener.ts';
import { TimerListener, timerPayload } from './timers/listener.ts';

export interface TriggerOptions {
  readonly functions: readonly IndexedFunction[];
  readonly connections: QueueConnections;
  readonly queueSettings: QueueSettings;
  readonly invoker: Invoker;
  readonly store: HostStore;
  readonly logger: HostLogger;
  readonly clock: Clock;
}

/** The listeners of an app: everything that starts functions without being asked over HTTP. */
export interface Triggers {
  start(): Promise<void>;
  /** Wakes the listeners of a queue this host has just written to. */
  wakeQueue(connection: string, queue: string): void;
  stop(drainMs: number): Promise<void>;
}

/**
 * Makes the queue and timer listeners of all enabled functions. Throws {@link HostStartError} with
 * every wrong schedule and missing connection at once.
 */
export function createTriggers(options: TriggerOptions): Triggers {
  const problems: string[] = [];
  const enabled = options.functions.filter((fn) => !fn.disabled);
  const make = <T>(type: string, create: (fn: IndexedFunction) => T): T[] =>
    enabled
      .filter((fn) => isType(fn.trigger, type))
      .flatMap((fn) => {
        try {
          return [create(fn)];
        } catch (error) {
          if (!(error instanceof HostStartError)) throw error;
          problems.push(error.message);
          return [];
        }
      });
  const { connections, queueSettings: settings } = options;
  const queues = make(
    'queueTrigger',
    (fn) => new QueueListener({ ...options, fn, connections, settings }),
  );
  const timers = make('timerTrigger', (fn) => new TimerListener({ ...options, fn }));
  if (problems.length > 0) throw new HostStartError(problems.join('\n'));
  return {
    async start() {
      await releaseClaims(options);
      for (const listener of [...queues, ...timers]) listener.start();
    },
    wakeQueue(connection, queue) {
      const account = connections.account(connection);
      for (const listener of queues) {
        const isSame = connections.account(listener.connection) === account;
        if (isSame && listener.queueName === queue) listener.wake();
      }
    },
    stop: async (drainMs) => {
      await Promise.all([...queues, ...timers].map((listener) => listener.stop(drainMs)));
    },
  };
}

/**
 * Starts a function by hand (`POST /admin/functions/{name}`) and does not wait for it. False for
 * triggers that need more than a text: HTTP functions have a URL, orchestrations a management API.
 */
export function startByHand(
  options: { readonly invoker: Invoker; readonly logger: HostLogger },
  fn: IndexedFunction,
  input: string,
): boolean {
  const isTimer = isType(fn.trigger, 'timerTrigger');
  if (!isTimer && !isType(fn.trigger, 'queueTrigger') && !isType(fn.trigger, 'activityTrigger')) {
    return false;
  }
  const triggerData = isTimer ? timerPayload(undefined, false) : manualInput(input);
  options.invoker.invoke({ fn, triggerData, triggerMetadata: {} }).catch((error: unknown) => {
    options.logger.log('error', 'manual_function_failed', {
      function: fn.name,
      message: errorMessage(error),
    });
  });
  return true;
}
