import type { PastDuration, Work } from './model.ts';

/** A finished statement of a shard's command log. */
export interface PastUnit extends PastDuration {
  readonly table: string;
  readonly action: Work;
}

export interface Forecast {
  readonly ms: number;
  /** The table's own past, that of other tables on its shard, or neither. */
  readonly from: 'table' | 'shard' | 'guess';
}

const MIB = 1024 * 1024;
/** Below this size a statement's time is its beginning and end, which do not grow with the table. */
const FIXED_COST_BYTES = 16 * MIB;
/** Newest first: a server that was resized is believed after as many nights. */
const SAMPLES = 9;
/** Of other tables: fewer say too little about this one. */
const MIN_SHARD_SAMPLES = 3;
/** A forecast is for not beginning what does not end in time: half of the statements take longer than the median. */
const MARGIN = 1.5;
/** Guards, figures before and after, the log. */
const OVERHEAD_MS = 2_000;
/**
 * A rebuild of 95 MB took 6 s on the machine of FACTS-mysql 6; servers in use, and smaller ones, are given a quarter of
 * that speed. Histograms read as much.
 */
const GUESS_BYTES_PER_MS = (4 * MIB) / 1_000;
/** An analysis samples a fixed number of pages, whatever the size: milliseconds, once nine seconds (FACTS-mysql 6). */
const GUESS_ANALYZE_MS = 5_000;

/**
 * How long a unit will take, by the median of what the like of it took, scaled by size. Pure. Never less for more bytes.
 * `past` in any order.
 */
export function forecastUnit(
  unit: { readonly table: string; readonly action: Work; readonly bytes: number },
  past: readonly PastUnit[],
): Forecast {
  const alike = past
    .filter(({ action }) => action === unit.action)
    .toSorted((a, b) => b.endedAtMs - a.endedAtMs);
  const own = alike.filter(({ table }) => table === unit.table).slice(0, SAMPLES);
  if (own.length > 0) return { ms: fromSamples(unit, own), from: 'table' };
  const others = alike.slice(0, SAMPLES);
  if (others.length >= MIN_SHARD_SAMPLES) return { ms: fromSamples(unit, others), from: 'shard' };
  const guess =
    unit.action === 'analyze' ? GUESS_ANALYZE_MS : sized(unit.bytes) / GUESS_BYTES_PER_MS;
  return { ms: Math.ceil(guess + OVERHEAD_MS), from: 'guess' };
}

function fromSamples(
  unit: { readonly action: Work; readonly bytes: number },
  samples: readonly PastDuration[],
): number {
  const scaled = samples.map(({ statementMs, bytes }) =>
    unit.action === 'analyze' ? statementMs : statementMs * (sized(unit.bytes) / sized(bytes)),
  );
  return Math.ceil(median(scaled) * MARGIN + OVERHEAD_MS);
}

const sized = (bytes: number): number => Math.max(bytes, FIXED_COST_BYTES);

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? upper;
  return (lower + upper) / 2;
}
