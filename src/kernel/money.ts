import type { Brand } from './brand.ts';

/** An amount of one order in cents, 1 … 2 147 483 647 (the INT column's limit, API.md). */
export type AmountCents = Brand<number, 'AmountCents'>;

export const MAX_AMOUNT_CENTS = 2_147_483_647;

export function parseAmountCents(value: unknown): AmountCents | undefined {
  if (typeof value !== 'number' || !Number.isInteger(value)) return undefined;
  return value >= 1 && value <= MAX_AMOUNT_CENTS ? (value as AmountCents) : undefined;
}
