import type { IndexedFunction } from '../contracts.ts';

/** The app's durable functions by kind; every lookup ignores case, as Azure does. */
export interface FunctionTable {
  orchestrator(name: string): IndexedFunction | undefined;
  activity(name: string): IndexedFunction | undefined;
  entity(name: string): IndexedFunction | undefined;
}

/** Indexes the app's functions; disabled ones are treated as absent. */
export function createFunctionTable(functions: readonly IndexedFunction[]): FunctionTable {
  const byKind = new Map<string, IndexedFunction>();
  for (const fn of functions) {
    if (!fn.disabled) byKind.set(keyOf(fn.trigger.type, fn.name), fn);
  }
  return {
    orchestrator: (name) => byKind.get(keyOf('orchestrationTrigger', name)),
    activity: (name) => byKind.get(keyOf('activityTrigger', name)),
    entity: (name) => byKind.get(keyOf('entityTrigger', name)),
  };
}

function keyOf(triggerType: string, name: string): string {
  return `${triggerType.toLowerCase()}\n${name.toLowerCase()}`;
}
