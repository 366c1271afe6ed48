import type { z } from 'zod';
import { PermanentError } from '../kernel/errors.ts';

/**
 * What an activity or an orchestration takes and gives, apart from the code that does it: caller and callee share
 * this object and nothing else. Payloads are JSON: a schema here checks and never transforms, so that what is
 * written into the history is what the code sees. No field may be called `Timestamp`: the SDK turns such a string
 * into a `Date` (FACTS-host P10).
 */
export interface RetryPolicy {
  /** Wait after the first failure, milliseconds, at least 1. */
  readonly firstIntervalMs: number;
  /** Factor from one wait to the next. */
  readonly backoff: number;
  /** Longest wait, milliseconds. */
  readonly maxIntervalMs: number;
  /** Tries in all, the first included. Each failed one costs four history events. */
  readonly maxAttempts: number;
}

export interface ActivityContract<Input, Output> {
  readonly kind: 'activity';
  readonly name: string;
  readonly input: z.ZodType<Input>;
  readonly output: z.ZodType<Output>;
  readonly retry: RetryPolicy;
}

export interface OrchestrationContract<Input, Output, Status = never> {
  readonly kind: 'orchestration';
  readonly name: string;
  readonly input: z.ZodType<Input>;
  readonly output: z.ZodType<Output>;
  /** Shape of the custom status, when the orchestration sets one; at most 16 KB as JSON. */
  readonly status?: z.ZodType<Status>;
}

/** Any contract, for registries. */
export interface AnyContract {
  readonly kind: 'activity' | 'orchestration';
  readonly name: string;
}

/** What the Functions host accepts as a function's name. */
const FUNCTION_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,126}$/;

/** Describes an activity. Throws `configuration-invalid` for a name or a policy the host would refuse. */
export function defineActivity<Input, Output>(definition: {
  readonly name: string;
  readonly input: z.ZodType<Input>;
  readonly output: z.ZodType<Output>;
  readonly retry: RetryPolicy;
}): ActivityContract<Input, Output> {
  const { retry } = definition;
  requireFunctionName(definition.name);
  const sound =
    retry.firstIntervalMs >= 1 &&
    retry.backoff >= 1 &&
    retry.maxIntervalMs >= retry.firstIntervalMs &&
    Number.isInteger(retry.maxAttempts) &&
    retry.maxAttempts >= 1;
  if (!sound) {
    throw PermanentError.configuration([
      { path: definition.name, message: 'the retry policy of this activity is not usable' },
    ]);
  }
  return { kind: 'activity', ...definition };
}

/**
 * Describes an orchestration. A released one whose steps change in order or name gets a new name (`…V2`), because
 * instances in flight replay their history against the code they find.
 */
export function defineOrchestration<Input, Output, Status = never>(definition: {
  readonly name: string;
  readonly input: z.ZodType<Input>;
  readonly output: z.ZodType<Output>;
  readonly status?: z.ZodType<Status>;
}): OrchestrationContract<Input, Output, Status> {
  requireFunctionName(definition.name);
  return { kind: 'orchestration', ...definition };
}

function requireFunctionName(name: string): void {
  if (FUNCTION_NAME.test(name)) return;
  throw PermanentError.configuration([
    {
      path: name,
      message:
        'is no function name: a letter, then letters, digits, _ and -, at most 127, are expected',
    },
  ]);
}
