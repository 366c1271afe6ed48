import { z } from 'zod';
import type { SqlRow } from '../database/contracts.ts';
import { BugError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';

/** A primary key without its bucket, as it lies in JSON: binary parts in hexadecimal. */
const keyPart = z.union([z.string(), z.number(), z.strictObject({ hex: z.string() })]);
export type KeyPart = z.infer<typeof keyPart>;

const tableProgress = z.strictObject({
  /** At the source, when the move was prepared. */
  counted: z.int().min(0),
  copied: z.int().min(0),
});

const passFigures = z.strictObject({
  rows: z.int(),
  rowsDiffering: z.int(),
  chunksUnsettled: z.int(),
  digestMs: z.number(),
  repairMs: z.number(),
});

const tableDigest = z.strictObject({
  table: z.string(),
  rows: z.int().min(0),
  /** 128 bits over the rows of the table: XOR of the first two 64-bit words of each row's SHA-256. 32 hex digits. */
  digest: z.string().length(32),
});
export type TableDigest = z.infer<typeof tableDigest>;

const verification = z.strictObject({
  tables: z.array(tableDigest),
  rowsRepaired: z.int().min(0),
  /** By the clock of the mover, RFC 3339. */
  fencedAt: z.string(),
  verifiedAt: z.string(),
});

const moveProgress = z.strictObject({
  /** The last row copied, or null before the first. */
  cursor: z.strictObject({ table: z.string(), key: z.array(keyPart) }).nullable(),
  tables: z.record(z.string(), tableProgress),
  /** Passes over the whole bucket, without those under the fence. */
  passes: z.int().min(0),
  lastPass: passFigures.nullable(),
  /** Both sides were found equal under the fence; written before the move is decided. */
  verified: verification.nullable(),
  /** Map and certificate are written. */
  published: z.boolean(),
});

/** How far a move is: the column `bucket_moves.progress` at the target. */
export type MoveProgress = z.infer<typeof moveProgress>;

/** `cancelling`: nothing is written any more but deletes; no delivery can claim the move. */
export type MovePhase = 'copying' | 'checking' | 'cancelling' | 'owned';

/** The target's row of `bucket_moves`. */
export interface MoveRecord {
  readonly moveId: string;
  readonly from: ShardId;
  /** The source's epoch. */
  readonly epoch: number;
  readonly phase: MovePhase;
  readonly progress: MoveProgress;
  /** DATETIME text, UTC. */
  readonly startedAt: string;
  readonly updatedAt: string;
}

export function newProgress(counts: ReadonlyMap<string, number>): MoveProgress {
  const tables = [...counts].map(([table, counted]) => [table, { counted, copied: 0 }]);
  return {
    cursor: null,
    tables: Object.fromEntries(tables) as MoveProgress['tables'],
    passes: 0,
    lastPass: null,
    verified: null,
    published: false,
  };
}

/** Throws BugError when the stored progress is not of this version's form. */
export function recordOf(row: SqlRow | undefined): MoveRecord | undefined {
  if (row === undefined) return undefined;
  const parsed = moveProgress.safeParse(JSON.parse(String(row['progress'])));
  if (!parsed.success) {
    throw new BugError('the progress of a move cannot be read', { cause: parsed.error });
  }
  return {
    moveId: String(row['move_id']),
    from: Number(row['source_shard']) as ShardId,
    epoch: Number(row['epoch']),
    phase: row['phase'] as MovePhase,
    progress: parsed.data,
    startedAt: String(row['started_at']),
    updatedAt: String(row['updated_at']),
  };
}
