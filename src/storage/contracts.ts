import type { Readable } from 'node:stream';
import type { OrderId, UserId } from '../kernel/ids.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';

/** Blob containers of the product, all in the account of `AzureWebJobsStorage`; created on first use. */
export type ContainerName = 'control' | 'ingestions' | 'maintenance' | 'reports' | 'verifications';

export interface UploadLimits {
  readonly maxBytes: number;
}

/** A part of a blob, in bytes. */
export interface BlobSpan {
  readonly from: number;
  readonly bytes: number;
}

/** Blobs by container and name. Every call throws `storage-unavailable` (retryable) when the account does not answer. */
export interface BlobStore {
  /** Streams `source` into a new or overwritten blob without holding it in memory. Throws `payload-too-large` past the limit, leaving no blob. */
  upload(
    container: ContainerName,
    name: string,
    source: Readable,
    limits: UploadLimits,
  ): Promise<{ readonly bytes: number; readonly sha256: string }>;
  /** Overwrites a small blob. */
  write(container: ContainerName, name: string, text: string): Promise<void>;
  /** Writes only when there is no such blob; false when there is one. */
  create(container: ContainerName, name: string, text: string): Promise<boolean>;
  /** Text of a small blob (at most `maxBytes`, default 8 MiB), or undefined when there is none. */
  read(container: ContainerName, name: string, maxBytes?: number): Promise<string | undefined>;
  /**
   * A stream of the blob, or undefined when there is none; resumes by itself after a broken connection. With `span`
   * only that part of it, which must begin within it: `bytes` from `from` on, or fewer where the blob ends.
   */
  open(container: ContainerName, name: string, span?: BlobSpan): Promise<Readable | undefined>;
  /** As {@link open}, for a container that the caller named (queue messages `{blob: "container/name"}`). */
  openForeign(container: string, name: string): Promise<Readable | undefined>;
  delete(container: ContainerName, name: string): Promise<void>;
  /** Names with the prefix, at most `limit`. */
  list(container: ContainerName, prefix: string, limit: number): Promise<readonly string[]>;
  /** As {@link list}, with the time of the last write by the account's clock, milliseconds since 1970. */
  listDated(container: ContainerName, prefix: string, limit: number): Promise<readonly DatedName[]>;
}

export interface DatedName {
  readonly name: string;
  readonly writtenAtMs: number;
}

export interface QueueMessage {
  readonly id: string;
  readonly text: string;
  readonly insertedAt: string;
  readonly dequeueCount: number;
}

/** Storage queues of the same account, base64 messages (the Functions default). */
export interface QueueStore {
  /** `visibleInSeconds` 0 … 604 800. Creates the queue when missing. At most 48 KiB of text. */
  send(
    queue: string,
    text: string,
    options?: { readonly visibleInSeconds?: number },
  ): Promise<void>;
  /** Looks at up to 32 messages without taking them. */
  peek(queue: string, count: number): Promise<readonly QueueMessage[]>;
  /** Approximate number of messages; 0 when the queue does not exist. */
  length(queue: string): Promise<number>;
  /**
   * Sends up to `max` messages of `from` to `to`, each put there before it is deleted here: a crash between
   * doubles a message, never loses one. Returns how many.
   */
  move(from: string, to: string, max: number): Promise<number>;
}

/** The bucket map as this instance sees it. */
export interface BucketMapSource {
  /** The cached map, refreshed by conditional GET when older than the cache time; loads (or creates) it on first use. */
  current(): Promise<BucketMap>;
  /** Reads the blob now. One read serves all callers who ask at once. */
  refresh(): Promise<BucketMap>;
  /** The cached map's version and age for health and logs; undefined before the first load. */
  cached(): { readonly map: BucketMap; readonly ageMs: number } | undefined;
}

/** Issues ids under a leased worker number. Throws `storage-unavailable` when no lease can be had or it was lost. */
export interface IdGenerator {
  nextUserId(): Promise<UserId>;
  nextOrderId(): Promise<OrderId>;
}
