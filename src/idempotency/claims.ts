import type { Refusal, SqlRow, SqlRunner } from '../database/contracts.ts';
import { refusalAfterNothing, refusalInRow } from '../database/refusals.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import type { BucketId } from '../kernel/ids.ts';
import { fromSqlDatetime, toSqlDatetime, type Timestamp } from '../kernel/time.ts';
import type { HexHash } from './keys.ts';
import { CLAIM_KEY, READ_CLAIM } from './statements.ts';

/** What a key is to be claimed for. */
export interface Claim {
  readonly bucket: BucketId;
  readonly scope: 'users' | 'orders' | 'ingestions';
  readonly keyHash: HexHash;
  readonly requestHash: HexHash;
  /** The id that the request's resource gets when the key is new. */
  readonly resourceId: string;
  readonly createdAt: Timestamp;
}

/** What the key stands for: its first request's id and time. */
export interface Claimed {
  readonly kind: 'claimed';
  /** True when this statement wrote the record. */
  readonly isNew: boolean;
  readonly resourceId: string;
  readonly createdAt: Timestamp;
}

/**
 * Claims a key on one shard, in the caller's transaction if it runs in one: the first request's id and time win.
 * Idempotent. Throws `idempotency-conflict` (permanent) when the key was claimed for another request.
 */
export async function claimKey(runner: SqlRunner, claim: Claim): Promise<Claimed | Refusal> {
  const { affectedRows, insertId } = await runner.execute(CLAIM_KEY, [
    claim.scope,
    claim.keyHash,
    claim.requestHash,
    claim.resourceId,
    toSqlDatetime(claim.createdAt),
    claim.bucket,
  ]);
  if (affectedRows === 0) return await refusalAfterNothing(runner, claim.bucket);
  if (insertId === 0) {
    const { resourceId, createdAt } = claim;
    return { kind: 'claimed', isNew: true, resourceId, createdAt };
  }
  if (insertId === 2) {
    throw new PermanentError(
      'idempotency-conflict',
      'This Idempotency-Key was used for a request with another body. Send a new key for a new request, or the first body to get its answer again.',
    );
  }
  return await readClaim(runner, claim);
}

async function readClaim(runner: SqlRunner, claim: Claim): Promise<Claimed | Refusal> {
  const [row] = await runner.select(READ_CLAIM, [claim.scope, claim.keyHash, claim.bucket]);
  const refusal = refusalInRow(row);
  if (refusal !== undefined) return refusal;
  const { resource_id: resourceId, created_at: createdAt } = row as SqlRow;
  if (typeof resourceId !== 'string' || typeof createdAt !== 'string') {
    throw new BugError('a claimed idempotency key is not there any more');
  }
  return { kind: 'claimed', isNew: false, resourceId, createdAt: fromSqlDatetime(createdAt) };
}
