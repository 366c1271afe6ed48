import { createTestDatabases, type TestDatabases } from './cluster.ts';
import { startSagaOperations, type SagaOperations } from './saga-operations.ts';
import type { Settings } from './test-database.ts';

/** Operators, sweep and purge over databases of their own. */
export interface SagaWorld {
  readonly databases: TestDatabases;
  readonly app: SagaOperations;
  stop(): Promise<void>;
}

export async function startSagaWorld(settings: Settings = {}): Promise<SagaWorld> {
  const databases = await createTestDatabases();
  const app = await startSagaOperations(databases, settings);
  return {
    databases,
    app,
    stop: async () => {
      await app.close();
      await databases.drop();
    },
  };
}
