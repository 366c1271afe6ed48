import { BugError } from './errors.ts';

/** Ends an exhaustive `switch`: does not compile while a case is missing, throws if one slips in at run time. */
export function assertNever(value: never): never {
  throw new BugError(`unexpected variant ${JSON.stringify(value)}`);
}
