import { z } from 'zod';

const bucket = z.int().min(0);

/**
 * What looked wrong between two shards, which were read at two moments: keys only, so that the second look reads
 * everything afresh at the owners.
 */
export const suspectSchema = z.discriminatedUnion('kind', [
  /** Owners of a bucket, or the map's word on it. */
  z.strictObject({ kind: z.literal('bucket'), bucket }),
  /** A user whose email the directory did not hold for them. */
  z.strictObject({ kind: z.literal('user'), bucket, userId: z.string() }),
  /** A confirmed email whose user did not have it. `key`: SHA-256 in hex. */
  z.strictObject({ kind: z.literal('email'), bucket, key: z.string() }),
  /** An order that is locked or has moved, and whose other end did not fit. */
  z.strictObject({ kind: z.literal('transfer'), bucket, orderId: z.string() }),
  /** A finished transfer after which both users seemed to have the order. */
  z.strictObject({
    kind: z.literal('finished-transfer'),
    orderId: z.string(),
    fromUserId: z.string(),
    toUserId: z.string(),
  }),
]);
export type Suspect = z.infer<typeof suspectSchema>;
