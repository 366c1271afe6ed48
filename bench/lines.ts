import { type Figure, figureOf, showFigure } from './figures.ts';

/** One line of the table: something of the product beside its limit, both measured in the same run. */
export interface Line {
  readonly what: string;
  readonly limit: string;
  /** Of the product to its limit; the median decides. */
  readonly ratio: Figure;
  readonly target: Target;
  /** Absolute values, for the scale only. */
  readonly note: string;
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

/** A line of the ratios of all rounds. */
export function lineOf(line: Omit<Line, 'ratio'> & { readonly ratios: readonly number[] }): Line {
  const { ratios, ...rest } = line;
  return { ...rest, ratio: figureOf(ratios) };
}

export function isMet({ ratio, target }: Line): boolean {
  return target.at === 'least' ? ratio.median >= target.value : ratio.median <= target.value;
}

/** The table as text, a row for each line. */
export function showLines(lines: readonly Line[]): readonly string[] {
  const rows = lines.map((line) => [
    line.what,
    line.limit,
    `${line.target.at === 'least' ? '>=' : '<='} ${line.target.value.toFixed(2)}`,
    showFigure(line.ratio, 2),
    isMet(line) ? 'met' : 'MISSED',
    line.note,
  ]);
  const all = [['what', 'limit', 'target', 'ratio (least to most)', 'verdict', 'scale'], ...rows];
  const widths = (all[0] ?? []).map((_, column) =>
    Math.max(...all.map((row) => (row[column] ?? '').length)),
  );
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
