import type { BucketId, ShardId } from '../kernel/ids.ts';
import type { OwnershipState, Refusal, SqlRow, SqlRunner } from './contracts.ts';
import { findRefusal } from './ownership.ts';

/**
 * The refusal told by a read that joins `bucket_ownership` and selects its `state` and `moved_to`, or `undefined`
 * when the shard owned the bucket at the moment of that read. No row at all means `absent`.
 */
export function refusalInRow(row: SqlRow | undefined): Refusal | undefined {
  if (row === undefined) return { kind: 'refused', state: 'absent', movedTo: null };
  const state = row['state'] as OwnershipState;
  if (state === 'owned') return undefined;
  const movedTo = row['moved_to'];
  return {
    kind: 'refused',
    state,
    movedTo: movedTo === null || movedTo === undefined ? null : (Number(movedTo) as ShardId),
  };
}

/**
 * Why a fenced statement that can fail for no other reason wrote nothing. A fence lifted between the two statements
 * is told as `fenced` all the same: the caller comes back at once and finds the bucket open.
 */
export async function refusalAfterNothing(runner: SqlRunner, bucket: BucketId): Promise<Refusal> {
  return (await findRefusal(runner, bucket)) ?? FENCE_LIFTED;
}

/** See {@link refusalAfterNothing}. */
export const FENCE_LIFTED: Refusal = { kind: 'refused', state: 'fenced', movedTo: null };
