import { z } from 'zod';
import { keyHash } from '../idempotency/keys.ts';
import type { Brand } from '../kernel/brand.ts';
import type { BucketId } from '../kernel/ids.ts';
import { BUCKET_COUNT, bucketOf } from '../sharding/hash.ts';

/** Names a saga, its orchestration and its ledger rows: 1 to 100 of letters, digits and `_.:-`. */
export type SagaId = Brand<string, 'SagaId'>;

const SAGA_ID = /^[A-Za-z0-9_.:-]{1,100}$/;
/** Ids of our own carry their home bucket, three hex digits. */
const WITH_HOME = /^s1-([0-3][0-9a-f]{2})-/;

export const sagaIdSchema = z
  .string()
  .regex(SAGA_ID, 'a saga id is expected: 1 to 100 letters, digits, _ . : -')
  .transform((text) => text as SagaId)
  .meta({ description: 'Saga id.' });

/**
 * An id of our own, at home in `bucket`: that of the saga's first step, so that a saga whose start can be written down
 * can also take its first step, and a local transaction needs no other shard. `unique` is random or a hash.
 */
export function sagaIdAt(bucket: BucketId, unique: string): SagaId {
  return `s1-${bucket.toString(16).padStart(3, '0')}-${unique}` as SagaId;
}

/**
 * The id of a saga that is asked for under an `Idempotency-Key`: the same for each request with it. `namespace` keeps
 * keys of different routes and owners apart.
 */
export function sagaIdOfKey(namespace: string, key: string): SagaId {
  return `key-${keyHash(namespace, key)}` as SagaId;
}

/** The bucket of a saga's row: carried by ids of our own, and the hash of any other. */
export function homeBucketOf(sagaId: SagaId): BucketId {
  const carried = WITH_HOME.exec(sagaId)?.[1];
  if (carried === undefined) return bucketOf(sagaId);
  const bucket = Number.parseInt(carried, 16);
  return (bucket < BUCKET_COUNT ? bucket : bucketOf(sagaId)) as BucketId;
}
