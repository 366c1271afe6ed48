import type { ShardedDatabase } from '../../../src/database/contracts.ts';
import { maintenanceDurable } from '../../../src/maintenance/activities.ts';
import { maintenanceOrchestration } from '../../../src/maintenance/contracts.ts';
import type { MaintenanceEngine } from '../../../src/maintenance/engine.ts';
import { maintenance } from '../../../src/maintenance/orchestrators.ts';
import { createRunStore } from '../../../src/maintenance/run-store.ts';
import { requestSchema, type MaintenanceRequest } from '../../../src/maintenance/run-model.ts';
import { startRun } from '../../../src/maintenance/runs.ts';
import { driveOrchestrator, type DriveResult } from '../drive-orchestrator.ts';
import { createFakeClock } from '../fake-clock.ts';
import { createFakeServices, type FakeServices } from '../fake-services.ts';
import { createMemoryBlobs, type MemoryBlobs } from '../memory-blobs.ts';
import { createMemoryControl, type MemoryControl } from '../memory-control.ts';
import { idleClient } from '../moves/run-services.ts';
import { createRandom } from '../random.ts';

/** The run half of maintenance in memory, over an engine of the test's. */
export interface RunWorld {
  readonly services: FakeServices;
  readonly control: MemoryControl;
  readonly blobs: MemoryBlobs;
  readonly store: ReturnType<typeof createRunStore>;
  start(request?: Partial<MaintenanceRequest>): Promise<string>;
  drive(maintenanceId: string, redeliver?: number): Promise<DriveResult>;
}

export function createRunWorld(
  engine: MaintenanceEngine,
  shards: number,
  settings: Readonly<Record<string, string>> = {},
): RunWorld {
  const random = createRandom();
  console.log(`SEED=${random.seed}`);
  const clock = createFakeClock({ autoSleep: true });
  const control = createMemoryControl();
  const blobs = createMemoryBlobs();
  const shardIds = () => Array.from({ length: shards }, (_, id) => id);
  const database = { shardIds } as unknown as ShardedDatabase;
  const parts = { clock, blobs, control: control.blobs, database, random: () => random.next() };
  const services = createFakeServices(parts, settings);
  // The documents are in one account, whichever way they are asked for.
  const all = withControl(blobs, control);
  Object.assign(services, { blobs: all });
  return {
    services,
    control,
    blobs,
    store: createRunStore(services),
    start: (request = {}) =>
      startRun(services, idleClient, { by: 'operator', request: requestSchema.parse(request) }),
    drive: (maintenanceId, redeliver) => {
      const { activities } = maintenanceDurable(() => engine);
      const bound = activities.map((activity) => {
        const run = activity.bind(services);
        return [
          activity.contract.name,
          async (input: unknown, context: Parameters<typeof run>[1]) => {
            const answer = await run(input, context);
            // Timers fire at once in the driver; the activities' clock goes on with what was waited for.
            const found = answer as { value?: { next?: { kind: string; ms?: number } } };
            if (found.value?.next?.kind === 'wait') await clock.advance(found.value.next.ms ?? 0);
            return answer;
          },
        ] as const;
      });
      return driveOrchestrator(
        maintenanceOrchestration.name,
        { maintenanceId },
        {
          orchestrations: [maintenance],
          activities: Object.fromEntries(bound),
          random: () => random.next(),
          instanceId: maintenanceId,
          ...(redeliver !== undefined && { redeliver }),
        },
      );
    },
  };
}

function withControl(blobs: MemoryBlobs, control: MemoryControl): MemoryBlobs {
  return {
    ...blobs,
    list: (container, prefix, limit) =>
      container === 'control'
        ? control.list(container, prefix, limit).then((names) => [...names])
        : blobs.list(container, prefix, limit),
    delete: (container, name) => {
      if (container === 'control') control.texts.delete(name);
      return blobs.delete(container, name);
    },
  };
}
