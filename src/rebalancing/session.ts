import { randomUUID } from 'node:crypto';
import type { PacketResult, Shard, SqlRunner, SqlValue } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';
import { readFence, sqlNow } from '../database/ownership.ts';
import { RetryableError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import type { BucketMapStore } from '../storage/bucket-map-store.ts';
import type { Move } from './model.ts';
import { assertReceiving, CLAIM, READ_MOVE, RECLAIM, saveProgress } from './move-statements.ts';
import { recordOf } from './progress.ts';
import type { MovePhase, MoveProgress, MoveRecord } from './progress.ts';
import { readTableShapes } from './table-shapes.ts';
import type { TableShape } from './table-shapes.ts';

/** What moving a bucket needs. */
export type MoveServices = Pick<
  Services,
  'database' | 'blobs' | 'bucketMap' | 'clock' | 'logger' | 'probe'
> & {
  readonly bucketMapStore: Pick<BucketMapStore, 'load' | 'replace'>;
};

/** For one statement of a move; within it transient failures are tried again. */
export const STEP_DEADLINE_MS = 30_000;

/**
 * One delivery's work on a move. It holds a token, and every write to the target's rows checks it: when another delivery
 * claims the move, or the bucket is not being received any more, writes throw `conflict` (retryable) and change nothing.
 */
export interface MoveSession {
  readonly services: MoveServices;
  readonly move: Move;
  readonly token: string;
  /** As it was when the move was claimed. */
  readonly record: MoveRecord;
  readonly shapes: readonly TableShape[];
  onSource<T>(run: (shard: Shard) => Promise<T>): Promise<T>;
  onTarget<T>(run: (shard: Shard) => Promise<T>): Promise<T>;
  /** One transaction at the target; gives the results of `statements`. */
  write(statements: (shard: Shard) => readonly string[]): Promise<readonly PacketResult[]>;
}

/**
 * Claims the move for this delivery: earlier ones can write nothing any more. Throws `conflict` (retryable) when the
 * target does not receive the bucket for this move.
 */
export async function openSession(services: MoveServices, move: Move): Promise<MoveSession> {
  const deadlineMs = (): number => STEP_DEADLINE_MS;
  const onTarget = shardCall(services, move.to, deadlineMs);
  const tried: string[] = [];
  const token = await onTarget((shard) => claim(shard, { services, move, tried }, CLAIM, []));
  // From here on nobody else writes the record, except to cancel.
  const record = await onTarget((shard) => readRecord(shard, move));
  if (record?.moveId !== move.id) throw notHeld(move);
  const shapes = await onTarget((shard) => readTableShapes(shard));
  return createSession({ services, move, token, record, shapes }, deadlineMs);
}

/**
 * Claims again under a new token, if this delivery still holds the move: what it sent before and does not know the end
 * of can write nothing any more either. `deadlineMs` is for each call of the new session.
 */
export async function renewSession(
  session: MoveSession,
  deadlineMs: () => number,
): Promise<MoveSession> {
  const onTarget = shardCall(session.services, session.move.to, deadlineMs);
  const claimant = { ...session, tried: [] };
  const token = await onTarget((shard) => claim(shard, claimant, RECLAIM, [session.token]));
  return createSession({ ...session, token }, deadlineMs);
}

/**
 * Each try has a token of its own: a try that was given up may still run at any time later, and must then not make valid
 * again what was written before another delivery's claim.
 */
async function claim(
  shard: Shard,
  claimant: Pick<MoveSession, 'services' | 'move'> & { readonly tried: string[] },
  statement: string,
  held: readonly SqlValue[],
): Promise<string> {
  const { services, move, tried } = claimant;
  const token = randomUUID();
  tried.push(token);
  const values = [token, sqlNow(services.clock.nowMs()), move.bucket, move.id, ...held];
  if ((await shard.execute(statement, values)).affectedRows === 1) return token;
  // The answer to an earlier try was lost: that one has run, and cannot run again.
  const row = await readFence(shard, move.bucket);
  const claimed = row.state === 'receiving' && tried.find((earlier) => earlier === row.token);
  if (!claimed) throw notHeld(move);
  return claimed;
}

/** The move's record at the target. Reads without a lock. */
export async function readRecord(
  runner: SqlRunner,
  move: Pick<Move, 'bucket'>,
): Promise<MoveRecord | undefined> {
  const [row] = await runner.select(READ_MOVE, [move.bucket]);
  return recordOf(row);
}

/** This delivery does not hold the move, or not any more. */
export function notHeld(move: Move): RetryableError {
  return new RetryableError(
    'conflict',
    'Another delivery of this move goes on with it, or the target does not receive the bucket.',
    { details: { moveId: move.id, bucketId: move.bucket } },
  );
}

type SessionParts = Pick<MoveSession, 'services' | 'move' | 'token' | 'record' | 'shapes'>;

function createSession(parts: SessionParts, deadlineMs: () => number): MoveSession {
  const { services, move, token } = parts;
  const onTarget = shardCall(services, move.to, deadlineMs);
  return {
    ...parts,
    onSource: shardCall(services, move.from, deadlineMs),
    onTarget,
    write: (statements) =>
      onTarget(async (shard) => {
        const guard = assertReceiving(move.bucket, shard.literal(token));
        try {
          return (await shard.packet([guard, ...statements(shard)])).slice(1);
        } catch (error) {
          if (isFailure(error, 'assertion')) throw notHeld(move);
          throw error;
        }
      }),
  };
}

function shardCall(
  services: MoveServices,
  shardId: Move['from'],
  deadlineMs: () => number,
): <T>(run: (shard: Shard) => Promise<T>) => Promise<T> {
  return (run) => services.database.onShard(shardId, run, { deadlineMs: deadlineMs() });
}

/** The statement that keeps the progress, for {@link MoveSession.write}. */
export function progressStatement(
  session: Pick<MoveSession, 'services' | 'move'>,
  shard: Pick<Shard, 'literal'>,
  change: { readonly phase: MovePhase; readonly progress: MoveProgress },
): string {
  return saveProgress({
    bucket: session.move.bucket,
    phase: shard.literal(change.phase),
    progress: shard.literal(JSON.stringify(change.progress)),
    now: shard.literal(sqlNow(session.services.clock.nowMs())),
  });
}
