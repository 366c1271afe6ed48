import { QueueServiceClient, type QueueClient } from '@azure/storage-queue';
import type { Binding } from '../contracts.ts';
import { errorMessage, HostStartError } from '../app/errors.ts';
import { textOption } from '../app/indexing.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The name of the setting a binding's `connection` refers to. */
export function connectionName(binding: Binding): string {
  return textOption(binding, 'connection') || 'AzureWebJobsStorage';
}

/** The queue's name in lower case, as the host normalises it. */
export function queueName(binding: Binding): string {
  return textOption(binding, 'queueName').toLowerCase();
}

/** Opens queues of the accounts the app's bindings name; one client per account. */
export class QueueConnections {
  readonly #env: Environment;
  readonly #services = new Map<string, QueueServiceClient>();

  constructor(env: Environment) {
    this.#env = env;
  }

  /** Throws {@link HostStartError} when the connection's setting is absent or not a connection string. */
  queue(connection: string, name: string): QueueClient {
    return this.#service(connection).getQueueClient(name);
  }

  /** A key that is equal for two connections to the same account, so that outputs wake triggers. */
  account(connection: string): string {
    return this.#service(connection).url;
  }

  #service(connection: string): QueueServiceClient {
    const known = this.#services.get(connection);
    if (known !== undefined) return known;
    const service = this.#open(connection);
    this.#services.set(connection, service);
    return service;
  }

  #open(connection: string): QueueServiceClient {
    const setting = this.#connectionString(connection);
    try {
      // One retry only: the polling loop is itself a retry, and a queue output must fail its function.
      return QueueServiceClient.fromConnectionString(setting, {
        retryOptions: { maxTries: 2, tryTimeoutInMs: 30_000, retryDelayInMs: 100 },
      });
    } catch (error) {
      throw new HostStartError(
        `The setting "${connection}" is not a storage connection string: ${errorMessage(error)}`,
        error,
      );
    }
  }

  #connectionString(connection: string): string {
    const names = [`AzureWebJobs${connection}`, connection, `ConnectionStrings:${connection}`];
    for (const name of names) {
      const value = this.#env[name];
      if (value !== undefined && value !== '') return value;
    }
    const identity = Object.keys(this.#env).find((name) => name.startsWith(`${connection}__`));
    const hint =
      identity === undefined
        ? 'Set it, for Azurite to "UseDevelopmentStorage=true".'
        : `Identity-based settings (${identity}) do not work on the local host; give a connection string.`;
    throw new HostStartError(`The storage connection "${connection}" is not set. ${hint}`);
  }
}
