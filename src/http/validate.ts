import type { z } from 'zod';
import { PermanentError } from '../kernel/errors.ts';
import { fieldProblems } from '../kernel/schemas.ts';

export type ObjectSchema = z.ZodObject<z.ZodRawShape>;

/** Checks one part of a request; paths of what is wrong begin with `prefix` (`""` for the body). Throws `validation-failed`. */
export function validate(
  schema: z.ZodType | undefined,
  value: unknown,
  prefix: '/params' | '/query' | '/headers' | '',
): unknown {
  if (schema === undefined) return {};
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw PermanentError.validation('The request is not valid.', fieldProblems(parsed.error, prefix));
}

/** The headers a schema names (lower case); absent ones are left out. */
export function pickHeaders(
  schema: ObjectSchema | undefined,
  headers: { get(name: string): string | null },
): Readonly<Record<string, string>> {
  const present: Record<string, string> = {};
  for (const name of Object.keys(schema?.shape ?? {})) {
    const value = headers.get(name);
    if (value !== null) present[name] = value;
  }
  return present;
}
