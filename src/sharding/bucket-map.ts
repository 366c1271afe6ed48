import { z } from 'zod';
import { PermanentError } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { BUCKET_COUNT } from './hash.ts';

/** Bounded so that a fan-out over all shards, and the map itself, stay bounded (DESIGN I6). */
export const MAX_SHARDS = 256;

const shardEntry = z.strictObject({
  id: z
    .int()
    .min(0)
    .max(MAX_SHARDS - 1),
  name: z.string().min(1).max(64),
  /** `new`: listed in SHARDS, owns nothing yet; `draining`/`drained`: being emptied / emptied for good. */
  state: z.enum(['active', 'new', 'draining', 'drained']),
});

const bucketMove = z.strictObject({
  bucket: z
    .int()
    .min(0)
    .max(BUCKET_COUNT - 1),
  from: z.int().min(0),
  to: z.int().min(0),
});

const bucketMapSchema = z.strictObject({
  formatVersion: z.literal(1),
  /** Made with the first map; every shard keeps it too, so that a shard of another cluster is noticed. */
  clusterId: z.string().min(1),
  /** +1 with each change; the history keeps every version. */
  version: z.int().min(1),
  shards: z.array(shardEntry).min(1).max(MAX_SHARDS),
  /** Index = bucket, value = id of the shard that owns it. */
  assignment: z.array(z.int().min(0)).length(BUCKET_COUNT),
  /** Index = bucket; 1 at first, +1 with each change of owner. */
  epochs: z.array(z.int().min(1)).length(BUCKET_COUNT),
  /** Moves under way. */
  moves: z.array(bucketMove).max(BUCKET_COUNT),
  updatedAt: z.string(),
});

/**
 * Which shard owns which bucket. An immutable value: a change makes a new one with the next version.
 * It is a hint for routing only; the owner is decided by the shard's own `bucket_ownership` row (I1).
 */
export type BucketMap = z.infer<typeof bucketMapSchema>;
export type ShardEntry = BucketMap['shards'][number];

/** Parses a stored map. Throws `configuration-invalid` naming what is wrong; a retry does not help. */
export function parseBucketMap(text: string): BucketMap {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new PermanentError('configuration-invalid', 'The stored bucket map is not JSON.', {
      cause,
    });
  }
  const parsed = bucketMapSchema.safeParse(json);
  if (!parsed.success) {
    throw new PermanentError(
      'configuration-invalid',
      `The stored bucket map is not valid: ${z.prettifyError(parsed.error)}`,
    );
  }
  const owners = new Set(parsed.data.shards.map((shard) => shard.id));
  const stray = parsed.data.assignment.findIndex((owner) => !owners.has(owner));
  if (stray !== -1) {
    throw new PermanentError(
      'configuration-invalid',
      `The stored bucket map gives bucket ${stray} to shard ${parsed.data.assignment[stray]}, which it does not list.`,
    );
  }
  return parsed.data;
}

/** The first map of a cluster: bucket i on shard i mod N, all epochs 1, version 1. */
export function initialBucketMap(options: {
  readonly clusterId: string;
  readonly shardNames: readonly string[];
  readonly updatedAt: string;
}): BucketMap {
  const count = options.shardNames.length;
  return {
    formatVersion: 1,
    clusterId: options.clusterId,
    version: 1,
    shards: options.shardNames.map((name, id) => ({ id, name, state: 'active' })),
    assignment: Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket % count),
    epochs: Array.from({ length: BUCKET_COUNT }, () => 1),
    moves: [],
    updatedAt: options.updatedAt,
  };
}

export type Reconciliation =
  | { readonly kind: 'same' }
  /** `SHARDS` lists shards that the map does not know: `map` is the next version with them as `new`. */
  | { readonly kind: 'extended'; readonly map: BucketMap }
  /** `SHARDS` cannot belong to this map; the app must not start. */
  | { readonly kind: 'contradiction'; readonly problems: readonly string[] };

/**
 * Compares the configured shards (position = id) with the map. New names at the end extend the map;
 * a reordered, renamed or missing shard that still matters is a contradiction, because routing by
 * position would read and write the wrong server.
 */
export function reconcileShards(
  map: BucketMap,
  shardNames: readonly string[],
  updatedAt: string,
): Reconciliation {
  const problems: string[] = [];
  for (const shard of map.shards) {
    const configured = shardNames[shard.id];
    if (configured === undefined) {
      const owned = map.assignment.filter((owner) => owner === shard.id).length;
      if (owned > 0) {
        problems.push(
          `shard ${shard.id} ("${shard.name}") owns ${owned} buckets but is missing from SHARDS; put it back, or drain it before removing it`,
        );
      }
    } else if (configured !== shard.name) {
      problems.push(
        `position ${shard.id} of SHARDS is "${configured}" but the bucket map (version ${map.version}) knows it as "${shard.name}"; shards must keep their name and position, new ones go to the end`,
      );
    }
  }
  if (problems.length > 0) return { kind: 'contradiction', problems };
  const known = map.shards.length;
  const added = shardNames.slice(known);
  if (added.length === 0) return { kind: 'same' };
  const entries = added.map((name, index): ShardEntry => ({
    id: known + index,
    name,
    state: 'new',
  }));
  return {
    kind: 'extended',
    map: { ...map, version: map.version + 1, shards: [...map.shards, ...entries], updatedAt },
  };
}

/** Buckets that `shard` owns by this map, ascending. */
export function bucketsOf(map: BucketMap, shard: ShardId): BucketId[] {
  const buckets: BucketId[] = [];
  map.assignment.forEach((owner, bucket) => {
    if (owner === shard) buckets.push(bucket as BucketId);
  });
  return buckets;
}

/**
 * The next version of the map with a bucket on another shard at the epoch at which that shard owns it, or undefined when
 * the map knows of that change, or of a later one. A shard that was `new` is `active` with its first bucket; the note of
 * the move under way goes. Pure.
 */
export function assignBucket(
  map: BucketMap,
  change: {
    readonly bucket: BucketId;
    readonly to: ShardId;
    readonly epoch: number;
    readonly updatedAt: string;
  },
): BucketMap | undefined {
  const { bucket, to, epoch, updatedAt } = change;
  if ((map.epochs[bucket] ?? 0) >= epoch) return undefined;
  return {
    ...map,
    version: map.version + 1,
    shards: map.shards.map((shard) =>
      shard.id === to && shard.state === 'new' ? { ...shard, state: 'active' } : shard,
    ),
    assignment: map.assignment.with(bucket, to),
    epochs: map.epochs.with(bucket, epoch),
    moves: map.moves.filter((move) => move.bucket !== bucket || move.to !== to),
    updatedAt,
  };
}
