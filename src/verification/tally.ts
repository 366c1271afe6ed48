import { CHECK_NAMES, FIGURE_NAMES, MAX_EXAMPLES } from './model.ts';
import type { CheckName, CheckResult, FigureName, Figures, Tally, Violation } from './model.ts';

/** Adds up what a piece of work finds, for the checks that were asked for. */
export interface Counter {
  checked(check: CheckName, rows: number): void;
  /** Counts a violation; nothing when its check was not asked for. */
  violation(violation: Violation): void;
  figure(name: FigureName, add: number): void;
  wants(check: CheckName): boolean;
  tally(): Tally;
}

export function createCounter(checks: readonly CheckName[]): Counter {
  const wanted = new Set(checks);
  const checked: Partial<Record<CheckName, number>> = {};
  const violations: Partial<Record<CheckName, number>> = {};
  const figures: Partial<Record<FigureName, number>> = {};
  const examples: Violation[] = [];
  return {
    wants: (check) => wanted.has(check),
    checked: (check, rows) => {
      if (wanted.has(check)) checked[check] = (checked[check] ?? 0) + rows;
    },
    violation: (found) => {
      const { check } = found;
      if (!wanted.has(check)) return;
      violations[check] = (violations[check] ?? 0) + 1;
      if ((violations[check] ?? 0) <= MAX_EXAMPLES) examples.push(found);
    },
    figure: (name, add) => {
      if (add > 0) figures[name] = (figures[name] ?? 0) + add;
    },
    tally: () => ({ checked, violations, examples, figures }),
  };
}

export const EMPTY_TALLY: Tally = { checked: {}, violations: {}, examples: [], figures: {} };

/** Adds two tallies; the first {@link MAX_EXAMPLES} examples per check stay. */
export function addTallies(a: Tally, b: Tally): Tally {
  const kept = new Map<CheckName, number>();
  const examples = [...a.examples, ...b.examples].filter(({ check }) => {
    const already = kept.get(check) ?? 0;
    kept.set(check, already + 1);
    return already < MAX_EXAMPLES;
  });
  return {
    checked: addCounts(a.checked, b.checked),
    violations: addCounts(a.violations, b.violations),
    figures: addCounts(a.figures, b.figures),
    examples,
  };
}

function addCounts<Name extends string>(
  a: Partial<Record<Name, number>>,
  b: Partial<Record<Name, number>>,
): Partial<Record<Name, number>> {
  const sum: Partial<Record<Name, number>> = { ...a };
  for (const name of Object.keys(b) as Name[]) sum[name] = (sum[name] ?? 0) + (b[name] ?? 0);
  return sum;
}

/** The checks as their reader sees them, those that were asked for. */
export function checkResults(tally: Tally, checks: readonly CheckName[]): CheckResult[] {
  return CHECK_NAMES.filter((name) => checks.includes(name)).map((name) => {
    const violations = tally.violations[name] ?? 0;
    return {
      name,
      ok: violations === 0,
      checked: tally.checked[name] ?? 0,
      violations,
      examples: tally.examples.filter((example) => example.check === name),
    };
  });
}

export function figuresOf(
  tally: Tally,
  orders: { readonly ordersVisible: number; readonly visibleCents: string },
): Figures {
  const named = Object.fromEntries(
    FIGURE_NAMES.map((name) => [name, tally.figures[name] ?? 0]),
  ) as Record<FigureName, number>;
  return { ...named, ...orders };
}
