import { hash } from 'node:crypto';
import { z } from 'zod';
import type { BucketId } from '../kernel/ids.ts';
import { bucketOf } from '../sharding/hash.ts';

/** `Idempotency-Key`: visible ASCII, so that it survives every proxy and log as it is. */
const idempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, '1 to 255 visible ASCII characters are expected')
  .meta({
    description:
      'Makes the request safe to repeat: the same key with the same body gets the first answer again.',
    examples: ['5f1c0c1e-7d0b-4c55-9a3e-3f0c2f0f9b11'],
  });

/** Headers of a route that takes an `Idempotency-Key`. */
export const idempotencyHeaders = z.object({ 'idempotency-key': idempotencyKey.optional() });

/** SHA-256 as hex, 64 characters. */
export type HexHash = string;

/** What a key is found by. `namespace` keeps keys of different owners apart (a user's orders; registrations). */
export function keyHash(namespace: string, key: string): HexHash {
  return sha256(`${namespace}\n${key}`);
}

/** What tells two requests apart: their validated content, in one canonical form. */
export function requestHash(content: readonly (string | number | null)[]): HexHash {
  return sha256(JSON.stringify(content));
}

/** The bucket of a key that has no user to live with. */
export function bucketOfKey(hashed: HexHash): BucketId {
  return bucketOf(hashed);
}

function sha256(text: string): HexHash {
  return hash('sha256', text, 'hex');
}
