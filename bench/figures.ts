/** Several measurements of one thing. */
export interface Figure {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function figureOf(values: readonly number[]): Figure {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  const middle = (sorted.length - 1) / 2;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    least: at(0),
    most: at(sorted.length - 1),
  };
}

/** `median (least to most)`, for people. */
export function showFigure({ median, least, most }: Figure, digits: number): string {
  const show = (value: number): string => value.toFixed(digits);
  return `${show(median)} (${show(least)} to ${show(most)})`;
}
