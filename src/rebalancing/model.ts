import type { FenceState } from '../database/ownership.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import type { MoveRecord } from './progress.ts';

/** One bucket on its way from one shard to another. `id`: 1 … 100 ASCII characters, unique per move. */
export interface Move {
  readonly id: string;
  readonly bucket: BucketId;
  readonly from: ShardId;
  readonly to: ShardId;
}

/** Longest that writers of a bucket should wait for its switch, milliseconds (DESIGN 6). */
export const DEFAULT_STALL_LIMIT_MS = 500;
/**
 * How long a fence holds before anybody may lift it: room for a switch that takes longer than its forecast, and the
 * most that a dead mover costs the writers of its bucket. Below the 10 s that a request has.
 */
export const DEFAULT_HOLD_MS = 2_000;
/** A switch that is allowed to take longer needs a fence that holds longer: twice its forecast. Milliseconds; pure. */
export function fenceHoldMs(stallLimitMs: number): number {
  return Math.max(DEFAULT_HOLD_MS, 2 * stallLimitMs);
}

/** Passes that differ less and less soon stop getting shorter; what is left is the size of the bucket. */
export const DEFAULT_MAX_PASSES = 6;

/** What one pass over all tables found and took. */
export interface PassFigures {
  readonly rows: number;
  /** Rows that were not the same on both sides: missing, changed, or gone from the source. */
  readonly rowsDiffering: number;
  /** Chunks that still differed after their repair, because writes go on. */
  readonly chunksUnsettled: number;
  /** Digests of all chunks on both sides. */
  readonly digestMs: number;
  /** Looking at differing chunks row by row, writing, and looking again. */
  readonly repairMs: number;
}

/** The fence, the claim, the record, the two rows of the switch: five small transactions and the wait for writers in flight (FACTS-mysql 1: 7 … 18 ms). */
const SWITCH_OVERHEAD_MS = 60;
/** A pass under the fence competes with nobody's writes, but the server's pace varies. */
const FORECAST_MARGIN = 1.25;

/** How long writers would wait if the fence were set now: the next pass is taken to be like the last one. Milliseconds; pure. */
export function forecastStallMs(last: Pick<PassFigures, 'digestMs' | 'repairMs'>): number {
  return Math.ceil((last.digestMs + last.repairMs) * FORECAST_MARGIN + SWITCH_OVERHEAD_MS);
}

export type GateDecision = 'switch' | 'pass-again' | 'too-long';

/** Rows that are written under the fence in one packet or two: not worth another pass. */
const FEW_ROWS = 50;

/**
 * Whether to set the fence after a pass; pure. Passes go on while the forecast is over the limit, and also while they
 * still halve what is left: writers then wait for less. `too-long`: another pass would not help, somebody must allow more.
 */
export function decideGate(options: {
  readonly last: PassFigures;
  /** The pass before, if there was one. */
  readonly before: PassFigures | null;
  readonly stallLimitMs: number;
  readonly passes: number;
  readonly maxPasses: number;
}): GateDecision {
  const { last, before, stallLimitMs } = options;
  const mayPass = options.passes < options.maxPasses;
  if (forecastStallMs(last) > stallLimitMs) return mayPass ? 'pass-again' : 'too-long';
  const halves = before === null || last.rowsDiffering < before.rowsDiffering / 2;
  return mayPass && halves && last.rowsDiffering > FEW_ROWS ? 'pass-again' : 'switch';
}

/** What a move needs next, as its rows tell. */
export type MoveStep =
  | { readonly kind: 'prepare' }
  | { readonly kind: 'copy' }
  /** Passes, then the switch when the forecast allows it. */
  | { readonly kind: 'check' }
  /** A delivery fenced the source and may be alive: once the fence's end has passed it is lifted, and the move checked again. */
  | { readonly kind: 'await-fence'; readonly waitMs: number }
  /** Decided; the target has yet to become the owner. */
  | { readonly kind: 'take-over' }
  /** The target owns the bucket; map and certificate are to follow. */
  | { readonly kind: 'publish' }
  /** A cancellation was begun. */
  | { readonly kind: 'cancel' }
  | { readonly kind: 'done' }
  /** No step of this move can go on from here; somebody must look. */
  | { readonly kind: 'stuck'; readonly reason: StuckReason };

export type StuckReason =
  /** The source does not own the bucket and did not give it to this target. */
  | 'source-not-owner'
  /** Fenced without an end, by hand. */
  | 'fenced-by-hand'
  /** The target receives the bucket for another move. */
  | 'target-busy'
  /** The target's copy was begun when the source had the bucket at another epoch: cancel that move. */
  | 'stale-copy'
  /** Both shards own it, or their epochs cannot both be true: never the work of moves; look before anything is written. */
  | 'contradiction';

/** Decides from the two ownership rows and the target's record; pure. */
export function nextMoveStep(
  move: Move,
  source: FenceState,
  target: FenceState,
  record: MoveRecord | undefined,
): MoveStep {
  switch (source.state) {
    case 'owned':
    case 'fenced':
      return beforeDecision(move, source, target, record);
    case 'gone':
      return afterDecision(move, source, target, record);
    case 'absent':
    case 'receiving':
      return stuck('source-not-owner');
    default:
      return assertNever(source.state);
  }
}

function beforeDecision(
  move: Move,
  source: FenceState,
  target: FenceState,
  record: MoveRecord | undefined,
): MoveStep {
  switch (target.state) {
    case 'absent':
      return { kind: 'prepare' };
    case 'gone':
      return target.epoch > source.epoch ? stuck('contradiction') : { kind: 'prepare' };
    case 'owned':
    case 'fenced':
      return stuck('contradiction');
    case 'receiving':
      if (record === undefined) return stuck('contradiction');
      if (record.moveId !== move.id) return stuck('target-busy');
      if (record.phase === 'cancelling') return { kind: 'cancel' };
      if (target.epoch !== source.epoch) return stuck('stale-copy');
      if (record.phase === 'owned') return stuck('contradiction');
      if (source.state === 'fenced') return awaitFence(source);
      return record.phase === 'copying' ? { kind: 'copy' } : { kind: 'check' };
    default:
      return assertNever(target.state);
  }
}

function awaitFence(source: FenceState): MoveStep {
  if (source.fencedForMs === null) return stuck('fenced-by-hand');
  return { kind: 'await-fence', waitMs: Math.max(0, source.fencedForMs) };
}

function afterDecision(
  move: Move,
  source: FenceState,
  target: FenceState,
  record: MoveRecord | undefined,
): MoveStep {
  if (source.movedTo !== move.to) return stuck('source-not-owner');
  const ours = record?.moveId === move.id;
  switch (target.state) {
    case 'receiving':
      if (target.epoch + 1 === source.epoch) {
        return ours ? { kind: 'take-over' } : stuck('target-busy');
      }
      // It left the target again since, and is on its way back there.
      return target.epoch >= source.epoch ? { kind: 'done' } : stuck('contradiction');
    case 'owned':
    case 'fenced':
      if (target.epoch < source.epoch) return stuck('contradiction');
      if (target.epoch > source.epoch || !ours) return { kind: 'done' };
      return record.progress.published ? { kind: 'done' } : { kind: 'publish' };
    case 'gone':
      return target.epoch > source.epoch ? { kind: 'done' } : stuck('contradiction');
    case 'absent':
      return stuck('contradiction');
    default:
      return assertNever(target.state);
  }
}

function stuck(reason: StuckReason): MoveStep {
  return { kind: 'stuck', reason };
}
