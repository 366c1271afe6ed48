import type { ChunkRef, ChunkResult, LaneState, LaneWork } from './contracts.ts';
import { NO_COUNTS, addCounts, type Counts, type Segment } from './model.ts';

/** The figures of one chunk written on `shard`. */
export function chunkCounts(shard: number, result: ChunkResult): Counts {
  const { inserted, duplicates, conflicts, rejected } = result;
  const perShard = inserted > 0 ? [{ shard, inserted }] : [];
  return { inserted, duplicates, conflicts, rejected, perShard };
}

/** All chunks of a segment, per shard. */
export function segmentWork(
  index: number,
  { prefix, shards }: Pick<Segment, 'prefix' | 'shards'>,
): LaneWork[] {
  return shards.map(({ shard, chunks }) => ({
    prefix,
    segment: index,
    shard,
    from: 0,
    to: chunks,
  }));
}

/**
 * Deals work out to lanes, each of which writes one chunk at a time: `maxChunksPerShard` lanes for each shard while
 * there are not more than `maxChunks` in all, otherwise as many as may run, with the shards dealt out.
 */
export function planLanes(
  work: readonly LaneWork[],
  limits: { readonly maxChunks: number; readonly maxChunksPerShard: number },
): readonly LaneState[] {
  const perShard = new Map<number, LaneWork[]>();
  for (const item of work) {
    const known = perShard.get(item.shard);
    if (known === undefined) perShard.set(item.shard, [item]);
    else known.push(item);
  }
  const shards = [...perShard.values()];
  const share = Math.floor(limits.maxChunks / shards.length);
  const queues =
    share === 0
      ? dealt(shards, limits.maxChunks)
      : shards.flatMap((items) => split(items, Math.min(limits.maxChunksPerShard, share)));
  return queues.map((queue) => ({
    queue,
    counts: NO_COUNTS,
    chunksDone: 0,
    failures: 0,
    failingSinceMs: null,
  }));
}

/** The next chunk of a queue; undefined when it is empty. */
export function takeNext(
  queue: readonly LaneWork[],
): { readonly ref: ChunkRef; readonly rest: readonly LaneWork[] } | undefined {
  const [first, ...rest] = queue;
  if (first === undefined) return undefined;
  if ('chunk' in first) return { ref: first, rest };
  const { prefix, segment, shard, from, to } = first;
  const ref = { prefix, shard, chunk: `${segment}/${shard}/${from}` };
  return { ref, rest: from + 1 < to ? [{ ...first, from: from + 1 }, ...rest] : rest };
}

/**
 * The lane after a chunk: figures added and a remainder queued; or, when it failed (without a result), the chunk at the
 * end of the queue and with it all that waits for the same shard, so that a shard that is away lets the others pass.
 */
export function afterChunk(
  state: LaneState,
  rest: readonly LaneWork[],
  done: { readonly ref: ChunkRef; readonly result: ChunkResult | undefined },
  nowMs: number,
): LaneState {
  const { ref, result } = done;
  if (result === undefined) {
    return {
      ...state,
      queue: [
        ...rest.filter((work) => work.shard !== ref.shard),
        ...rest.filter((work) => work.shard === ref.shard),
        ref,
      ],
      failures: state.failures + 1,
      failingSinceMs: state.failingSinceMs ?? nowMs,
    };
  }
  const { remainder } = result;
  return {
    queue: remainder === undefined ? rest : [...rest, { prefix: ref.prefix, ...remainder }],
    counts: addCounts(state.counts, chunkCounts(ref.shard, result)),
    chunksDone: state.chunksDone + 1,
    failures: 0,
    failingSinceMs: null,
  };
}

/** Whether the last try for each shard of the lane has failed, one after the other. */
export function isStuck({ queue, failures }: LaneState): boolean {
  return failures > 0 && failures >= new Set(queue.map((work) => work.shard)).size;
}

/** Wait before the next try of a lane that is stuck: 1 s doubling to a minute. */
export function lanePauseMs(failures: number): number {
  return Math.min(60_000, 1_000 * 2 ** Math.min(Math.max(0, failures - 1), 10));
}

function dealt(shards: readonly LaneWork[][], count: number): LaneWork[][] {
  const queues: LaneWork[][] = Array.from({ length: count }, () => []);
  shards.forEach((items, index) => queues[index % count]?.push(...items));
  return queues;
}

/** A shard's chunks in up to `count` queues of about the same number of chunks. */
function split(items: readonly LaneWork[], count: number): LaneWork[][] {
  const chunks = items.reduce((sum, item) => sum + chunksOf(item), 0);
  const each = Math.ceil(chunks / count);
  const queues: LaneWork[][] = [];
  let room = 0;
  for (let item of items) {
    for (;;) {
      if (room === 0) {
        queues.push([]);
        room = each;
      }
      const size = chunksOf(item);
      if ('chunk' in item || size <= room) {
        queues.at(-1)?.push(item);
        room -= size;
        break;
      }
      const to: number = item.from + room;
      queues.at(-1)?.push({ ...item, to });
      item = { ...item, from: to };
      room = 0;
    }
  }
  return queues;
}

function chunksOf(item: LaneWork): number {
  return 'chunk' in item ? 1 : item.to - item.from;
}
