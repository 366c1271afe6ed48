import { systemClock } from '../../src/kernel/clock.ts';
import { createStorageClients } from '../../src/storage/clients.ts';
import type { StorageClients } from '../../src/storage/clients.ts';
import type { TestDatabases } from './cluster.ts';

/** Clients of the test cluster's storage, as one instance of the app has them; containers of this test file only. */
export function createTestStorage(
  databases: Pick<TestDatabases, 'storageConnectionString' | 'prefix'>,
): StorageClients {
  return createStorageClients(
    {
      AzureWebJobsStorage: databases.storageConnectionString,
      AzureWebJobsStorage__accountName: undefined,
      AzureWebJobsStorage__blobServiceUri: undefined,
      AzureWebJobsStorage__queueServiceUri: undefined,
      AzureWebJobsStorage__clientId: undefined,
    },
    { clock: systemClock, random: Math.random, containerPrefix: `${databases.prefix}-` },
  );
}
