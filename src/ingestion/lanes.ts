import type { ChunkRef, ChunkResult, LaneState, LaneWork } from './contracts.ts';
import { NO_COUNTS, addCounts, type Counts } from './model.ts';

/** The figures of one chunk written on `shard`. */
export function chunkCounts(shard: number, result: ChunkResult): Counts {
  const { inserted, duplicates, conflicts, rejected } = result;
  const perShard = inserted > 0 ? [{ shard, inserted }] : [];
  return { inserted, duplicates, conflicts, rejected, perShard };
}

/**
 * Lanes for a plan: one per shard while there are not more shards than chunks may run at once, otherwise that many
 * lanes with the shards dealt out. `width` chunks of each lane run at once.
 */
export function planLanes(
  shards: readonly { readonly shard: number; readonly chunks: number }[],
  limits: { readonly maxChunks: number; readonly maxChunksPerShard: number },
): { readonly width: number; readonly lanes: readonly LaneState[] } {
  const count = Math.min(shards.length, limits.maxChunks);
  if (count === 0) return { width: 1, lanes: [] };
  const queues: LaneWork[][] = Array.from({ length: count }, () => []);
  shards.forEach(({ shard, chunks }, index) => {
    queues[index % count]?.push({ shard, from: 0, to: chunks });
  });
  const width = Math.min(
    limits.maxChunksPerShard,
    Math.max(1, Math.floor(limits.maxChunks / count)),
  );
  return {
    width,
    lanes: queues.map((queue) => ({
      queue,
      counts: NO_COUNTS,
      chunksDone: 0,
      failedWaves: 0,
      failingSinceMs: null,
    })),
  };
}

/** Takes the next chunks off the front of the queue, at most `width`. */
export function takeWave(
  queue: readonly LaneWork[],
  width: number,
): { readonly wave: readonly ChunkRef[]; readonly rest: readonly LaneWork[] } {
  const wave: ChunkRef[] = [];
  const rest: LaneWork[] = [];
  for (const work of queue) {
    if (wave.length >= width) {
      rest.push(work);
    } else if ('chunk' in work) {
      wave.push(work);
    } else {
      const to = Math.min(work.to, work.from + width - wave.length);
      for (let index = work.from; index < to; index++) {
        wave.push({ shard: work.shard, chunk: `${work.shard}/${index}` });
      }
      if (to < work.to) rest.push({ ...work, from: to });
    }
  }
  return { wave, rest };
}

/** How one chunk of a wave ended; without a result it is to be tried again. */
export interface WaveItem {
  readonly ref: ChunkRef;
  readonly result: ChunkResult | undefined;
}

/**
 * The lane after a wave: figures added, remainders queued, failed chunks at the end of the queue and with them all that
 * waits for the same shard, so that a shard that is away lets the others pass.
 */
export function applyWave(
  state: LaneState,
  rest: readonly LaneWork[],
  items: readonly WaveItem[],
  nowMs: number,
): LaneState {
  let counts = state.counts;
  const remainders: LaneWork[] = [];
  const failed: ChunkRef[] = [];
  for (const { ref, result } of items) {
    if (result === undefined) {
      failed.push(ref);
      continue;
    }
    counts = addCounts(counts, chunkCounts(ref.shard, result));
    if (result.remainder !== undefined) remainders.push(result.remainder);
  }
  const away = new Set(failed.map((ref) => ref.shard));
  const stuck = items.length > 0 && failed.length === items.length;
  return {
    queue: [
      ...rest.filter((work) => !away.has(work.shard)),
      ...remainders,
      ...rest.filter((work) => away.has(work.shard)),
      ...failed,
    ],
    counts,
    chunksDone: state.chunksDone + items.length - failed.length,
    failedWaves: stuck ? state.failedWaves + 1 : 0,
    failingSinceMs: stuck ? (state.failingSinceMs ?? nowMs) : null,
  };
}

/** Wait before the next wave after `failedWaves` in which nothing succeeded: 1 s doubling to a minute. */
export function lanePauseMs(failedWaves: number): number {
  return failedWaves === 0 ? 0 : Math.min(60_000, 1_000 * 2 ** Math.min(failedWaves - 1, 10));
}
