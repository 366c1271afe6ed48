import { z } from 'zod';
import { BugError, PermanentError, type ErrorCode } from '../kernel/errors.ts';

/**
 * How results cross the durable boundary. The SDK retries every throw and offers no way to say "this one is final"
 * (FACTS-host 9, STYLE 3.5), so a permanent failure travels as a value: throw = try again, return = the answer.
 */
const envelope = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), value: z.unknown() }),
  z.object({
    ok: z.literal(false),
    error: z.object({
      code: z.string(),
      message: z.string(),
      problems: z.array(z.object({ path: z.string(), message: z.string() })).default([]),
    }),
  }),
]);

export type Envelope = z.input<typeof envelope>;

/** Wraps an answer. `undefined` becomes null: JSON has no other word for it. */
export function success(value: unknown): Envelope {
  return { ok: true, value: value ?? null };
}

/** Wraps a permanent failure; only what a caller may see travels. */
export function failure(error: PermanentError): Envelope {
  return {
    ok: false,
    error: { code: error.code, message: error.message, problems: [...error.problems] },
  };
}

/**
 * The answer in an envelope, checked against its contract. Throws the {@link PermanentError} that was wrapped, and
 * `BugError` when the payload is not what the contract promises.
 */
export function unwrap<Output>(
  contract: { readonly name: string; readonly output: z.ZodType<Output> },
  payload: unknown,
): Output {
  const parsed = envelope.safeParse(payload);
  if (!parsed.success) {
    throw new BugError(`${contract.name} answered with something that is not an envelope`, {
      cause: parsed.error,
    });
  }
  if (!parsed.data.ok) {
    const { code, message, problems } = parsed.data.error;
    throw new PermanentError(code as ErrorCode, message, { problems });
  }
  return checked(contract.name, 'output', contract.output, parsed.data.value);
}

/** Checks a payload against a contract's schema; a mismatch is ours to fix, hence `BugError`. */
export function checked<T>(
  name: string,
  side: 'input' | 'output' | 'status',
  schema: z.ZodType<T>,
  value: unknown,
): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new BugError(
    `the ${side} of ${name} does not fit its contract: ${z.prettifyError(parsed.error)}`,
    { cause: parsed.error },
  );
}
