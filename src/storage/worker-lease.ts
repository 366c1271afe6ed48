import { randomUUID } from 'node:crypto';
import { openOwnContainer } from './blob-container.ts';
import type { BlobContainer } from './blob-container.ts';
import type { StorageClients } from './clients.ts';
import { failedWith } from './storage-errors.ts';

/** One worker number, leased. */
export interface WorkerLease {
  readonly worker: number;
  /** Wall clock, milliseconds: what the last holder promised not to issue past; 0 when there was none. */
  readonly promisedMs: number;
  /** Renews the lease; false when it is lost for good. Throws `storage-unavailable` when that is not known. */
  renew(): Promise<boolean>;
  /** Stores the promise; false when the lease is lost for good. */
  promise(issuedUntilMs: number): Promise<boolean>;
  /** Gives the number back; losing it meanwhile is fine. */
  release(): Promise<void>;
}

/** Worker numbers as leases on blobs `control/workers/NNNN`, whose metadata keeps the holder's promise. */
export interface WorkerLeases {
  /** The lease of this number, or undefined when somebody else holds it. */
  tryAcquire(worker: number, leaseSeconds: number): Promise<WorkerLease | undefined>;
}

/** Metadata keys are HTTP headers: lower case, no separators. */
const PROMISE_KEY = 'issueduntilms';

const HELD_BY_ANOTHER = ['LeaseAlreadyPresent'] as const;
/** The service's words for "this lease id holds nothing here any more". */
const LEASE_LOST = [
  'LeaseIdMismatchWithLeaseOperation',
  'LeaseIdMismatchWithBlobOperation',
  'LeaseNotPresentWithLeaseOperation',
  'LeaseNotPresentWithBlobOperation',
  'LeaseLost',
  'LeaseAlreadyPresent',
  'LeaseIsBrokenAndCannotBeRenewed',
  'BlobNotFound',
  'ContainerNotFound',
] as const;

export function createWorkerLeases(clients: StorageClients): WorkerLeases {
  const container = openOwnContainer(clients, 'control');

  const acquire = async (name: string, leaseId: string, seconds: number): Promise<boolean> => {
    const attempt = () =>
      container.write(
        'lease.acquire',
        (client, abortSignal) =>
          client
            .getBlobClient(name)
            .getBlobLeaseClient(leaseId)
            .acquireLease(seconds, { abortSignal }),
        [...HELD_BY_ANOTHER, 'BlobNotFound'],
      );
    try {
      await attempt();
    } catch (error) {
      if (failedWith(error, ...HELD_BY_ANOTHER)) return false;
      if (!failedWith(error, 'BlobNotFound')) throw error;
      await createBlob(name);
      return acquire(name, leaseId, seconds);
    }
    return true;
  };

  const createBlob = async (name: string): Promise<void> => {
    const taken = ['BlobAlreadyExists', 'ConditionNotMet', 'LeaseIdMissing'];
    try {
      await container.write(
        'lease.create',
        (client, abortSignal) =>
          client.getBlockBlobClient(name).upload('', 0, {
            abortSignal,
            conditions: { ifNoneMatch: '*' },
            metadata: { [PROMISE_KEY]: '0' },
          }),
        taken,
      );
    } catch (error) {
      if (!failedWith(error, ...taken)) throw error;
    }
  };

  return {
    tryAcquire: async (worker, leaseSeconds) => {
      const name = `workers/${String(worker).padStart(4, '0')}`;
      const leaseId = randomUUID();
      if (!(await acquire(name, leaseId, leaseSeconds))) return undefined;
      const { promisedMs, etag } = await readPromise(container, name);
      return { worker, promisedMs, ...leaseCalls(container, name, { leaseId, etag }) };
    },
  };
}

async function readPromise(
  container: BlobContainer,
  name: string,
): Promise<{ readonly promisedMs: number; readonly etag: string }> {
  const properties = await container.read('lease.read', (client, abortSignal) =>
    client.getBlobClient(name).getProperties({ abortSignal }),
  );
  const promisedMs = Number(properties.metadata?.[PROMISE_KEY] ?? 0);
  return { promisedMs: Number.isFinite(promisedMs) ? promisedMs : 0, etag: properties.etag ?? '' };
}

function leaseCalls(
  container: BlobContainer,
  name: string,
  lease: { readonly leaseId: string; readonly etag: string },
): Pick<WorkerLease, 'renew' | 'promise' | 'release'> {
  const { leaseId } = lease;
  let { etag } = lease;
  const set = async (issuedUntilMs: number): Promise<void> => {
    const written = await container.read(
      'lease.promise',
      (client, abortSignal) =>
        client
          .getBlobClient(name)
          .setMetadata(
            { [PROMISE_KEY]: String(issuedUntilMs) },
            { abortSignal, conditions: { leaseId, ifMatch: etag } },
          ),
      [...LEASE_LOST, 'ConditionNotMet'],
    );
    etag = written.etag ?? '';
  };
  /**
   * Each write names the version it replaces, so that a try given up as timed out cannot arrive late and take
   * a promise back. When the version is another, the lost answer of such a try is the reason.
   */
  const storePromise = async (issuedUntilMs: number): Promise<void> => {
    try {
      await set(issuedUntilMs);
    } catch (error) {
      if (!failedWith(error, 'ConditionNotMet')) throw error;
      etag = (await readPromise(container, name)).etag;
      await set(issuedUntilMs);
    }
  };
  const unlessLost = async (call: Promise<unknown>): Promise<boolean> => {
    try {
      await call;
      return true;
    } catch (error) {
      if (failedWith(error, ...LEASE_LOST)) return false;
      throw error;
    }
  };
  return {
    renew: () =>
      unlessLost(
        container.read(
          'lease.renew',
          (client, abortSignal) =>
            client.getBlobClient(name).getBlobLeaseClient(leaseId).renewLease({ abortSignal }),
          LEASE_LOST,
        ),
      ),
    promise: (issuedUntilMs) => unlessLost(storePromise(issuedUntilMs)),
    release: async () => {
      await unlessLost(
        container.read(
          'lease.release',
          (client, abortSignal) =>
            client.getBlobClient(name).getBlobLeaseClient(leaseId).releaseLease({ abortSignal }),
          LEASE_LOST,
        ),
      );
    },
  };
}
