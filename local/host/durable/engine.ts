import type { Clock, DurableSettings, HostLogger, Invoker } from '../contracts.ts';
import type { FunctionTable } from './function-table.ts';
import type { DurableProbe } from './probe.ts';
import type { EntityStore } from './store/entity-store.ts';
import type { ExecutionStore } from './store/execution-store.ts';
import type { InstanceStore } from './store/instance-store.ts';
import type { PendingActivity, WorkStore } from './store/work-store.ts';
import type { InstanceState } from './turn/turn.ts';

/** What a transaction has created for others to do; dispatched after the COMMIT, never before. */
export interface Wakes {
  readonly instances: Set<string>;
  readonly entities: Set<string>;
  readonly activities: PendingActivity[];
  /** Times (ms) at which new timers are due. */
  readonly timersAtMs: number[];
}

/** The parts that every module of the engine works with. */
export interface Engine {
  readonly instances: InstanceStore;
  readonly executions: ExecutionStore;
  readonly work: WorkStore;
  readonly entities: EntityStore;
  readonly functions: FunctionTable;
  readonly invoker: Invoker;
  readonly settings: DurableSettings;
  readonly logger: HostLogger;
  /** Never runs backwards. */
  readonly clock: Clock;
  readonly probe: DurableProbe;
  /** Aborted when the store is closed: results that arrive later are dropped and redone after a restart. */
  readonly closed: AbortSignal;
  /** States of the executions that are active, as last committed. */
  readonly cache: InstanceCache;
  /** Runs `body` in one transaction, then dispatches what it put into `wakes`. */
  commit<T>(body: (wakes: Wakes) => T): T;
  /**
   * The same, sharing one COMMIT with other changes of this turn of the event loop. `body` must check
   * for itself whether what it was prepared for still holds.
   */
  commitSoon<T>(body: (wakes: Wakes) => T): Promise<T>;
}

/** Keeps the state of active executions in memory; the store remains the truth. */
export interface InstanceCache {
  /** The state of an instance, read from the store when not cached; `null` if there is no instance. */
  load(id: string): InstanceState | null;
  /** Whether `state` is still the one cached: it is not once the instance was replaced or changed elsewhere. */
  holds(id: string, state: InstanceState): boolean;
  evict(id: string): void;
}

/** Upper bound of cached history entries over all instances (about 100 MB of typical events). */
const MAX_CACHED_EVENTS = 200_000;

/** Creates a cache that drops the least recently used executions when it holds too many events. */
export function createInstanceCache(
  instances: InstanceStore,
  executions: ExecutionStore,
): InstanceCache {
  const states = new Map<string, { readonly state: InstanceState; events: number }>();
  let total = 0;

  function evict(id: string): void {
    total -= states.get(id)?.events ?? 0;
    states.delete(id);
  }
  function keep(id: string, state: InstanceState): void {
    evict(id);
    const events = state.history.length + 1;
    states.set(id, { state, events });
    total += events;
    for (const [oldest] of states) {
      if (total <= MAX_CACHED_EVENTS || oldest === id) break;
      evict(oldest);
    }
  }
  return {
    load(id) {
      const cached = states.get(id)?.state;
      if (cached !== undefined) {
        keep(id, cached);
        return cached;
      }
      const row = instances.get(id);
      if (row === null) return null;
      const state = executions.load(row);
      keep(id, state);
      return state;
    },
    holds: (id, state) => states.get(id)?.state === state,
    evict,
  };
}
