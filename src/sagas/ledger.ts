import type { Refusal, SqlRunner } from '../database/contracts.ts';
import { sqlNow } from '../database/ownership.ts';
import { refusalAfterNothing } from '../database/refusals.ts';
import { BugError } from '../kernel/errors.ts';
import type { BucketId } from '../kernel/ids.ts';
import {
  ENTER_REFUSE,
  ENTER_RUN,
  ENTER_SEAL,
  ENTER_UNDO,
  READ_RESULT,
  RECORD_RESULT,
} from './ledger-statements.ts';

/** A step's row in the ledger. */
export interface LedgerKey {
  readonly bucket: BucketId;
  readonly sagaId: string;
  /** The step's name in its saga's table. */
  readonly step: string;
}

/**
 * What was there when the ledger was entered. `new`: nothing. `undone`, `sealed`: the step is closed and must not run;
 * `result` is what {@link recordResult} kept, null when nothing was.
 */
export type LedgerEntry =
  | { readonly kind: 'new' }
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'undone'; readonly result: unknown }
  | { readonly kind: 'sealed' }
  | Refusal;

/**
 * Enters the ledger to run a step: `new` means that the effect must follow in this transaction, and then
 * {@link recordResult}. Takes the bucket's fence until the transaction ends.
 */
export function enterToRun(tx: SqlRunner, key: LedgerKey, nowMs: number): Promise<LedgerEntry> {
  return enter(tx, ENTER_RUN, key, nowMs);
}

/**
 * Enters the ledger to take a step back: `done` means that the effect is to be taken back in this transaction; after
 * any other answer there is nothing to do and the step is closed.
 */
export function enterToUndo(tx: SqlRunner, key: LedgerKey, nowMs: number): Promise<LedgerEntry> {
  return enter(tx, ENTER_UNDO, key, nowMs);
}

/** Closes a step that has not run: `new` means that it is sealed now, `done` that it ran before. */
export function enterToSeal(tx: SqlRunner, key: LedgerKey, nowMs: number): Promise<LedgerEntry> {
  return enter(tx, ENTER_SEAL, key, nowMs);
}

/**
 * Closes a step that was refused, for good: `new` means that it is closed now and {@link recordResult} is to keep why,
 * `done` that another delivery ran it meanwhile.
 */
export function enterToRefuse(tx: SqlRunner, key: LedgerKey, nowMs: number): Promise<LedgerEntry> {
  return enter(tx, ENTER_REFUSE, key, nowMs);
}

/** Keeps the step's answer for later deliveries; in the transaction that entered the ledger. */
export async function recordResult(tx: SqlRunner, key: LedgerKey, result: unknown): Promise<void> {
  const { bucket, sagaId, step } = key;
  const text = JSON.stringify(result ?? null);
  const { affectedRows } = await tx.execute(RECORD_RESULT, [text, bucket, sagaId, step]);
  if (affectedRows !== 1) throw new BugError('a ledger row vanished inside its transaction');
}

async function enter(
  tx: SqlRunner,
  statement: string,
  key: LedgerKey,
  nowMs: number,
): Promise<LedgerEntry> {
  const { bucket, sagaId, step } = key;
  const values = [sagaId, step, sqlNow(nowMs), bucket];
  const { affectedRows, insertId } = await tx.execute(statement, values);
  if (affectedRows === 0) return await refusalAfterNothing(tx, bucket);
  switch (insertId) {
    case 0:
      return { kind: 'new' };
    case 1:
      return { kind: 'done', result: await readResult(tx, key) };
    case 2:
      return { kind: 'undone', result: await readResult(tx, key) };
    case 3:
      return { kind: 'sealed' };
    default:
      throw new BugError(`unexpected outcome ${insertId} of a ledger entry`);
  }
}

async function readResult(tx: SqlRunner, key: LedgerKey): Promise<unknown> {
  const [row] = await tx.select(READ_RESULT, [key.bucket, key.sagaId, key.step]);
  const text = row?.['result'];
  return typeof text === 'string' ? (JSON.parse(text) as unknown) : null;
}
