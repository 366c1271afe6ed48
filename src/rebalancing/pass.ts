import { compareChunks, cutIntoChunks, isEqual, tableDigests } from './digest.ts';
import type { ComparedChunk } from './digest.ts';
import type { Move, PassFigures } from './model.ts';
import { forecastStallMs } from './model.ts';
import type { MoveProgress, TableDigest } from './progress.ts';
import { repairChunks } from './repair.ts';
import type { DigestPart } from './row-statements.ts';
import { openSession, progressStatement } from './session.ts';
import type { MoveServices, MoveSession } from './session.ts';

export interface Pass {
  readonly figures: PassFigures;
  /** The source's digests as they were found equal at the target; meaningful when no chunk is unsettled. */
  readonly tables: readonly TableDigest[];
}

/**
 * Compares all chunks on both sides, repairs those that differ and looks at them once more. Under the fence, with no
 * chunk unsettled, this is the verification of every row of the bucket.
 */
export async function runPass(session: MoveSession, parts: readonly DigestPart[]): Promise<Pass> {
  const { clock } = session.services;
  const startedAtMs = clock.monotonicMs();
  const compared = await compareChunks(session, parts);
  const comparedAtMs = clock.monotonicMs();
  const differing = compared.filter((chunk) => !isEqual(chunk));
  const rowsDiffering = await repairChunks(session, differing);
  const again = await compareChunks(
    session,
    differing.map(({ part }) => part),
  );
  const latest = new Map<DigestPart, ComparedChunk>();
  for (const chunk of [...compared, ...again]) latest.set(chunk.part, chunk);
  const final = [...latest.values()];
  return {
    figures: {
      rows: final.reduce((sum, chunk) => sum + chunk.source.rows, 0),
      rowsDiffering,
      chunksUnsettled: final.filter((chunk) => !isEqual(chunk)).length,
      digestMs: Math.round(comparedAtMs - startedAtMs),
      repairMs: Math.round(clock.monotonicMs() - comparedAtMs),
    },
    tables: tableDigests(final),
  };
}

export interface PassOutcome {
  readonly figures: PassFigures;
  /** How long writers would wait for a switch now. */
  readonly forecastMs: number;
  /** Passes of this move so far, with this one. */
  readonly passes: number;
}

/**
 * One pass over the whole bucket while writes go on, and what it says about the switch. Throws `conflict` (retryable)
 * when another delivery has claimed the move.
 */
export async function diffPass(services: MoveServices, move: Move): Promise<PassOutcome> {
  const session = await openSession(services, move);
  const { outcome } = await recordedPass(session, session.record.progress);
  return outcome;
}

export interface RecordedPass {
  readonly outcome: PassOutcome;
  readonly progress: MoveProgress;
  readonly parts: readonly DigestPart[];
}

/** A pass of this delivery, written into the move's record. */
export async function recordedPass(
  session: MoveSession,
  before: MoveProgress,
): Promise<RecordedPass> {
  const { services, move, record } = session;
  const parts = await cutIntoChunks(session);
  const { figures } = await runPass(session, parts);
  const progress: MoveProgress = { ...before, passes: before.passes + 1, lastPass: figures };
  const { phase } = record;
  await session.write((shard) => [progressStatement(session, shard, { phase, progress })]);
  const outcome = { figures, forecastMs: forecastStallMs(figures), passes: progress.passes };
  services.logger.log('info', 'rebalancing.pass_done', {
    moveId: move.id,
    bucketId: move.bucket,
    ...figures,
    forecastMs: outcome.forecastMs,
  });
  await services.probe.reach('rebalancing.afterPass', move.id);
  return { outcome, progress, parts };
}
