import { backoffMs } from '../kernel/backoff.ts';
import type { BackoffPolicy } from '../kernel/backoff.ts';
import type { Clock } from '../kernel/clock.ts';
import { BugError, PermanentError, RetryableError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { initialBucketMap, parseBucketMap, reconcileShards } from '../sharding/bucket-map.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import type { BlobStore } from './contracts.ts';
import type { VersionedBlobs } from './versioned-blobs.ts';

export const MAP_BLOB = 'bucket-map.json';
const HISTORY_PREFIX = 'history/';

/** Name of the blob that keeps one version for ever. Padded, so that names sort like versions. */
export function historyBlob(version: number): string {
  return `${HISTORY_PREFIX}${String(version).padStart(10, '0')}.json`;
}

/** A map and the ETag of the blob version it was read from. */
export interface StoredBucketMap {
  readonly map: BucketMap;
  readonly etag: string;
}

/**
 * The bucket map in the storage account: one live blob changed by compare-and-set, and every version in the
 * history. All calls throw `storage-unavailable` (retryable) when the account does not answer, and
 * `configuration-invalid` (permanent) when the stored map is damaged or contradicts `SHARDS`.
 */
export interface BucketMapStore {
  /**
   * The live map, reconciled with `SHARDS`: created when there is none, extended by new shards at the end of
   * `SHARDS`. However many instances start together, one map is created and one extension made; all get that one.
   */
  load(): Promise<StoredBucketMap>;
  /** As {@link load}; returns `known` itself, by a conditional read, when nothing changed. */
  reload(known: StoredBucketMap): Promise<StoredBucketMap>;
  /**
   * Replaces exactly the version `current` by `next`, whose version must be one higher (else BugError). Undefined
   * when the live map is another by now: load again, decide again. `next` must differ from what any other
   * writer could propose (its `updatedAt` and content do that), which makes a repeat after a lost answer safe.
   */
  replace(current: StoredBucketMap, next: BucketMap): Promise<StoredBucketMap | undefined>;
  /** A version as it was, also the live one; undefined when there never was one. */
  version(version: number): Promise<BucketMap | undefined>;
}

export interface BucketMapStoreOptions {
  readonly blobs: VersionedBlobs;
  readonly list: BlobStore['list'];
  /** Position = shard id. */
  readonly shardNames: readonly string[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Makes the id of a new cluster. */
  readonly newClusterId: () => string;
}

/** Instances that start together settle in one or two rounds; more means something else is rewriting the map. */
const RECONCILE_ROUNDS = 20;
const BETWEEN_ROUNDS: BackoffPolicy = { firstMs: 20, factor: 2, maxMs: 500 };

export function createBucketMapStore(options: BucketMapStoreOptions): BucketMapStore {
  const { blobs } = options;

  const readLive = async (): Promise<StoredBucketMap | undefined> => {
    const stored = await blobs.read(MAP_BLOB);
    if (stored === undefined || stored === 'unchanged') return undefined;
    return { map: parseBucketMap(stored.text), etag: stored.etag };
  };

  /**
   * The history is complete because a version is copied there before it can be replaced: the copy is made
   * from what was read under the ETag that the swap then demands, so a crash at any point leaves each version
   * either live or copied. The new version is copied right after as well, so that the history usually
   * holds the live one too. Copies of one version are equal, whoever writes them.
   */
  const keep = async (map: BucketMap): Promise<void> => {
    await blobs.swap(historyBlob(map.version), JSON.stringify(map), undefined);
  };

  const replace: BucketMapStore['replace'] = async (current, next) => {
    if (next.version !== current.map.version + 1) {
      throw new BugError(`map version ${next.version} cannot follow ${current.map.version}`);
    }
    await keep(current.map);
    const text = JSON.stringify(next);
    parseBucketMap(text);
    const etag = await blobs.swap(MAP_BLOB, text, current.etag);
    if (etag === undefined) return undefined;
    await keep(next);
    return { map: next, etag };
  };

  const settle = async (found: StoredBucketMap | undefined): Promise<StoredBucketMap> => {
    let live = found;
    for (let round = 1; round <= RECONCILE_ROUNDS; round += 1) {
      live ??= (await readLive()) ?? (await createInitial(options, keep));
      const settled = live && (await reconcile(live, options, replace));
      if (settled !== undefined) return settled;
      live = undefined;
      await options.clock.sleep(backoffMs(BETWEEN_ROUNDS, round, options.random));
    }
    throw new RetryableError('conflict', 'The bucket map is being changed by others all the time.');
  };

  return {
    load: () => settle(undefined),
    reload: async (known) => {
      const stored = await blobs.read(MAP_BLOB, known.etag);
      if (stored === 'unchanged') return known;
      if (stored === undefined) return settle(undefined);
      return settle({ map: parseBucketMap(stored.text), etag: stored.etag });
    },
    replace,
    version: async (version) => {
      const stored = await blobs.read(historyBlob(version));
      if (stored !== undefined && stored !== 'unchanged') return parseBucketMap(stored.text);
      const live = await readLive();
      return live?.map.version === version ? live.map : undefined;
    },
  };
}

/** The first map, or undefined when another instance created it first. */
async function createInitial(
  options: BucketMapStoreOptions,
  keep: (map: BucketMap) => Promise<void>,
): Promise<StoredBucketMap | undefined> {
  const past = await options.list('control', HISTORY_PREFIX, 1);
  if (past.length > 0) return refuseSecondFirst(options);
  const map = initialBucketMap({
    clusterId: options.newClusterId(),
    shardNames: options.shardNames,
    updatedAt: new Date(options.clock.nowMs()).toISOString(),
  });
  const etag = await options.blobs.swap(MAP_BLOB, JSON.stringify(map), undefined);
  if (etag === undefined) return undefined;
  options.logger.log('info', 'sharding.bucket_map_created', { shards: map.shards.length });
  await keep(map);
  return { map, etag };
}

/**
 * A history without a live map: either the map was deleted, and a new one would route to shards that know
 * another cluster, or another instance created both between our two reads.
 */
async function refuseSecondFirst(options: BucketMapStoreOptions): Promise<undefined> {
  if ((await options.blobs.read(MAP_BLOB)) !== undefined) return undefined;
  throw new PermanentError(
    'configuration-invalid',
    `The bucket map (control/${MAP_BLOB}) is gone but its history is there. Copy the newest blob of control/${HISTORY_PREFIX} back; delete the history only if the shards are empty.`,
  );
}

/** The map as it may be used, or undefined when it was changed meanwhile. */
async function reconcile(
  live: StoredBucketMap,
  options: BucketMapStoreOptions,
  replace: BucketMapStore['replace'],
): Promise<StoredBucketMap | undefined> {
  const updatedAt = new Date(options.clock.nowMs()).toISOString();
  const outcome = reconcileShards(live.map, options.shardNames, updatedAt);
  if (outcome.kind === 'same') return live;
  if (outcome.kind === 'contradiction') {
    throw PermanentError.configuration(
      outcome.problems.map((message) => ({ path: 'SHARDS', message })),
    );
  }
  const extended = await replace(live, outcome.map);
  if (extended !== undefined) {
    options.logger.log('info', 'sharding.bucket_map_extended', {
      version: extended.map.version,
      shards: extended.map.shards.length,
    });
  }
  return extended;
}
