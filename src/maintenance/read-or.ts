import type { Shard, SqlRow, SqlValue } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';

/** Rows of a statement, or what `otherwise` gives where the account may not run it or the server does not know it. */
export async function readOr(
  shard: Pick<Shard, 'query'>,
  text: string,
  values: readonly SqlValue[],
  otherwise: () => Promise<readonly SqlRow[]> | readonly SqlRow[],
): Promise<readonly SqlRow[]> {
  try {
    return await shard.query(text, values);
  } catch (error) {
    const isRefused = ['misconfigured', 'rejected', 'hindered'] as const;
    if (!isRefused.some((kind) => isFailure(error, kind))) throw error;
    return await otherwise();
  }
}
