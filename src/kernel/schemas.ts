import { z } from 'zod';
import type { FieldProblem } from './errors.ts';
import { parseOrderId, parseUserId, type OrderId, type UserId } from './ids.ts';
import { MAX_AMOUNT_CENTS, parseAmountCents, type AmountCents } from './money.ts';
import { parseTimestamp, type Timestamp } from './time.ts';

/**
 * zod schemas of the value types, used wherever a value enters (HTTP, queue, batch) and for OpenAPI, so
 * that one mistake has one message everywhere. Each accepts what its parser accepts and gives the
 * canonical form; the JSON Schema shown to callers hangs on it as metadata.
 */

export type JsonSchema = Readonly<Record<string, unknown>>;

interface ValueOptions<T> {
  readonly parse: (value: unknown) => T | undefined;
  /** What is accepted, as the start of a sentence: "a user id: …". */
  readonly expected: string;
  readonly schema: JsonSchema;
}

/** A schema around a parser. `undefined` is told apart from a wrong value; the value is never repeated. */
export function valueSchema<T>(options: ValueOptions<T>): z.ZodType<T> {
  return z
    .unknown()
    .transform((value, context) => {
      const parsed = options.parse(value);
      if (parsed !== undefined) return parsed;
      context.addIssue(
        value === undefined
          ? `is missing: ${options.expected} is expected`
          : `${options.expected} is expected, got ${describeKind(value)}`,
      );
      return z.NEVER;
    })
    .meta({ ...options.schema }) as z.ZodType<T>;
}

/** What kind of JSON value came, in words; never the value itself. */
export function describeKind(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'string') return value === '' ? 'an empty text' : 'another text';
  if (typeof value === 'boolean') return 'a boolean';
  if (typeof value !== 'number') return 'an object';
  return Number.isSafeInteger(value) ? 'another number' : 'a number that is not a safe integer';
}

const ID_TEXT: JsonSchema = { type: 'string', pattern: '^[1-9][0-9]{0,18}$' };
const ID_RANGE = 'decimal text (or a safe-integer number) from 1 to 9223372036854775807';
const ID_REQUEST: JsonSchema = {
  anyOf: [ID_TEXT, { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER }],
};

export const userIdSchema: z.ZodType<UserId> = valueSchema({
  parse: parseUserId,
  expected: `a user id, ${ID_RANGE},`,
  schema: { ...ID_REQUEST, description: 'User id, 1 … 2^63-1.' },
});

export const orderIdSchema: z.ZodType<OrderId> = valueSchema({
  parse: parseOrderId,
  expected: `an order id, ${ID_RANGE},`,
  schema: { ...ID_REQUEST, description: 'Order id, 1 … 2^63-1.' },
});

export const amountCentsSchema: z.ZodType<AmountCents> = valueSchema({
  parse: parseAmountCents,
  expected: `a whole number of cents from 1 to ${MAX_AMOUNT_CENTS}`,
  schema: { type: 'integer', minimum: 1, maximum: MAX_AMOUNT_CENTS, description: 'In cents.' },
});

export const timestampSchema: z.ZodType<Timestamp> = valueSchema({
  parse: parseTimestamp,
  expected: 'an RFC 3339 time such as 2026-01-31T09:30:00.000Z, 1970 … 9999,',
  schema: { type: 'string', format: 'date-time', description: 'RFC 3339, any offset.' },
});

/** A whole number given as text, as queries and settings do. */
export function wholeNumberText(range: {
  readonly min: number;
  readonly max: number;
}): z.ZodType<number> {
  const { min, max } = range;
  return valueSchema({
    parse: (value) => {
      const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : NaN;
      return number >= min && number <= max ? number : undefined;
    },
    expected: `a whole number from ${min} to ${max}`,
    schema: { type: 'integer', minimum: min, maximum: max },
  });
}

/** Ids, sums and times as they leave: for describing responses. */
export const idText = z
  .string()
  .meta({ pattern: '^[1-9][0-9]{0,18}$', description: '64-bit id as decimal text.' });
export const sumText = z
  .string()
  .meta({ pattern: '^(0|[1-9][0-9]*)$', description: '64-bit sum as decimal text.' });
export const timestampText = z
  .string()
  .meta({ format: 'date-time', description: 'RFC 3339 UTC with milliseconds.' });

/** More problems than this are not told: enough to repair an input, bounded for hostile ones. */
const MAX_PROBLEMS = 50;
const MAX_KEY_LENGTH = 64;

/** A zod error as {@link FieldProblem}s: paths as JSON pointers below `prefix`, one entry per unknown field. */
export function fieldProblems(error: z.ZodError, prefix = ''): FieldProblem[] {
  const problems: FieldProblem[] = [];
  for (const issue of error.issues) {
    const path = prefix + pointer(issue.path);
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys.slice(0, MAX_PROBLEMS)) {
        problems.push({ path: path + pointer([key]), message: 'is not a known field' });
      }
    } else if (issue.code === 'invalid_type' && issue.expected === 'object') {
      problems.push({ path, message: `an object is expected, got ${describeKind(issue.input)}` });
    } else {
      problems.push({ path, message: issue.message });
    }
    if (problems.length >= MAX_PROBLEMS) break;
  }
  return problems.slice(0, MAX_PROBLEMS);
}

/** RFC 6901, with overlong names cut. */
function pointer(path: readonly PropertyKey[]): string {
  return path
    .map((part) => {
      const text = String(part);
      const name = text.length > MAX_KEY_LENGTH ? `${text.slice(0, MAX_KEY_LENGTH)}…` : text;
      return `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    })
    .join('');
}
