import { liftExpiredFence, readFence } from '../database/ownership.ts';
import type { FenceState } from '../database/ownership.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import { cancelMove } from './cancel.ts';
import type { CancelOutcome } from './cancel.ts';
import { copyBucket } from './copy.ts';
import type { CopyOptions, CopyOutcome } from './copy.ts';
import { finishMove } from './finish.ts';
import type { MoveFinish } from './finish.ts';
import { DEFAULT_HOLD_MS, nextMoveStep } from './model.ts';
import type { Move, MoveStep, StuckReason } from './model.ts';
import { prepareMove } from './prepare.ts';
import type { Preparation } from './prepare.ts';
import type { MoveRecord } from './progress.ts';
import { readRecord, STEP_DEADLINE_MS } from './session.ts';
import type { MoveServices } from './session.ts';
import { switchBucket } from './switch.ts';
import type { SwitchOptions, SwitchOutcome } from './switch.ts';

/** What the rows say of a move, and what it needs next. */
export interface MoveStanding {
  readonly source: FenceState;
  readonly target: FenceState;
  readonly record: MoveRecord | undefined;
  readonly step: MoveStep;
}

/** Looks at a move that seems to be stuck; one that others go on with meanwhile changes with each. */
const MAX_LOOKS = 4;

/**
 * Reads the two ownership rows and the target's record. The source first: a decision that comes between the reads is
 * then seen as not yet made, and every step finds out for itself. A decision with the take-over between the reads looks
 * like two owners: that a move is stuck is believed when two looks in a row have seen the same.
 */
export async function readStanding(services: MoveServices, move: Move): Promise<MoveStanding> {
  let standing = await look(services, move);
  for (let looks = 1; looks < MAX_LOOKS && standing.step.kind === 'stuck'; looks++) {
    const before = standing;
    standing = await look(services, move);
    const { source, target } = standing;
    if (isSameRow(source, before.source) && isSameRow(target, before.target)) break;
  }
  return standing;
}

function isSameRow(a: FenceState, b: FenceState): boolean {
  return a.state === b.state && a.epoch === b.epoch && a.token === b.token;
}

async function look(services: MoveServices, move: Move): Promise<MoveStanding> {
  const { database } = services;
  const within = { deadlineMs: STEP_DEADLINE_MS };
  const source = await database.onShard(
    move.from,
    (shard) => readFence(shard, move.bucket),
    within,
  );
  const [target, record] = await database.onShard(
    move.to,
    async (shard) => [await readFence(shard, move.bucket), await readRecord(shard, move)] as const,
    within,
  );
  return { source, target, record, step: nextMoveStep(move, source, target, record) };
}

export type AdvanceOptions = CopyOptions & SwitchOptions;

/** What one step did. `done` and `stuck` end the move, and so do obstacles, a switch that is `too-long`, and `cancelled`; all others ask for another call. */
export type Advance =
  | { readonly step: 'prepare'; readonly outcome: Preparation }
  | { readonly step: 'copy'; readonly outcome: CopyOutcome }
  | { readonly step: 'switch'; readonly outcome: SwitchOutcome }
  | { readonly step: 'await-fence'; readonly lifted: boolean }
  | { readonly step: 'finish'; readonly outcome: MoveFinish }
  | { readonly step: 'cancel'; readonly outcome: CancelOutcome }
  | { readonly step: 'done' }
  | { readonly step: 'stuck'; readonly reason: StuckReason };

/**
 * Does the next step of a move, whatever happened to it before: begins it, resumes it after a crash, or finds it done.
 * One step is bounded: a slice of the copy, a slice of passes with the switch after them, a slice of a cancellation.
 */
export async function advanceMove(
  services: MoveServices,
  move: Move,
  options: AdvanceOptions,
): Promise<Advance> {
  const { step } = await readStanding(services, move);
  switch (step.kind) {
    case 'prepare':
      return { step: 'prepare', outcome: await prepareMove(services, move) };
    case 'copy':
      return { step: 'copy', outcome: await copyBucket(services, move, options) };
    case 'check':
      return { step: 'switch', outcome: await switchBucket(services, move, options) };
    case 'await-fence':
      return { step: 'await-fence', lifted: await awaitFence(services, move, step.waitMs) };
    case 'take-over':
    case 'publish':
      return { step: 'finish', outcome: await finishMove(services, move) };
    case 'cancel':
      return { step: 'cancel', outcome: await cancelMove(services, move, options) };
    case 'done':
      return { step: 'done' };
    case 'stuck':
      return { step: 'stuck', reason: step.reason };
    default:
      return assertNever(step);
  }
}

/** Waits for the end of another delivery's fence and lifts it, if that one has not gone on. */
async function awaitFence(services: MoveServices, move: Move, waitMs: number): Promise<boolean> {
  // A fence set by a build that holds longer is waited for in several calls.
  await services.clock.sleep(Math.min(waitMs, DEFAULT_HOLD_MS));
  const change = { bucket: move.bucket, nowMs: services.clock.nowMs() };
  return await services.database.onShard(move.from, (shard) => liftExpiredFence(shard, change), {
    deadlineMs: STEP_DEADLINE_MS,
  });
}
