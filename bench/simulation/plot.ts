import { fewestMoved } from './outcome.ts';
import type { SchemeFigures } from './results.ts';
import { START } from './schemes.ts';

/** What the figure says in words. */
export interface PlotText {
  readonly title: string;
  readonly subtitle: string;
}

const WIDTH = 860;
const HEIGHT = 470;
const TOP = 118;
const BOTTOM = 408;

interface Axis {
  /** Pixels of a value. */
  (value: number): number;
}

/** A logarithmic axis from `low` at pixel `from` to `high` at pixel `to`; what lies outside is drawn at its end. */
export function logAxis(low: number, high: number, from: number, to: number): Axis {
  return (value) => {
    const inside = Math.min(Math.max(value, low), high);
    return from + ((to - from) * Math.log(inside / low)) / Math.log(high / low);
  };
}

/** Spread and moves of the schemes, as an SVG that is readable on light and dark pages. */
export function plotSchemes(figures: readonly SchemeFigures[], text: PlotText): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escaped(text.title)}</title>`,
    `<desc id="desc">${escaped(describe(figures))}</desc>`,
    `<style>${STYLE}</style>`,
    `<rect class="page" x="0.5" y="0.5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="6"/>`,
    label(24, 34, text.title, 'heading'),
    label(24, 54, text.subtitle, 'quiet'),
    legend(figures),
    loadPanel(figures),
    movePanel(figures),
    '</svg>',
    '',
  ].join('\n');
}

/** Both panels in words, for those who cannot see them. */
function describe(figures: readonly SchemeFigures[]): string {
  return figures
    .map(({ scheme, most, changes }) => {
      const moved = changes.map(
        ({ shards, ordersMoved }) => `${percent(ordersMoved.median)} to ${shards} shards`,
      );
      return `${scheme}: hottest shard ${most.median.toFixed(2)} times the mean; orders moved ${moved.join(', ')}.`;
    })
    .join(' ');
}

function legend(figures: readonly SchemeFigures[]): string {
  const step = 205;
  const items = figures.map(({ scheme }, index) => {
    const x = 24 + index * step;
    const line = `<line class="line s${index}" x1="${x}" y1="80" x2="${x + 30}" y2="80"/>`;
    return line + mark(index, x + 15, 80) + label(x + 38, 84, scheme, 'plain');
  });
  return items.join('\n');
}

/** Left: the shards from the busiest to the idlest. */
function loadPanel(figures: readonly SchemeFigures[]): string {
  const [left, right] = [64, 400];
  const y = logAxis(1 / 16, 8, BOTTOM, TOP);
  const x = (place: number): number => left + ((right - left) * place) / START;
  const parts = [
    label(left, TOP - 10, 'load of each shard, in parts of the mean', 'axis'),
    ...[1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8].map(
      (value) =>
        grid({ x1: left, x2: right, y1: y(value), y2: y(value) }, value === 1) +
        label(left - 8, y(value) + 4, value < 1 ? `1/${1 / value}` : String(value), 'end'),
    ),
    ...[1, 16, 32, 48, 64].map((place) =>
      label(x(place - 0.5), BOTTOM + 18, String(place), 'middle'),
    ),
    label((left + right) / 2, BOTTOM + 40, 'shards at first, busiest to idlest', 'middle'),
  ];
  // The product last, on top.
  for (const [index, { loads }] of [...figures.entries()].reverse()) {
    const steps = loads.map((load, place) => {
      const to = `${pixel(y(load))} H ${pixel(x(place + 1))}`;
      return place === 0 ? `M ${left} ${to}` : `V ${to}`;
    });
    parts.push(`<path class="line s${index}" d="${steps.join(' ')}"/>`);
  }
  return parts.join('\n');
}

