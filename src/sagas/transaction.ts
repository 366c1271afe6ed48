import type { Attempt, Shard, SqlRunner } from '../database/contracts.ts';
import { RetryableError } from '../kernel/errors.ts';

/** How the work of a transaction ended: with a value that is to stay, or one that must leave nothing behind. */
export interface Ending<T> {
  readonly keep: boolean;
  readonly value: T;
}

/**
 * One transaction that may answer and yet be rolled back: a ledger row is written before it is known whether its effect
 * can follow. Throws as `Shard.transaction` does.
 */
export async function transactionThatMayEnd<T>(
  shard: Shard,
  run: (tx: SqlRunner) => Promise<Ending<T>>,
): Promise<T> {
  let dropped: Ending<T> | undefined;
  try {
    return await shard.transaction(async (tx) => {
      const ending = await run(tx);
      if (ending.keep) return ending.value;
      dropped = ending;
      throw new RetryableError('shard-unavailable', 'Rolled back on purpose.');
    });
  } catch (error) {
    if (dropped !== undefined) return dropped.value;
    throw error;
  }
}

/** One transaction that is rolled back when it ends in a refusal. */
export function attemptInTransaction<T>(
  shard: Shard,
  run: (tx: SqlRunner) => Promise<Attempt<T>>,
): Promise<Attempt<T>> {
  return transactionThatMayEnd(shard, async (tx) => {
    const value = await run(tx);
    return { keep: value.kind === 'answered', value };
  });
}
