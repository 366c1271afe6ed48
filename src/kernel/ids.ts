import type { Brand } from './brand.ts';

/** A user's number as canonical decimal text, 1 … 2^63-1. Text, because JSON numbers end at 2^53. */
export type UserId = Brand<string, 'UserId'>;
/** An order's number as canonical decimal text, 1 … 2^63-1; unique within its user's bucket (ADR 0004). */
export type OrderId = Brand<string, 'OrderId'>;
/** Virtual bucket, 0 … 1023. */
export type BucketId = Brand<number, 'BucketId'>;
/** Position of a shard in `SHARDS`, from 0. */
export type ShardId = Brand<number, 'ShardId'>;

/** Largest id: MySQL's signed BIGINT. */
export const MAX_ID = 9_223_372_036_854_775_807n;

const CANONICAL_ID = /^[1-9][0-9]{0,18}$/;
const MAX_ID_TEXT = MAX_ID.toString();

/**
 * Canonical decimal text of an id given as text or as a safe-integer number, or `undefined` when it is
 * neither or out of 1 … 2^63-1. No leading zeros, signs, spaces or exponents are accepted.
 */
export function parseIdText(value: unknown): string | undefined {
  const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== 'string' || !CANONICAL_ID.test(text)) return undefined;
  if (text.length === MAX_ID_TEXT.length && text > MAX_ID_TEXT) return undefined;
  return text;
}

export function parseUserId(value: unknown): UserId | undefined {
  return parseIdText(value) as UserId | undefined;
}

export function parseOrderId(value: unknown): OrderId | undefined {
  return parseIdText(value) as OrderId | undefined;
}

/** Order of two canonical ids by value. */
export function compareIds(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
