import type { Config } from './config.ts';
import type { ShardedDatabase } from './database/contracts.ts';
import type { Clock } from './kernel/clock.ts';
import type { Logger } from './kernel/logger.ts';
import type { Probe } from './kernel/probe.ts';
import type { BlobStore, BucketMapSource, IdGenerator, QueueStore } from './storage/contracts.ts';

/** Everything with a lifetime or an outside, passed as a parameter to whoever needs it. */
export interface Services {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly probe: Probe;
  readonly random: () => number;
  readonly bucketMap: BucketMapSource;
  readonly database: ShardedDatabase;
  readonly blobs: BlobStore;
  readonly queues: QueueStore;
  readonly ids: IdGenerator;
  close(): Promise<void>;
}
