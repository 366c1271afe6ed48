import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LocalShardsError } from '../errors.ts';
import { startDetached, startFailed } from './detached.ts';
import { LOOPBACK } from './ports.ts';
import { findByArguments, isAlive, type ProcessIdentity } from './process-identity.ts';

/** The emulator's fixed development account and key, published by Microsoft. */
const ACCOUNT = 'devstoreaccount1';
const ACCOUNT_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 50;

export interface StoragePorts {
  readonly blob: number;
  readonly queue: number;
  readonly table: number;
}

export interface AzuriteOptions {
  /** Folder of the emulator alone. */
  readonly folder: string;
  readonly ports: StoragePorts;
}

/** Connection string of an emulator on these ports. */
export function storageConnectionString(ports: StoragePorts): string {
  const endpoint = (port: number): string => `http://${LOOPBACK}:${port}/${ACCOUNT};`;
  return `DefaultEndpointsProtocol=http;AccountName=${ACCOUNT};AccountKey=${ACCOUNT_KEY};BlobEndpoint=${endpoint(ports.blob)}QueueEndpoint=${endpoint(ports.queue)}TableEndpoint=${endpoint(ports.table)}`;
}

/** An emulator of this folder that runs although nobody recorded it. */
export function findRunningAzurite(folder: string): ProcessIdentity | undefined {
  return findByArguments([azuriteScript(), locationArgument(folder)]);
}

/** Starts the emulator of blobs, queues and tables. Does not wait for it to serve. */
export async function launchAzurite(options: AzuriteOptions): Promise<ProcessIdentity> {
  const data = dataFolder(options.folder);
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const { blob, queue, table } = options.ports;
  const listening = Object.entries({ blob, queue, table }).flatMap(([service, port]) => [
    `--${service}Host`,
    LOOPBACK,
    `--${service}Port`,
    String(port),
  ]);
  return startDetached({
    command: [
      process.execPath,
      azuriteScript(),
      ...listening,
      locationArgument(options.folder),
      // Newer SDKs speak newer API versions than the emulator knows, with nothing we use changed.
      '--skipApiVersionCheck',
      '--loose',
      '--silent',
      '--disableTelemetry',
    ],
    cwd: options.folder,
    logFile: join(options.folder, 'azurite.log'),
  });
}

/** Waits until all three services answer. Throws {@link LocalShardsError} when they do not. */
export async function waitUntilStorageServes(
  options: AzuriteOptions,
  identity: ProcessIdentity,
): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  const { blob, queue, table } = options.ports;
  for (const port of [blob, queue, table]) {
    while (!(await answersHttp(port))) {
      const logFile = join(options.folder, 'azurite.log');
      if (!isAlive(identity)) throw startFailed('Azurite', logFile);
      if (performance.now() > deadline) {
        throw new LocalShardsError(`Azurite does not answer on port ${port}. Its log: ${logFile}`);
      }
      await sleep(READY_POLL_MS);
    }
  }
}

/** The argument by which a running emulator of this folder is recognised. */
export function locationArgument(folder: string): string {
  return `--location=${dataFolder(folder)}`;
}

function dataFolder(folder: string): string {
  return join(folder, 'data');
}

function azuriteScript(): string {
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve('azurite/package.json')), 'dist/src/azurite.js');
}

/** Any answer will do: without a signature it is a refusal. */
async function answersHttp(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://${LOOPBACK}:${port}/${ACCOUNT}`, {
      signal: AbortSignal.timeout(2_000),
    });
    await response.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
