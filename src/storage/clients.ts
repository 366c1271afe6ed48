import type { BlobServiceClient } from '@azure/storage-blob';
import type { QueueServiceClient } from '@azure/storage-queue';
import type { Config } from '../config.ts';
import { backoffMs } from '../kernel/backoff.ts';
import type { BackoffPolicy } from '../kernel/backoff.ts';
import type { Clock } from '../kernel/clock.ts';
import { PermanentError } from '../kernel/errors.ts';
import { createCredential } from '../sign-in.ts';
import { isTransientStorageError, storageFailure, toStorageError } from './storage-errors.ts';

/** The settings that name the storage account, as the Functions host itself reads them. */
export type StorageSettings = Pick<
  Config,
  | 'AzureWebJobsStorage'
  | 'AzureWebJobsStorage__accountName'
  | 'AzureWebJobsStorage__blobServiceUri'
  | 'AzureWebJobsStorage__queueServiceUri'
  | 'AzureWebJobsStorage__clientId'
>;

/** Where the account is and how to sign in; pure, so that each combination of settings can be tested. */
export type StorageTarget =
  | { readonly kind: 'connection-string'; readonly connectionString: string }
  | {
      readonly kind: 'identity';
      readonly blobUri: string;
      readonly queueUri: string;
      /** Client id of a user-assigned identity; without it the system-assigned one, or the developer's sign-in. */
      readonly clientId: string | undefined;
    };

/**
 * A connection string wins, then the service URIs, then the account name (public cloud). Throws
 * `configuration-invalid` when the queue service cannot be known.
 */
export function resolveStorageTarget(settings: StorageSettings): StorageTarget {
  if (settings.AzureWebJobsStorage !== undefined) {
    return { kind: 'connection-string', connectionString: settings.AzureWebJobsStorage };
  }
  const account = settings.AzureWebJobsStorage__accountName;
  const serviceUri = (service: 'blob' | 'queue'): string => {
    const given =
      service === 'blob'
        ? settings.AzureWebJobsStorage__blobServiceUri
        : settings.AzureWebJobsStorage__queueServiceUri;
    if (given !== undefined) return given;
    if (account !== undefined) return `https://${account}.${service}.core.windows.net`;
    throw PermanentError.configuration([
      {
        path: `AzureWebJobsStorage__${service}ServiceUri`,
        message: `is missing: without AzureWebJobsStorage__accountName the URI of the ${service} service is expected`,
      },
    ]);
  };
  return {
    kind: 'identity',
    blobUri: serviceUri('blob'),
    queueUri: serviceUri('queue'),
    clientId: settings.AzureWebJobsStorage__clientId,
  };
}

/**
 * The clients and the one way to use them: {@link StorageClients.call} bounds each try and the number of
 * tries, and turns what the SDK throws into our errors. Both SDKs are loaded with the first use, which
 * keeps a third of a second each out of the cold start.
 */
export interface StorageClients {
  /** Begins the names of our containers; empty unless several clusters (or tests) share one account. */
  readonly containerPrefix: string;
  blobs(): Promise<BlobServiceClient>;
  queues(): Promise<QueueServiceClient>;
  /**
   * Runs `run` as often as `patience` (default `request`) allows, each time for at most {@link TRY_TIMEOUT_MS}; `run` must hand `signal` to
   * the SDK and be safe to repeat. Answers that are not transient (404, 409, 412 …) are thrown as the SDK threw
   * them when `answers` lists their code, else as `storage-unavailable`.
   */
  call<T>(
    operation: string,
    run: (signal: AbortSignal) => Promise<T>,
    answers?: readonly string[],
    patience?: Patience,
  ): Promise<T>;
}

/**
 * How long a call goes on trying while the account does not answer: `request` gives up within a second or two,
 * `stream` bridges a failover of some ten seconds rather than lose what was streamed so far.
 */
export type Patience = 'request' | 'stream';

const TRIES: Readonly<Record<Patience, number>> = { request: 4, stream: 14 };
/** Far above the service's usual milliseconds, far below what a caller waits for. */
const TRY_TIMEOUT_MS = 5_000;
const BETWEEN_TRIES: BackoffPolicy = { firstMs: 50, factor: 3, maxMs: 1_000 };

/** We retry ourselves, with a time limit per try and jitter: the SDK's policy has neither. */
const PIPELINE = {
  retryOptions: { maxTries: 1 },
  userAgentOptions: { userAgentPrefix: 'shardline' },
};

export function createStorageClients(
  settings: StorageSettings,
  tools: {
    readonly clock: Clock;
    readonly random: () => number;
    readonly containerPrefix?: string;
  },
): StorageClients {
  const target = resolveStorageTarget(settings);
  const credential = createCredential(target.kind === 'identity' ? target.clientId : undefined);
  const blobs = once(async () => {
    const sdk = await import('@azure/storage-blob');
    return target.kind === 'connection-string'
      ? sdk.BlobServiceClient.fromConnectionString(target.connectionString, PIPELINE)
      : new sdk.BlobServiceClient(target.blobUri, await credential(), PIPELINE);
  });
  const queues = once(async () => {
    const sdk = await import('@azure/storage-queue');
    return target.kind === 'connection-string'
      ? sdk.QueueServiceClient.fromConnectionString(target.connectionString, PIPELINE)
      : new sdk.QueueServiceClient(target.queueUri, await credential(), PIPELINE);
  });
  return {
    containerPrefix: tools.containerPrefix ?? '',
    blobs,
    queues,
    call: (operation, run, answers = [], patience = 'request') =>
      callWithRetry(tools, { operation, run, answers, tries: TRIES[patience] }),
  };
}

async function callWithRetry<T>(
  tools: { readonly clock: Clock; readonly random: () => number },
  options: {
    readonly operation: string;
    readonly run: (signal: AbortSignal) => Promise<T>;
    readonly answers: readonly string[];
    readonly tries: number;
  },
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await options.run(AbortSignal.timeout(TRY_TIMEOUT_MS));
    } catch (error) {
      if (!isTransientStorageError(error)) {
        const { code } = storageFailure(error);
        if (code !== undefined && options.answers.includes(code)) throw error;
        throw toStorageError(options.operation, error);
      }
      if (attempt === options.tries) throw toStorageError(options.operation, error);
      await tools.clock.sleep(backoffMs(BETWEEN_TRIES, attempt, tools.random));
    }
  }
}

/** Runs `make` at the first call only; a failure is not remembered, so that the next call tries again. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}
