/** Tells whether a decoded route value satisfies one constraint. */
export type Constraint = (value: string) => boolean;

const INT64_MAX = 2n ** 63n - 1n;

function integerWithin(min: bigint, max: bigint): Constraint {
  return (value) => {
    if (!/^[+-]?\d+$/.test(value)) return false;
    const number = BigInt(value.replace(/^\+/, ''));
    return number >= min && number <= max;
  };
}

const isNumber: Constraint = (value) => /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value);
const isDecimal: Constraint = (value) => /^[+-]?(\d+\.?\d*|\.\d+)$/.test(value);

const SIMPLE: Readonly<Record<string, Constraint>> = {
  int: integerWithin(-(2n ** 31n), 2n ** 31n - 1n),
  long: integerWithin(-INT64_MAX - 1n, INT64_MAX),
  bool: (value) => /^(true|false)$/i.test(value),
  guid: (value) => /^(\{|\()?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}(\}|\))?$/i.test(value),
  alpha: (value) => /^[a-z]*$/i.test(value),
  decimal: isDecimal,
  double: isNumber,
  float: isNumber,
  datetime: (value) => /\d/.test(value) && !Number.isNaN(Date.parse(value)),
  required: (value) => value !== '',
};

function integers(text: string): bigint[] | undefined {
  const parts = text.split(',').map((part) => part.trim());
  return parts.every((part) => /^-?\d+$/.test(part)) ? parts.map(BigInt) : undefined;
}

function lengthWithin(min: bigint, max: bigint): Constraint {
  return (value) => value.length >= min && value.length <= max;
}

/** Constraints with integer arguments, by name; undefined for a wrong number of arguments. */
function withArguments(name: string, args: readonly bigint[]): Constraint | undefined {
  const [first, second, ...more] = args;
  if (first === undefined || more.length > 0) return undefined;
  if (second === undefined) {
    if (name === 'length') return lengthWithin(first, first);
    if (name === 'minlength') return lengthWithin(first, INT64_MAX);
    if (name === 'maxlength') return lengthWithin(0n, first);
    if (name === 'min') return integerWithin(first, INT64_MAX);
    if (name === 'max') return integerWithin(-INT64_MAX - 1n, first);
    return undefined;
  }
  if (name === 'length') return lengthWithin(first, second);
  return name === 'range' ? integerWithin(first, second) : undefined;
}

/**
 * Compiles one route constraint of ASP.NET Core, such as `int`, `length(2,5)` or `regex(^a+$)`.
 * Throws a plain `Error` for an unknown one: a route that silently matches too much is worse.
 */
export function parseConstraint(text: string): Constraint {
  const match = /^([a-z]+)(?:\((.*)\))?$/is.exec(text.trim());
  const name = match?.[1]?.toLowerCase() ?? '';
  const argument = match?.[2];
  if (argument === undefined) {
    const simple = SIMPLE[name];
    if (simple !== undefined) return simple;
  } else if (name === 'regex') {
    // ASP.NET compiles route expressions with IgnoreCase.
    const expression = new RegExp(argument, 'i');
    return (value) => expression.test(value);
  } else {
    const args = integers(argument);
    const constraint = args === undefined ? undefined : withArguments(name, args);
    if (constraint !== undefined) return constraint;
  }
  throw new Error(`unknown route constraint "${text}"`);
}
