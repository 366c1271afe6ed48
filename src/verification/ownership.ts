import { mapBounded } from '../kernel/bounded.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import { BUCKET_COUNT } from '../sharding/hash.ts';
import type { VerificationServices } from './pass.ts';
import { READ_ALL_OWNERSHIP } from './statements.ts';

/** One shard's word on one bucket. */
export interface Word {
  readonly shard: number;
  readonly bucket: number;
  readonly state: string;
  readonly epoch: number;
  /** Of a bucket that has gone: where to. */
  readonly movedTo: number | null;
}

/** What is to be said of one bucket. */
export interface BucketState {
  readonly bucket: number;
  /** Null when nobody owns it, or when it cannot be told who. */
  readonly owner: number | null;
  readonly fenced: boolean;
  /** The map says that it is being moved. */
  readonly moving: boolean;
  readonly problem: { readonly name: string; readonly detail: string } | null;
}

/**
 * Judges all buckets. A fenced bucket has its owner still. While the map lists a move of a bucket it may name the other
 * shard, and for a moment nobody owns it: the source has let it go and the target does not have it yet (ADR 0016). Shards
 * answer at different moments: a problem is a reason to look again.
 */
export function judgeOwnership(
  words: readonly Word[],
  map: Pick<BucketMap, 'assignment' | 'epochs' | 'moves'>,
): BucketState[] {
  const byBucket = new Map<number, Word[]>();
  for (const word of words) {
    const own = byBucket.get(word.bucket);
    if (own === undefined) byBucket.set(word.bucket, [word]);
    else own.push(word);
  }
  const moves = new Set(map.moves.map(({ bucket }) => bucket));
  return Array.from({ length: BUCKET_COUNT }, (_, bucket) => {
    const { owner, problem } = judgeOwner(byBucket.get(bucket) ?? []);
    const moving = moves.has(bucket);
    const fenced = owner?.state === 'fenced';
    const base = { bucket, owner: owner?.shard ?? null, fenced, moving };
    if (moving && problem?.name === 'no-owner') return { ...base, problem: null };
    if (owner === undefined || problem !== null || moving) return { ...base, problem };
    const [shard, epoch] = [map.assignment[bucket], map.epochs[bucket]];
    if (shard !== owner.shard) {
      const detail = `the map says shard ${shard}, shard ${owner.shard} owns it`;
      return { ...base, problem: { name: 'map-names-another-shard', detail } };
    }
    if (epoch !== owner.epoch) {
      const detail = `epoch ${epoch} in the map, ${owner.epoch} on shard ${owner.shard}`;
      return { ...base, problem: { name: 'map-names-another-epoch', detail } };
    }
    return { ...base, problem };
  });
}

const STATES: readonly string[] = ['owned', 'fenced', 'receiving', 'gone'];

function judgeOwner(words: readonly Word[]): {
  readonly owner: Word | undefined;
  readonly problem: BucketState['problem'];
} {
  const told = words.map(({ shard, state, epoch }) => `shard ${shard} ${state} at ${epoch}`);
  const wrong = (name: string, owner?: Word): ReturnType<typeof judgeOwner> => ({
    owner,
    problem: { name, detail: told.length === 0 ? 'no shard knows it' : told.join(', ') },
  });
  if (words.some(({ state }) => !STATES.includes(state))) return wrong('invalid-state');
  const owned = words.filter(({ state }) => state === 'owned');
  const fenced = words.filter(({ state }) => state === 'fenced');
  const [owner = fenced[0]] = owned;
  if (owner === undefined) return wrong('no-owner');
  const rivals = owned.length > 0 ? owned.length : fenced.length;
  if (rivals > 1) return wrong('several-owners');
  const late = words.some((word) => isLater(word, owner));
  return late ? wrong('epoch-is-not-the-highest', owner) : { owner, problem: null };
}

/** A former owner has a lower epoch; one that has let the bucket go carries the next owner's (ADR 0016). */
function isLater(word: Word, owner: Word): boolean {
  if (word === owner) return false;
  if (word.state === 'fenced') return word.epoch >= owner.epoch;
  if (word.state !== 'gone') return false;
  return word.epoch > owner.epoch || (word.epoch === owner.epoch && word.movedTo !== owner.shard);
}

/** The words of all shards and the map of now. Throws `shard-unavailable` when one does not answer. */
export async function readOwnership(services: VerificationServices): Promise<BucketState[]> {
  const { config, database, bucketMap } = services;
  const limit = { deadlineMs: config.VERIFY_DEADLINE_MS };
  const words = await mapBounded(
    database.shardIds(),
    config.VERIFY_MAX_SHARDS_AT_ONCE,
    async (shard) => {
      const rows = await database.onShard(
        shard,
        (each) => each.query(READ_ALL_OWNERSHIP, []),
        limit,
      );
      return rows.map((row): Word => ({
        shard,
        bucket: Number(row['bucket']),
        state: String(row['state']),
        epoch: Number(row['epoch']),
        movedTo: row['moved_to'] === null ? null : Number(row['moved_to']),
      }));
    },
  );
  return judgeOwnership(words.flat(), await bucketMap.refresh());
}
