import { z } from 'zod';
import type { FieldProblem } from '../kernel/errors.ts';
import type { OrderId, UserId } from '../kernel/ids.ts';
import type { AmountCents } from '../kernel/money.ts';
import {
  amountCentsSchema,
  fieldProblems,
  idText,
  orderIdSchema,
  timestampSchema,
  timestampText,
  userIdSchema,
} from '../kernel/schemas.ts';
import type { Timestamp } from '../kernel/time.ts';

/** An order as it is stored; only its user ever changes. */
export interface Order {
  readonly orderId: OrderId;
  readonly userId: UserId;
  readonly amountCents: AmountCents;
  readonly createdAt: Timestamp;
}

/** What a caller sends for one user's order; the user comes from the path. */
export const placeOrderSchema = z
  .strictObject({
    amountCents: amountCentsSchema,
    orderId: orderIdSchema.optional(),
    createdAt: timestampSchema.optional(),
  })
  .meta({ id: 'PlaceOrder' });

/** One order of a batch or queue message. */
export const newOrderSchema = z
  .strictObject({
    userId: userIdSchema,
    amountCents: amountCentsSchema,
    orderId: orderIdSchema.optional(),
    createdAt: timestampSchema.optional(),
  })
  .meta({ id: 'NewOrder' });

/** A valid order that may still lack its id and time. */
export interface NewOrder {
  readonly userId: UserId;
  readonly amountCents: AmountCents;
  readonly orderId?: OrderId | undefined;
  readonly createdAt?: Timestamp | undefined;
}

const ANOTHER_USER = {
  path: ['toUserId'],
  message: 'must be another user than fromUserId',
};

function areTwo(users: { readonly fromUserId: UserId; readonly toUserId: UserId }): boolean {
  return users.fromUserId !== users.toUserId;
}

/** What a caller sends to give an order to another user; the order comes from the path. */
export const transferOrderSchema = z
  .strictObject({ fromUserId: userIdSchema, toUserId: userIdSchema })
  .refine(areTwo, ANOTHER_USER)
  .meta({ id: 'TransferOrder' });

/** The same as a message. */
export const transferMessageSchema = z
  .strictObject({ orderId: orderIdSchema, fromUserId: userIdSchema, toUserId: userIdSchema })
  .refine(areTwo, ANOTHER_USER);

export type ParsedOrder =
  | { readonly kind: 'valid'; readonly order: NewOrder }
  | { readonly kind: 'invalid'; readonly problems: readonly FieldProblem[] };

/** Checks one order of a batch or queue message: the same rules and messages as over HTTP. Never throws. */
export function parseNewOrder(value: unknown): ParsedOrder {
  const parsed = newOrderSchema.safeParse(value, { reportInput: true });
  return parsed.success
    ? { kind: 'valid', order: parsed.data }
    : { kind: 'invalid', problems: fieldProblems(parsed.error) };
}

/** Problems in one line, for places that have room for a text only (rejects of a batch). */
export function describeProblems(problems: readonly FieldProblem[]): string {
  return problems
    .map(({ path, message }) => (path === '' ? message : `${path} ${message}`))
    .join('; ');
}

/** An order in a response. */
export const orderSchema = z
  .object({
    orderId: idText,
    userId: idText,
    amountCents: z.int().min(1),
    createdAt: timestampText,
  })
  .meta({ id: 'Order' });

/** Orders of one page of a listing. */
export const DEFAULT_PAGE_SIZE = 100;
export const MAX_PAGE_SIZE = 1000;
