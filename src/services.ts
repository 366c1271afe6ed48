import type { Config } from './config.ts';
import type { ShardedDatabase } from './database/contracts.ts';
import type { Clock } from './kernel/clock.ts';
import type { Logger } from './kernel/logger.ts';
import type { Probe } from './kernel/probe.ts';
import type { Telemetry } from './kernel/telemetry.ts';
import type { BucketMapStore } from './storage/bucket-map-store.ts';
import type { BlobStore, BucketMapSource, IdGenerator, QueueStore } from './storage/contracts.ts';
import type { VersionedBlobs } from './storage/versioned-blobs.ts';

/** Everything with a lifetime or an outside, passed as a parameter to whoever needs it. */
export interface Services {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly probe: Probe;
  readonly telemetry: Telemetry;
  readonly random: () => number;
  readonly bucketMap: BucketMapSource;
  /** The stored map, for who changes it. */
  readonly bucketMapStore: Pick<BucketMapStore, 'load' | 'replace'>;
  readonly database: ShardedDatabase;
  readonly blobs: BlobStore;
  /** Small documents in the container `control` that are changed by compare-and-set. */
  readonly control: VersionedBlobs;
  readonly queues: QueueStore;
  readonly ids: IdGenerator;
  close(): Promise<void>;
}
