import { RetryableError } from '../../src/kernel/errors.ts';
import type { VersionedBlobs } from '../../src/storage/versioned-blobs.ts';
import type { WorkerLease, WorkerLeases } from '../../src/storage/worker-lease.ts';
import { settle } from './fake-clock.ts';
import type { FakeClock } from './fake-clock.ts';

/** The container `control` in memory, with switches for what can go wrong on the way to it. */
export interface MemoryControl {
  readonly blobs: VersionedBlobs;
  readonly list: (container: string, prefix: string, limit: number) => Promise<readonly string[]>;
  /** Name → text, as stored. */
  readonly texts: Map<string, string>;
  /** Called before each write; throw to fail it, or let it through. */
  beforeSwap: (name: string) => void;
  down: boolean;
  reads: number;
}

/** As the service: each write makes a new ETag, and every call gives others the chance to come between. */
export function createMemoryControl(): MemoryControl {
  const texts = new Map<string, string>();
  const etags = new Map<string, string>();
  let writes = 0;
  const reach = async (): Promise<void> => {
    await settle();
    if (control.down) throw RetryableError.storageUnavailable();
  };
  const control: MemoryControl = {
    texts,
    beforeSwap: () => undefined,
    down: false,
    reads: 0,
    list: async (_container, prefix, limit) => {
      await reach();
      return [...texts.keys()].filter((name) => name.startsWith(prefix)).slice(0, limit);
    },
    blobs: {
      read: async (name, knownEtag) => {
        control.reads += 1;
        await reach();
        const text = texts.get(name);
        const etag = etags.get(name);
        if (text === undefined || etag === undefined) return undefined;
        return etag === knownEtag ? 'unchanged' : { text, etag };
      },
      swap: async (name, text, etag) => {
        await reach();
        control.beforeSwap(name);
        if (etags.get(name) !== etag) return texts.get(name) === text ? etags.get(name) : undefined;
        writes += 1;
        texts.set(name, text);
        etags.set(name, `"${writes}"`);
        return `"${writes}"`;
      },
    },
  };
  return control;
}

interface Slot {
  holder: symbol | undefined;
  endsAtMs: number;
  promisedMs: number;
}

/** Worker numbers in memory: leases end by the service's own clock. */
export interface MemoryLeases extends WorkerLeases {
  down: boolean;
  /** Stored promise of a number. */
  promised(worker: number): number;
  /** Leaves a promise behind, as an earlier holder did. */
  leavePromise(worker: number, promisedMs: number): void;
  /** Ends the lease of a number at once, as breaking it does. */
  breakLease(worker: number): void;
}

export function createMemoryLeases(service: FakeClock): MemoryLeases {
  const slots = new Map<number, Slot>();
  const slotOf = (worker: number): Slot => {
    const slot = slots.get(worker) ?? { holder: undefined, endsAtMs: 0, promisedMs: 0 };
    slots.set(worker, slot);
    return slot;
  };
  const reach = async (): Promise<void> => {
    await Promise.resolve();
    if (leases.down) throw RetryableError.storageUnavailable();
  };
  const leaseOn = (worker: number, holder: symbol, leaseMs: number): WorkerLease => {
    const slot = slotOf(worker);
    const isHeld = (): boolean => slot.holder === holder;
    return {
      worker,
      promisedMs: slot.promisedMs,
      renew: async () => {
        await reach();
        if (isHeld()) slot.endsAtMs = service.monotonicMs() + leaseMs;
        return isHeld();
      },
      promise: async (issuedUntilMs) => {
        await reach();
        if (isHeld()) slot.promisedMs = issuedUntilMs;
        return isHeld();
      },
      release: async () => {
        await reach();
        if (isHeld()) slot.holder = undefined;
      },
    };
  };
  const leases: MemoryLeases = {
    down: false,
    promised: (worker) => slotOf(worker).promisedMs,
    leavePromise: (worker, promisedMs) => {
      slotOf(worker).promisedMs = promisedMs;
    },
    breakLease: (worker) => {
      slotOf(worker).holder = undefined;
    },
    tryAcquire: async (worker, leaseSeconds) => {
      await reach();
      const slot = slotOf(worker);
      if (slot.holder !== undefined && service.monotonicMs() < slot.endsAtMs) return undefined;
      const holder = Symbol(String(worker));
      slot.holder = holder;
      slot.endsAtMs = service.monotonicMs() + leaseSeconds * 1_000;
      return leaseOn(worker, holder, leaseSeconds * 1_000);
    },
  };
  return leases;
}
