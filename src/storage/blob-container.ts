import type { ContainerClient } from '@azure/storage-blob';
import type { Patience, StorageClients } from './clients.ts';
import type { ContainerName } from './contracts.ts';
import { failedWith } from './storage-errors.ts';

/** What the service says to a HEAD or GET of something that is not there. HEAD carries no body, hence no better code. */
export const NOT_THERE = ['BlobNotFound', 'ContainerNotFound', 'ResourceNotFound'] as const;

/** One container: how to call it, and that it exists before the first write. */
export interface BlobContainer {
  /** A call that reads; answers listed in `answers` are thrown as the SDK threw them. */
  read<T>(
    operation: string,
    run: (container: ContainerClient, signal: AbortSignal) => Promise<T>,
    answers?: readonly string[],
    patience?: Patience,
  ): Promise<T>;
  /** A call that writes: when there is no container, it is created and the call sent once more. */
  write<T>(
    operation: string,
    run: (container: ContainerClient, signal: AbortSignal) => Promise<T>,
    answers?: readonly string[],
    patience?: Patience,
  ): Promise<T>;
}

/** One of the product's own containers. */
export function openOwnContainer(clients: StorageClients, name: ContainerName): BlobContainer {
  return openContainer(clients, clients.containerPrefix + name);
}

/**
 * Containers are created when a write misses them rather than checked for at each start: no extra round
 * trip in the usual case, and a deleted container comes back by itself.
 */
export function openContainer(clients: StorageClients, name: string): BlobContainer {
  const read: BlobContainer['read'] = async (operation, run, answers, patience) => {
    const container = (await clients.blobs()).getContainerClient(name);
    return clients.call(operation, (signal) => run(container, signal), answers, patience);
  };
  return {
    read,
    write: async (operation, run, answers = [], patience = 'request') => {
      try {
        return await read(operation, run, [...answers, 'ContainerNotFound'], patience);
      } catch (error) {
        if (!failedWith(error, 'ContainerNotFound')) throw error;
        await read('container.create', (container, abortSignal) =>
          container.createIfNotExists({ abortSignal }),
        );
        return read(operation, run, answers, patience);
      }
    },
  };
}
