import { type Figure, figureOf, showFigure } from './figures.ts';

/** One line of the table: something of the product beside its limit, both measured in the same run. */
export interface Line {
  readonly what: string;
  readonly limit: string;
  /** Of the product to its limit; the median decides, or what stands in its place. */
  readonly ratio: Figure;
  /** Absent: the ratio is reported only, and counts neither as met nor as missed. */
  readonly target?: Target;
  /** Absolute values, for the scale only. */
  readonly note: string;
  /** What the product did per second, where another bench reckons with it. */
  readonly perSecond?: number;
}

export interface Target {
  readonly at: 'least' | 'most';
  readonly value: number;
}

export function atLeast(value: number): Target {
  return { at: 'least', value };
}

export function atMost(value: number): Target {
  return { at: 'most', value };
}

/** A line of the ratios of all rounds; `overall`, when there is a ratio of all rounds together, decides in the place of their median. */
export function lineOf(
  line: Omit<Line, 'ratio'> & { readonly ratios: readonly number[]; readonly overall?: number },
): Line {
  const { ratios, overall, ...rest } = line;
  const ratio = figureOf(ratios);
  return { ...rest, ratio: overall === undefined ? ratio : { ...ratio, median: overall } };
}

type Verdict = 'met' | 'MISSED' | 'reported';

function verdictOf({ ratio, target }: Line): Verdict {
  if (target === undefined) return 'reported';
  const isMet = target.at === 'least' ? ratio.median >= target.value : ratio.median <= target.value;
  return isMet ? 'met' : 'MISSED';
}

/** The table as text, a row for each line. */
export function showLines(lines: readonly Line[]): readonly string[] {
  const rows = lines.map((line) => [
    line.what,
    line.limit,
    showTarget(line.target),
    // A small ratio without a target is still to be told from none.
    showFigure(line.ratio, line.target === undefined && line.ratio.median < 0.1 ? 5 : 2),
    verdictOf(line),
    line.note,
  ]);
  const all = [['what', 'limit', 'target', 'ratio (least to most)', 'verdict', 'scale'], ...rows];
  return alignColumns(all);
}

/** Rows of cells as text, each column as wide as its widest cell. */
export function alignColumns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function showTarget(target: Target | undefined): string {
  if (target === undefined) return '-';
  return `${target.at === 'least' ? '>=' : '<='} ${target.value.toFixed(2)}`;
}

/** How many targets are met, and how many lines have none. */
export function summaryOf(lines: readonly Line[]): string {
  const count = (verdict: Verdict): number =>
    lines.filter((line) => verdictOf(line) === verdict).length;
  const [met, reported] = [count('met'), count('reported')];
  const told = reported === 0 ? '' : `, ${reported} reported`;
  return `${met} of ${lines.length - reported} targets met${told}`;
}
