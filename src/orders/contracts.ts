import { z } from 'zod';
import { defineCompensatableStep, defineStep } from '../durable/saga/step.ts';
import {
  parseOrderId,
  parseUserId,
  type BucketId,
  type OrderId,
  type UserId,
} from '../kernel/ids.ts';
import { MAX_AMOUNT_CENTS, type AmountCents } from '../kernel/money.ts';
import { parseTimestamp, type Timestamp } from '../kernel/time.ts';
import { BUCKET_COUNT } from '../sharding/hash.ts';

/** Values as they travel in payloads: canonical already, checked and never transformed. */
const userId = z.custom<UserId>(
  (value) => typeof value === 'string' && parseUserId(value) === value,
);
const orderId = z.custom<OrderId>(
  (value) => typeof value === 'string' && parseOrderId(value) === value,
);
const bucketId = z.custom<BucketId>(
  (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) < BUCKET_COUNT,
);
const timestamp = z.custom<Timestamp>((value) => parseTimestamp(value) === value);
const amountCents = z.custom<AmountCents>(
  (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_AMOUNT_CENTS,
);

/** An order that goes from one user to another; they are two. */
export const transferSchema = z.strictObject({ orderId, fromUserId: userId, toUserId: userId });
export type Transfer = z.infer<typeof transferSchema>;

/** What a transfer keeps, besides the id. */
const content = z.strictObject({ amountCents, createdAt: timestamp });
export type OrderContent = z.infer<typeof content>;

/** The order as its new user has it. */
export const transferredSchema = z.strictObject({
  orderId,
  userId,
  amountCents,
  createdAt: timestamp,
});

/**
 * An order that went from one bucket to another, as the ledger tells at both ends, each time in the transaction that stopped
 * or began to count it there. Sums read at different moments are set right by them (`revenue/crossings.ts`).
 */
export const crossingSchema = z.strictObject({
  fromBucket: bucketId,
  toBucket: bucketId,
  ...content.shape,
  /** The clock of the instance that took the order from its source, milliseconds since 1970; the same at both ends. */
  departedAtMs: z.int().min(0),
});
export type Crossing = z.infer<typeof crossingSchema>;

/** The steps whose ledger rows tell of crossings: those of the saga, and those a transfer in one transaction writes. */
export const DEPARTURE_STEP = 'remove-source';
export const ARRIVAL_STEP = 'confirm-target';
export const LOCAL_DEPARTURE_STEP = 'local-departure';
export const LOCAL_ARRIVAL_STEP = 'local-arrival';

/** What was in a row that moved away from the target once, and now takes the order back in. */
const formerRow = z.strictObject({
  userId,
  placedFor: userId.nullable(),
  peerUserId: userId,
  sagaId: z.string(),
});
export type FormerRow = z.infer<typeof formerRow>;

/**
 * Locks the order at its source: seen and counted still, but no other transfer may take it. Refused with
 * `user-not-found`, `order-not-found`, and `order-conflict` while another transfer has it.
 */
export const lockSource = defineCompensatableStep({
  name: 'orders-lock-source',
  input: transferSchema,
  output: content,
});

/**
 * Writes the order at its target, not seen and not counted yet. `former`: it was there before and moved away; its row is
 * used again. Refused with `user-not-found`, and with `order-conflict` when the target's bucket has another order of this id.
 */
export const insertPending = defineCompensatableStep({
  name: 'orders-insert-pending',
  input: transferSchema.extend(content.shape),
  output: z.strictObject({ former: formerRow.nullable() }),
});

/**
 * Takes the locked order from its source; the row stays, unseen, against repeats of its placement. Null when it stayed in
 * its bucket.
 */
export const removeSource = defineStep({
  name: 'orders-remove-source',
  input: transferSchema,
  output: crossingSchema.nullable(),
});

/** Shows the pending order at its target; nothing when that was done already. */
export const confirmTarget = defineStep({
  name: 'orders-confirm-target',
  input: transferSchema.extend({ crossing: crossingSchema.nullable() }),
  output: crossingSchema.nullable(),
});
