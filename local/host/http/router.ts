import type { RouteParameter, Segment } from './route-template.ts';

/** One function's place in the URL space. */
export interface Route<T> {
  /** Including the prefix; compared without regard to case. */
  readonly segments: readonly Segment[];
  /** Upper-case method names. */
  readonly methods: ReadonlySet<string>;
  readonly target: T;
}

export interface RouteMatch<T> {
  readonly target: T;
  /** Only parameters that have a value: an unused optional one is absent. */
  readonly params: Readonly<Record<string, string>>;
}

/**
 * Picks the function for a request. More specific templates win, segment by segment, as in ASP.NET
 * Core: literal, complex, constrained parameter, parameter, catch-all; then the order of registration.
 */
export class Router<T> {
  readonly #byMethod = new Map<string, Route<T>[]>();

  constructor(routes: readonly Route<T>[]) {
    const ranked = routes
      .map((route) => ({ route, rank: precedence(route.segments) }))
      .toSorted((a, b) => compareRanks(a.rank, b.rank));
    for (const { route } of ranked) {
      for (const method of route.methods) {
        this.#byMethod.set(method, [...(this.#byMethod.get(method) ?? []), route]);
      }
    }
  }

  /** `path` is still percent-encoded, without the query. Undefined means 404, also for a wrong method. */
  match(method: string, path: string): RouteMatch<T> | undefined {
    const parts = splitPath(path);
    for (const route of this.#byMethod.get(method) ?? []) {
      const params = matchSegments(route.segments, parts);
      if (params !== undefined) return { target: route.target, params };
    }
    return undefined;
  }
}

function splitPath(path: string): string[] {
  const trimmed = path.replace(/^\//, '').replace(/\/$/, '');
  return trimmed === '' ? [] : trimmed.split('/').map(decodeSegment);
}

/** Decodes a segment but keeps `%2F`, as the real host does; malformed escapes stay as they are. */
function decodeSegment(segment: string): string {
  if (!segment.includes('%')) return segment;
  return segment
    .split(/(%2f)/i)
    .map((part) => {
      if (/^%2f$/i.test(part)) return part;
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    })
    .join('');
}

function segmentRank(segment: Segment): number {
  const [part, ...more] = segment;
  if (part === undefined || (part.kind === 'literal' && more.length === 0)) return 1;
  if (part.kind === 'literal' || more.length > 0) return 2;
  const constrained = part.constraints.length > 0;
  if (part.isCatchAll) return constrained ? 5 : 6;
  return constrained ? 3 : 4;
}

function precedence(segments: readonly Segment[]): readonly number[] {
  return segments.map(segmentRank);
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function accepts(parameter: RouteParameter, value: string): boolean {
  return parameter.constraints.every((constraint) => constraint(value));
}

function matchSegments(
  segments: readonly Segment[],
  parts: readonly string[],
): Record<string, string> | undefined {
  const params: Record<string, string> = {};
  let position = 0;
  for (const segment of segments) {
    const [first] = segment;
    if (first === undefined) return undefined;
    if (segment.length === 1 && first.kind === 'parameter' && first.isCatchAll) {
      const rest = parts.slice(position).join('/');
      if (!bindParameter(first, rest === '' ? undefined : rest, params, true)) return undefined;
      return params;
    }
    const value = parts[position];
    if (!matchSegment(segment, value, params)) return undefined;
    if (value !== undefined) position += 1;
  }
  return position === parts.length ? params : undefined;
}

function matchSegment(
  segment: Segment,
  value: string | undefined,
  params: Record<string, string>,
): boolean {
  const [first, ...more] = segment;
  if (first === undefined) return false;
  if (more.length === 0) {
    if (first.kind === 'literal') return value !== undefined && isSame(value, first.text);
    return bindParameter(first, value, params, false);
  }
  return value !== undefined && matchComplex(segment, value, params);
}

function isSame(a: string, b: string): boolean {
  return a === b || a.toLowerCase() === b.toLowerCase();
}

/** An absent value takes the default, or is allowed when the parameter is optional or a catch-all. */
function bindParameter(
  parameter: RouteParameter,
  value: string | undefined,
  params: Record<string, string>,
  mayBeAbsent: boolean,
): boolean {
  const bound = value ?? parameter.fallback;
  if (bound === undefined) return parameter.isOptional || mayBeAbsent;
  if ((bound === '' && !mayBeAbsent) || !accepts(parameter, bound)) return false;
  params[parameter.name] = bound;
  return true;
}

function matchComplex(segment: Segment, value: string, params: Record<string, string>): boolean {
  const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const pattern = segment
    .map((part) => (part.kind === 'literal' ? escape(part.text) : '(.+)'))
    .join('');
  const match = new RegExp(`^${pattern}$`, 'is').exec(value);
  if (match === null) return false;
  const parameters = segment.filter((part) => part.kind === 'parameter');
  return parameters.every((part, index) => bindParameter(part, match[index + 1], params, false));
}
