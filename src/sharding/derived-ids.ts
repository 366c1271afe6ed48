import { hash } from 'node:crypto';
import type { OrderId } from '../kernel/ids.ts';

/**
 * Order ids for orders that came without one, derived from what identifies their delivery (a queue
 * message, a batch), so that a redelivery names the same orders and inserts nothing twice.
 *
 * Bit 62 is set, which snowflakes leave clear for 34 years (`snowflake.ts`), so the two kinds never meet.
 * The rest is hash and ordinal; an order id needs to be unique only within its user's bucket, and a
 * collision is reported as a conflict unless user, amount and time agree as well.
 */
const DERIVED = 1n << 62n;

/** Bits for the ordinal: none for a single order, 512 per message, 1 048 576 per batch. */
const ORDINAL_BITS = { single: 0n, message: 9n, batch: 20n } as const;

export type DeliveryKind = keyof typeof ORDINAL_BITS;

export interface OrderIdSource {
  readonly kind: DeliveryKind;
  /** Message id or batch id; any text. */
  readonly source: string;
}

/** Makes the id of the order at `ordinal` (from 0) of a delivery; throws RangeError past the kind's limit. */
export function createOrderIdDeriver(delivery: OrderIdSource): (ordinal: number) => OrderId {
  const bits = ORDINAL_BITS[delivery.kind];
  const digest = hash('sha256', `${delivery.kind}:${delivery.source}`, 'buffer');
  const prefix = DERIVED | ((digest.readBigUInt64BE(0) >> (2n + bits)) << bits);
  const limit = 1 << Number(bits);
  return (ordinal) => {
    if (!Number.isInteger(ordinal) || ordinal < 0 || ordinal >= limit) {
      throw new RangeError(`ordinal ${ordinal} is outside 0 … ${limit - 1} of a ${delivery.kind}`);
    }
    return String(prefix | BigInt(ordinal)) as OrderId;
  };
}
