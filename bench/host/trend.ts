export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A straight line through points, by least squares. */
export interface Fit {
  readonly slope: number;
  /** Standard error of the slope, as if the points scattered independently. */
  readonly slopeError: number;
  at(x: number): number;
}

/** Takes three points at least. */
export function fitLine(points: readonly Point[]): Fit {
  const mean = (of: (point: Point) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const x = mean((point) => point.x);
  const y = mean((point) => point.y);
  const spread = mean((point) => (point.x - x) ** 2);
  const slope = mean((point) => (point.x - x) * (point.y - y)) / spread;
  const at = (where: number): number => y + slope * (where - x);
  const scatter = mean((point) => (point.y - at(point.x)) ** 2) / (points.length - 2);
  return { slope, slopeError: Math.sqrt(scatter / spread), at };
}
