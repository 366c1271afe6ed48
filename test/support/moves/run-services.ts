import type { OrchestrationClient } from '../../../src/durable/client.ts';
import type { Move } from '../../../src/rebalancing/model.ts';
import type { Plan } from '../../../src/rebalancing/run-model.ts';
import type { Services } from '../../../src/services.ts';
import { createFakeServices } from '../fake-services.ts';
import { createMemoryControl } from '../memory-control.ts';
import { testConfig } from '../test-database.ts';
import type { MoveWorld } from './world.ts';

/** Services over the servers of a world, with control blobs of their own: as if no run had ever been. */
export function runServices(
  world: MoveWorld,
  settings: Readonly<Record<string, string>> = {},
): Services {
  const { database, bucketMap, bucketMapStore, blobs, clock } = world.services;
  return {
    ...createFakeServices({ database, bucketMap, bucketMapStore, blobs, clock }),
    control: createMemoryControl().blobs,
    config: testConfig(world.databases, settings),
  };
}

/** Of a runtime in which everything runs already. */
export const idleClient: OrchestrationClient = {
  ensureStarted: () => Promise.resolve('exists'),
  startAgain: () => Promise.resolve('running'),
  raise: () => Promise.resolve(true),
  status: () => Promise.resolve(undefined),
};

export function planOf(...moves: readonly Move[]): Plan {
  return {
    planHash: 'hash',
    mapVersion: 1,
    moves: moves.map(({ bucket, from, to }) => ({
      bucket,
      from,
      to,
      estimatedRows: 10,
      estimatedBytes: 1_000_000,
    })),
    totals: { buckets: moves.length, rows: 10, bytes: 1_000_000 },
  };
}
