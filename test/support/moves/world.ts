import { createShardedDatabase } from '../../../src/database/sharded-database.ts';
import type { Shard, ShardedDatabase } from '../../../src/database/contracts.ts';
import { readFence } from '../../../src/database/ownership.ts';
import type { FenceState } from '../../../src/database/ownership.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { assertNever } from '../../../src/kernel/exhaustive.ts';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import { noopProbe } from '../../../src/kernel/probe.ts';
import type { Probe, ProbePoint } from '../../../src/kernel/probe.ts';
import { advanceMove } from '../../../src/rebalancing/advance.ts';
import type { Advance, AdvanceOptions } from '../../../src/rebalancing/advance.ts';
import type { Move } from '../../../src/rebalancing/model.ts';
import type { MoveServices } from '../../../src/rebalancing/session.ts';
import { createBucketMapCache } from '../../../src/storage/bucket-map-cache.ts';
import { createBucketMapStore } from '../../../src/storage/bucket-map-store.ts';
import { createTestDatabases } from '../cluster.ts';
import type { TestDatabases } from '../cluster.ts';
import { createMemoryBlobs } from '../memory-blobs.ts';
import type { MemoryBlobs } from '../memory-blobs.ts';
import { createMemoryControl } from '../memory-control.ts';
import { createRecordingLogger } from '../recording-logger.ts';
import type { RecordingLogger } from '../recording-logger.ts';
import { testConfig } from '../test-database.ts';

/** Three shards, a map and certificates in memory, and instances of the application that move and write buckets. */
export interface MoveWorld {
  readonly databases: TestDatabases;
  readonly blobs: MemoryBlobs;
  readonly services: MoverServices;
  /** Another instance: its own connections and its own cached map. */
  instance(probe?: Probe): MoverServices;
  on<T>(shard: number, run: (shard: Shard) => Promise<T>): Promise<T>;
  ownership(bucket: BucketId): Promise<readonly FenceState[]>;
  drop(): Promise<void>;
}

export type MoverServices = MoveServices & {
  readonly database: ShardedDatabase;
  readonly logger: RecordingLogger;
};

const PATIENT = { deadlineMs: 30_000 };

export async function createMoveWorld(): Promise<MoveWorld> {
  const databases = await createTestDatabases();
  const config = testConfig(databases);
  const control = createMemoryControl();
  const blobs = createMemoryBlobs();
  const opened: ShardedDatabase[] = [];
  const instance = (probe: Probe = noopProbe): MoverServices => {
    const logger = createRecordingLogger();
    const tools = { clock: systemClock, random: Math.random, logger };
    const store = createBucketMapStore({
      ...tools,
      blobs: control.blobs,
      list: control.list,
      shardNames: config.SHARDS.map((shard) => shard.name),
      newClusterId: () => 'test',
    });
    const bucketMap = createBucketMapCache({ ...tools, store, cacheMs: 60_000 });
    const database = createShardedDatabase({ ...tools, config, bucketMap });
    opened.push(database);
    return { database, bucketMap, bucketMapStore: store, blobs, clock: systemClock, logger, probe };
  };
  const services = instance();
  await services.database.prewarm();
  const on = <T>(shard: number, run: (shard: Shard) => Promise<T>): Promise<T> =>
    services.database.onShard(shard as ShardId, run, PATIENT);
  return {
    databases,
    blobs,
    services,
    instance,
    on,
    ownership: (bucket) =>
      Promise.all([0, 1, 2].map((shard) => on(shard, (one) => readFence(one, bucket)))),
    drop: async () => {
      await Promise.all(opened.map((database) => database.close()));
      await databases.drop();
    },
  };
}

/** Thrown at a probe point in place of the end of the process. */
export class Killed extends Error {}

/**
 * A process that dies when it comes to `point` for the `nth` time: that call throws, and so does every later one, so that
 * nothing which a dead process could not do is done.
 */
export function deadAt(point: ProbePoint, nth = 1): Probe & { readonly dead: boolean } {
  let times = 0;
  let dead = false;
  return {
    get dead() {
      return dead;
    },
    reach: (reached) => {
      if (reached === point) times += 1;
      dead ||= times >= nth;
      if (dead) throw new Killed(`killed at ${point}`);
    },
  };
}

/** An instance's stop at a point: `reached` when it is there, and it goes on when it is let go. */
export interface Hold {
  readonly probe: Probe;
  readonly reached: Promise<void>;
  readonly letGo: () => void;
}

export function heldAt(point: ProbePoint): Hold {
  let arrive = (): void => undefined;
  let letGo = (): void => undefined;
  const reached = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const released = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const probe: Probe = {
    reach: async (at) => {
      if (at !== point) return;
      arrive();
      await released;
    },
  };
  return { probe, reached, letGo: () => letGo() };
}

/** Small slices and chunks, so that small buckets have many. */
export const SMALL: AdvanceOptions = { sliceMs: 30_000, chunkRows: 200, holdMs: 2_000 };

/** Advances a move until it is done, stuck or held up; gives all its steps. */
export async function runMove(
  services: MoveServices,
  move: Move,
  options: AdvanceOptions = SMALL,
): Promise<readonly Advance[]> {
  const steps: Advance[] = [];
  while (steps.length < 200) {
    const advance = await advanceMove(services, move, options);
    steps.push(advance);
    if (isEnd(advance)) return steps;
  }
  throw new Error(`the move does not end: ${steps.map(({ step }) => step).join(' ')}`);
}

function isEnd(advance: Advance): boolean {
  switch (advance.step) {
    case 'done':
    case 'stuck':
      return true;
    case 'switch':
      return advance.outcome.kind === 'too-long';
    case 'prepare':
      return advance.outcome.kind === 'obstacle';
    case 'cancel':
      return advance.outcome.kind === 'cancelled';
    case 'copy':
    case 'await-fence':
    case 'finish':
      return false;
    default:
      return assertNever(advance);
  }
}
