import type { BucketId, ShardId } from '../kernel/ids.ts';

/** How much may go on at once. All at least 1. */
export interface MoveCaps {
  readonly total: number;
  readonly perSource: number;
  readonly perTarget: number;
}

/** What the scheduler needs to know of a move. */
export interface Schedulable {
  readonly bucket: BucketId;
  readonly from: ShardId;
  readonly to: ShardId;
  /** Begun moves come first, so that few are half done. */
  readonly begun: boolean;
  /** Not before this time, milliseconds since 1970. */
  readonly notBeforeMs: number;
}

/** Buckets that one activity moves, one after the other; all from one shard to one other. */
export type Lane = readonly BucketId[];

/** A lane that is through early waits for the others of its round; more buckets than this gain little. */
const LANE_BUCKETS = 16;

/**
 * What is worked on in the next round: lanes, each with one move at a time, so that the caps hold throughout. Pure. Moves
 * that wait for another try are left out; no lanes when there is nothing to do now.
 */
export function nextLanes(moves: readonly Schedulable[], caps: MoveCaps, nowMs: number): Lane[] {
  const ready = moves.filter((move) => move.notBeforeMs <= nowMs);
  const ordered = [...ready.filter((move) => move.begun), ...ready.filter((move) => !move.begun)];
  const heads = nextMoves(ordered, caps);
  const lanes = heads.map(({ bucket, from, to }) => ({ from, to, buckets: [bucket] }));
  const taken = new Set(heads);
  for (const move of ordered) {
    if (taken.has(move)) continue;
    const own = lanes.filter((lane) => lane.from === move.from && lane.to === move.to);
    const shortest = own.toSorted((a, b) => a.buckets.length - b.buckets.length).at(0);
    if (shortest !== undefined && shortest.buckets.length < LANE_BUCKETS) {
      shortest.buckets.push(move.bucket);
    }
  }
  return lanes.map(({ buckets }) => buckets);
}

/** The first moves, in their order, that may go on at once. Pure. */
export function nextMoves<T extends Pick<Schedulable, 'from' | 'to'>>(
  moves: readonly T[],
  caps: MoveCaps,
): T[] {
  const picked: T[] = [];
  const leaving = new Map<ShardId, number>();
  const arriving = new Map<ShardId, number>();
  for (const move of moves) {
    if (picked.length >= caps.total) break;
    const out = leaving.get(move.from) ?? 0;
    const into = arriving.get(move.to) ?? 0;
    if (out >= caps.perSource || into >= caps.perTarget) continue;
    leaving.set(move.from, out + 1);
    arriving.set(move.to, into + 1);
    picked.push(move);
  }
  return picked;
}
