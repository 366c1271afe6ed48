import type { ShardId } from '../kernel/ids.ts';
import type { Move } from './model.ts';
import type { MoveRecord, TableDigest } from './progress.ts';

/**
 * What was verified when a bucket moved: the blob `control/moves/<move>/<bucket>.json`, written once.
 */
export interface MoveCertificate {
  readonly formatVersion: 1;
  readonly moveId: string;
  readonly bucket: number;
  readonly from: ShardId;
  readonly to: ShardId;
  /** The source owned the bucket at this epoch; the target owns it at the next one. */
  readonly sourceEpoch: number;
  readonly targetEpoch: number;
  /** Rows and digests of every table, equal on both sides while nobody could write. */
  readonly tables: readonly TableDigest[];
  readonly passes: number;
  /** Rows that the last pass had to write or delete under the fence. */
  readonly rowsRepairedUnderFence: number;
  readonly startedAt: string;
  readonly fencedAt: string;
  readonly verifiedAt: string;
  readonly publishedAt: string;
  /** From the fence to the take-over; null when the delivery that measured it died in between. */
  readonly stallMs: number | null;
  readonly mapVersion: number;
}

export function certificateBlob(move: Pick<Move, 'id' | 'bucket'>): string {
  return `moves/${move.id}/${String(move.bucket).padStart(4, '0')}.json`;
}

/** Undefined when nothing was verified: the record is not that of a decided move. Pure. */
export function certificateOf(
  move: Move,
  record: MoveRecord,
  facts: Pick<MoveCertificate, 'stallMs' | 'mapVersion' | 'startedAt' | 'publishedAt'>,
): MoveCertificate | undefined {
  const { verified, passes } = record.progress;
  if (verified === null) return undefined;
  return {
    formatVersion: 1,
    moveId: move.id,
    bucket: move.bucket,
    from: move.from,
    to: move.to,
    sourceEpoch: record.epoch,
    targetEpoch: record.epoch + 1,
    tables: verified.tables,
    passes,
    rowsRepairedUnderFence: verified.rowsRepaired,
    fencedAt: verified.fencedAt,
    verifiedAt: verified.verifiedAt,
    ...facts,
  };
}