/** Right: what has to move. */
function movePanel(figures: readonly SchemeFigures[]): string {
  const [left, right] = [520, 826];
  const x = logAxis(0.005, 1, left, right);
  const changes = figures[0]?.changes ?? [];
  const row = (BOTTOM - TOP) / Math.max(1, changes.length);
  const parts = [
    label(left - 64, TOP - 10, 'orders that move when the shards change', 'axis'),
    ...[0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].map(
      (value) =>
        grid({ x1: x(value), x2: x(value), y1: TOP, y2: BOTTOM }, false) +
        label(x(value), BOTTOM + 18, percent(value), 'middle'),
    ),
    label(
      (left + right) / 2,
      BOTTOM + 40,
      'share of all orders; bar: the fewest for an even spread',
      'middle',
    ),
  ];
  changes.forEach(({ shards }, change) => {
    const top = TOP + change * row;
    parts.push(label(left - 10, top + row / 2 + 4, `${START} → ${shards}`, 'end'));
    const fewest = x(fewestMoved(shards));
    parts.push(
      `<line class="fewest" x1="${pixel(fewest)}" x2="${pixel(fewest)}" y1="${pixel(top + 8)}" y2="${pixel(top + row - 8)}"/>`,
    );
    figures.forEach((scheme, index) => {
      const moved = scheme.changes[change]?.ordersMoved.median ?? NaN;
      const offset = (row - 24) * (index / Math.max(1, figures.length - 1));
      parts.push(mark(index, x(moved), top + 12 + offset));
    });
  });
  return parts.join('\n');
}

/** Each scheme has a shape of its own too: colours alone are not for everybody. */
function mark(index: number, x: number, y: number): string {
  const at = (dx: number, dy: number): string => `${pixel(x + dx)},${pixel(y + dy)}`;
  const corners = [
    undefined,
    [at(-4.5, -4.5), at(4.5, -4.5), at(4.5, 4.5), at(-4.5, 4.5)],
    [at(0, -6), at(5.5, 4), at(-5.5, 4)],
    [at(0, -6), at(6, 0), at(0, 6), at(-6, 0)],
  ][index];
  return corners === undefined
    ? `<circle class="mark s${index}" cx="${pixel(x)}" cy="${pixel(y)}" r="5"/>`
    : `<polygon class="mark s${index}" points="${corners.join(' ')}"/>`;
}

function grid(
  line: { readonly x1: number; readonly x2: number; readonly y1: number; readonly y2: number },
  isStrong: boolean,
): string {
  const at = Object.entries(line).map(([name, value]) => `${name}="${pixel(value)}"`);
  return `<line class="${isStrong ? 'even' : 'grid'}" ${at.join(' ')}/>`;
}

function label(x: number, y: number, text: string, kind: string): string {
  return `<text class="${kind}" x="${pixel(x)}" y="${pixel(y)}">${escaped(text)}</text>`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.095 && share * 100 !== Math.round(share * 100) ? 1 : 0)} %`;
}

function pixel(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

/** Colours that stay apart for most eyes, of equal weight on white and on near black. */
const LIGHT = ['#0b5cad', '#b3500c', '#1a7f37', '#8a3ffc'];
const DARK = ['#6cb6ff', '#f0a05a', '#5fd07f', '#c49bff'];

function colours(page: string, ink: string, quiet: string, schemes: readonly string[]): string {
  return [
    `.page{fill:${page};stroke:${quiet};stroke-opacity:.35}text{fill:${ink}}.quiet,.end,.middle,.axis{fill:${quiet}}`,
    `.grid{stroke:${quiet};stroke-opacity:.22}.even{stroke:${ink};stroke-opacity:.6}.fewest{stroke:${ink}}`,
    ...schemes.map(
      (colour, index) =>
        `.line.s${index}{stroke:${colour}}.mark.s${index}{fill:${colour};stroke:${page}}`,
    ),
  ].join('');
}

const STYLE = [
  'text{font:13px system-ui,"Segoe UI",Helvetica,Arial,sans-serif}',
  '.heading{font-size:17px;font-weight:600}.axis{font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}',
  '.line{fill:none;stroke-width:1.8}.line.s0{stroke-width:2.6}.line.s1{stroke-dasharray:7 4}.line.s3{stroke-dasharray:2 3}',
  '.fewest{stroke-width:2}',
  colours('#ffffff', '#1f2328', '#59636e', LIGHT),
  `@media (prefers-color-scheme:dark){${colours('#0d1117', '#f0f6fc', '#9198a1', DARK)}}`,
].join('');
