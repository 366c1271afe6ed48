import { parseConstraint, type Constraint } from './constraints.ts';

export interface RouteParameter {
  readonly kind: 'parameter';
  readonly name: string;
  readonly isOptional: boolean;
  readonly isCatchAll: boolean;
  readonly fallback: string | undefined;
  readonly constraints: readonly Constraint[];
}

export type SegmentPart = { readonly kind: 'literal'; readonly text: string } | RouteParameter;

/** The parts of one path segment; more than one part makes it a complex segment (`{name}.{ext}`). */
export type Segment = readonly SegmentPart[];

/**
 * Parses a route template of ASP.NET Core: `orders/{id:int}/{tab=all}/{*rest}`.
 * Throws a plain `Error` that names the fault; the caller adds the function's name.
 */
export function parseRouteTemplate(template: string): readonly Segment[] {
  const segments = splitSegments(template.replace(/^\/+|\/+$/g, ''));
  const parsed = segments.map(parseSegment);
  const names = parsed.flat().flatMap((part) => (part.kind === 'parameter' ? [part.name] : []));
  const repeated = names.find((name, index) =>
    names.slice(0, index).some((other) => other.toLowerCase() === name.toLowerCase()),
  );
  if (repeated !== undefined) throw new Error(`the parameter "${repeated}" occurs twice`);
  parsed.slice(0, -1).forEach((segment) => {
    if (segment.some((part) => part.kind === 'parameter' && part.isCatchAll)) {
      throw new Error('a catch-all parameter must be the last segment');
    }
  });
  return parsed;
}

/** Splits at slashes outside of braces, since a regex constraint may hold slashes. */
function splitSegments(template: string): string[] {
  const segments: string[] = [];
  let depth = 0;
  let current = '';
  for (const char of template) {
    if (char === '{') depth += 1;
    if (char === '}') depth -= 1;
    if (char === '/' && depth === 0) {
      segments.push(current);
      current = '';
    } else {
      current += char;
    }
  }
  if (depth !== 0) throw new Error('its braces do not match (inside a regex, double them)');
  return current === '' && segments.length === 0 ? [] : [...segments, current];
}

function parseSegment(segment: string): Segment {
  const parts: SegmentPart[] = [];
  let literal = '';
  const flush = (): void => {
    if (literal !== '') parts.push({ kind: 'literal', text: literal });
    literal = '';
  };
  let index = 0;
  while (index < segment.length) {
    const doubled = segment.slice(index, index + 2);
    if (doubled === '{{' || doubled === '}}') {
      literal += doubled.charAt(0);
      index += 2;
    } else if (segment[index] === '{') {
      flush();
      const { text, end } = readParameter(segment, index + 1);
      parts.push(parseParameter(text));
      index = end;
    } else {
      literal += segment[index];
      index += 1;
    }
  }
  flush();
  if (parts.length === 0) throw new Error('it has an empty segment');
  return parts;
}

/** Reads up to the closing brace; doubled braces stand for single ones. */
function readParameter(segment: string, start: number): { text: string; end: number } {
  let text = '';
  let index = start;
  while (index < segment.length) {
    const doubled = segment.slice(index, index + 2);
    if (doubled === '{{' || doubled === '}}') {
      text += doubled.charAt(0);
      index += 2;
    } else if (segment[index] === '}') {
      return { text, end: index + 1 };
    } else {
      text += segment[index];
      index += 1;
    }
  }
  throw new Error('its braces do not match (inside a regex, double them)');
}

/** Splits `id:int:range(1,5)` at colons outside of parentheses. */
function splitConstraints(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let current = '';
  for (const char of text) {
    if (char === '(') depth += 1;
    if (char === ')') depth -= 1;
    if (char === ':' && depth === 0) {
      parts.push(current);
      current = '';
    } else {
      current += char;
    }
  }
  return [...parts, current];
}

function parseParameter(text: string): RouteParameter {
  const isCatchAll = text.startsWith('*');
  const body = text.replace(/^\*{1,2}/, '');
  const equals = /^([^(=]*)=(.*)$/s.exec(body);
  const fallback = equals?.[2];
  const head = equals?.[1] ?? body;
  const isOptional = fallback === undefined && head.endsWith('?');
  const [name = '', ...constraints] = splitConstraints(isOptional ? head.slice(0, -1) : head);
  if (!/^[^/{}*?:=\s]+$/.test(name)) throw new Error(`"{${text}}" is not a valid parameter`);
  return {
    kind: 'parameter',
    name,
    isOptional,
    isCatchAll,
    fallback,
    constraints: constraints.map(parseConstraint),
  };
}
