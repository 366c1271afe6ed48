import { BUCKET_COUNT } from '../sharding/hash.ts';
import type { Chunk } from './model.ts';

/** All buckets of each shard, also those it does not own: rows without an owner may lie there. */
export function planChunks(shards: readonly number[], chunkBuckets: number): Chunk[] {
  return shards.flatMap((shard) =>
    Array.from({ length: Math.ceil(BUCKET_COUNT / chunkBuckets) }, (_, index) => ({
      round: 0,
      shard,
      from: index * chunkBuckets,
      to: Math.min((index + 1) * chunkBuckets, BUCKET_COUNT) - 1,
    })),
  );
}

/** At most `limit` lanes; each shard is in one lane whole, so that lanes at once are shards at once. */
export function dealLanes(chunks: readonly Chunk[], limit: number): Chunk[][] {
  const shards = [...new Set(chunks.map(({ shard }) => shard))];
  const lanes = Array.from({ length: Math.min(limit, shards.length) }, (): Chunk[] => []);
  shards.forEach((shard, index) => {
    lanes[index % lanes.length]?.push(...chunks.filter((chunk) => chunk.shard === shard));
  });
  return lanes;
}

/** What one piece saw of the buckets of its chunk. */
export interface Coverage {
  readonly chunk: Chunk;
  /** Bucket and epoch, owned from the piece's beginning to its end. */
  readonly owned: readonly (readonly [number, number])[];
  readonly sums: readonly (readonly [number, number, string])[];
}

interface Seen {
  readonly epoch: number;
  readonly orders: number;
  readonly cents: bigint;
}

/**
 * The sums of each bucket that one chunk saw from beginning to end at one epoch; when two did, the later epoch's. `parts`
 * are all pieces of every chunk that is through.
 */
export function coveredBuckets(parts: readonly Coverage[]): ReadonlyMap<number, Seen> {
  const chunks = new Map<string, Coverage[]>();
  for (const part of parts) {
    const { round, shard, from, to } = part.chunk;
    const key = `${round}/${shard}/${from}/${to}`;
    chunks.set(key, [...(chunks.get(key) ?? []), part]);
  }
  const covered = new Map<number, Seen>();
  for (const pieces of chunks.values()) {
    for (const [bucket, seen] of seenByAll(pieces)) {
      const before = covered.get(bucket);
      if (before === undefined || seen.epoch > before.epoch) covered.set(bucket, seen);
    }
  }
  return covered;
}

function seenByAll(pieces: readonly Coverage[]): Map<number, Seen> {
  const seen = new Map<number, Seen>();
  const epochs = pieces.map(({ owned }) => new Map(owned));
  for (const [bucket, epoch] of epochs[0] ?? []) {
    if (!epochs.every((each) => each.get(bucket) === epoch)) continue;
    const sums = pieces.flatMap((piece) => piece.sums.filter(([own]) => own === bucket));
    seen.set(bucket, {
      epoch,
      orders: sums.reduce((sum, [, orders]) => sum + orders, 0),
      cents: sums.reduce((sum, [, , cents]) => sum + BigInt(cents), 0n),
    });
  }
  return seen;
}
