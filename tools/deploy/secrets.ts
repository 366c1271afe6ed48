import { CannotDo } from '../app-client.ts';

/**
 * A secret that azd hands to a hook (`secrets` in azure.yaml), or undefined when there is none. azd sets a secret that its
 * environment lacks to its own name. Throws {@link CannotDo} for a reference that nobody resolved.
 */
export function secretIn(
  env: Readonly<Record<string, string | undefined>>,
  name: string,
): string | undefined {
  const value = env[name];
  if (value === undefined || value === '' || value === name) return undefined;
  if (!value.startsWith('akvs://')) return value;
  throw new CannotDo(
    `${name} is a reference to a secret, not its value. Let azd run the hook, which reads it: azd hooks run postprovision (or preprovision)`,
  );
}
