import type { Engine, Wakes } from './engine.ts';

/**
 * Lists all unfinished work in the store, to be dispatched at start: activities not answered,
 * orchestrations and entities with messages. Timers are taken up by the timer service.
 */
export function unfinishedWork(engine: Engine): Wakes {
  return {
    instances: new Set(engine.work.instancesWithInbox()),
    entities: new Set(engine.entities.entitiesWithInbox()),
    activities: engine.work.pendingActivities(),
    timersAtMs: [],
  };
}
