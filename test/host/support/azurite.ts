import { join } from 'node:path';
import { QueueServiceClient } from '@azure/storage-queue';
import { startChild, type Child } from './child.ts';

/** The well-known account of every Azurite; it protects nothing. */
const ACCOUNT_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

const MAIN = join(import.meta.dirname, '../../../node_modules/azurite/dist/src/queue/main.js');

export interface Azurite extends Child {
  readonly connectionString: string;
  readonly queues: QueueServiceClient;
}

/** Starts a real Azurite queue service in memory on a free loopback port. */
export async function startAzurite(): Promise<Azurite> {
  const child = startChild(
    process.execPath,
    [
      MAIN,
      '--queueHost',
      '127.0.0.1',
      '--queuePort',
      '0',
      '--inMemoryPersistence',
      '--skipApiVersionCheck',
      '--silent',
      '--disableTelemetry',
    ],
    process.env,
  );
  const match = await child.waitFor(/successfully listens on (http:\/\/\S+)/);
  const endpoint = `${match[1] ?? ''}/devstoreaccount1`;
  const connectionString = `DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=${ACCOUNT_KEY};QueueEndpoint=${endpoint};`;
  return {
    ...child,
    connectionString,
    queues: QueueServiceClient.fromConnectionString(connectionString),
  };
}
