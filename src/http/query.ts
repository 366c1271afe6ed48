import { PermanentError, type FieldProblem } from '../kernel/errors.ts';

/** Parameters in which Azure Functions takes access keys; they are not the route's. */
const PLATFORM_PARAMETERS: ReadonlySet<string> = new Set(['code', 'clientId', 'clientid']);
const MAX_PARAMETERS = 50;

/**
 * The query of a URL, one value per name. Parsed from the raw text, because the worker's own parsing joins or drops
 * repeated names and hides broken percent-encoding, depending on the mode. Throws `validation-failed` for both.
 */
export function parseQuery(url: string): Readonly<Record<string, string>> {
  const start = url.indexOf('?');
  if (start === -1) return {};
  const end = url.indexOf('#', start);
  const text = url.slice(start + 1, end === -1 ? undefined : end);
  const parts = text.split('&').filter((part) => part !== '');
  if (parts.length > MAX_PARAMETERS) {
    throw PermanentError.validation('The query is not valid.', [
      { path: '/query', message: `may have at most ${MAX_PARAMETERS} parameters` },
    ]);
  }
  const values = new Map<string, string>();
  const problems: FieldProblem[] = [];
  for (const part of parts) {
    const split = part.indexOf('=');
    const name = decode(split === -1 ? part : part.slice(0, split));
    const value = decode(split === -1 ? '' : part.slice(split + 1));
    if (name === undefined || value === undefined) {
      problems.push({
        path: name === undefined ? '/query' : `/query/${name}`,
        message: 'is not valid percent-encoded UTF-8',
      });
    } else if (values.has(name)) {
      problems.push({ path: `/query/${name}`, message: 'is given more than once' });
    } else if (!PLATFORM_PARAMETERS.has(name)) {
      values.set(name, value);
    }
  }
  if (problems.length > 0) throw PermanentError.validation('The query is not valid.', problems);
  return Object.fromEntries(values);
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}
