import type { OrchestrationClient } from '../../src/durable/client.ts';
import type { DurableModule } from '../../src/durable/register.ts';
import type { Services } from '../../src/services.ts';
import { driveOrchestrator, type BoundActivity, type DriveResult } from './drive-orchestrator.ts';

/** Orchestrations run in this process by the SDK's replay executor, with real activities and timers that fire at once. */
export interface InlineSagas {
  readonly client: OrchestrationClient;
  /** True: instances that are started are known and do nothing, until this is false again and `resume` is called. */
  isHeld: boolean;
  resume(): void;
  /** How each instance ended, once all that run have. */
  settled(): Promise<ReadonlyMap<string, DriveResult>>;
}

interface Start {
  readonly name: string;
  readonly input: unknown;
}

export function createInlineSagas(
  services: Services,
  modules: readonly DurableModule<Services>[],
): InlineSagas {
  const orchestrations = modules.flatMap((module) => module.orchestrations);
  const activities: Record<string, BoundActivity> = Object.fromEntries(
    modules
      .flatMap((module) => module.activities)
      .map((activity) => [activity.contract.name, activity.bind(services)]),
  );
  const known = new Map<string, Start>();
  const held = new Map<string, Start>();
  const running = new Map<string, Promise<DriveResult>>();
  const run = (instanceId: string, { name, input }: Start): void => {
    const payload = JSON.parse(JSON.stringify(input)) as unknown;
    running.set(
      instanceId,
      driveOrchestrator(name, payload, { orchestrations, activities, instanceId }),
    );
  };
  const unexpected = (): never => {
    throw new Error('not part of the inline runtime');
  };
  const sagas: InlineSagas = {
    isHeld: false,
    client: {
      ensureStarted: (contract, instanceId, input) => {
        if (known.has(instanceId)) return Promise.resolve('exists');
        const start = { name: contract.name, input };
        known.set(instanceId, start);
        if (sagas.isHeld) held.set(instanceId, start);
        else run(instanceId, start);
        return Promise.resolve('started');
      },
      startAgain: unexpected,
      raise: unexpected,
      status: unexpected,
    },
    resume: () => {
      for (const [instanceId, start] of held) run(instanceId, start);
      held.clear();
    },
    settled: async () => {
      const results = new Map<string, DriveResult>();
      for (const [instanceId, result] of running) results.set(instanceId, await result);
      return results;
    },
  };
  return sagas;
}
