import type { Config } from '../config.ts';
import type { Action, Decision, TableFigures, Work } from './model.ts';
import { matchesPattern, parsePatterns } from './patterns.ts';
import type { TablePattern } from './patterns.ts';

/** Thresholds of maintenance; `docs/maintenance.md` has the reason and the source of each. */
export interface Policy {
  readonly include: readonly TablePattern[];
  readonly exclude: readonly TablePattern[];
  /** Columns by table that get a histogram. */
  readonly histograms: ReadonlyMap<string, readonly string[]>;
  readonly analyzeShare: number;
  readonly analyzeMinRows: number;
  readonly analyzeMaxAgeMs: number;
  readonly histogramMaxAgeMs: number;
  readonly rebuildWaste: number;
  readonly mediumWaste: number;
  readonly mediumBytes: number;
  readonly rebuildMinBytes: number;
  readonly rebuildPauseMs: number;
}

const HOUR_MS = 3_600_000;
const MEBIBYTE = 1024 * 1024;
const MAX_NEED = 1_000;

/** The policy of the settings. */
export function policyOf(config: Config): Policy {
  return {
    include: parsePatterns(config.MAINTENANCE_INCLUDE),
    exclude: parsePatterns(config.MAINTENANCE_EXCLUDE),
    histograms: parseHistograms(config.MAINTENANCE_HISTOGRAMS),
    analyzeShare: config.MAINTENANCE_ANALYZE_PERCENT / 100,
    analyzeMinRows: config.MAINTENANCE_ANALYZE_MIN_ROWS,
    analyzeMaxAgeMs: config.MAINTENANCE_ANALYZE_MAX_AGE_HOURS * HOUR_MS,
    histogramMaxAgeMs: config.MAINTENANCE_HISTOGRAM_MAX_AGE_HOURS * HOUR_MS,
    rebuildWaste: config.MAINTENANCE_REBUILD_WASTE_PERCENT / 100,
    mediumWaste: config.MAINTENANCE_REBUILD_MEDIUM_PERCENT / 100,
    mediumBytes: config.MAINTENANCE_REBUILD_WASTED_MB * MEBIBYTE,
    rebuildMinBytes: config.MAINTENANCE_REBUILD_MIN_MB * MEBIBYTE,
    rebuildPauseMs: config.MAINTENANCE_REBUILD_PAUSE_HOURS * HOUR_MS,
  };
}

function parseHistograms(text: string): ReadonlyMap<string, readonly string[]> {
  const columns = new Map<string, string[]>();
  for (const part of text.split(',').map((item) => item.trim())) {
    const [table, column] = part.split('.');
    if (!table || !column) continue;
    columns.set(table, [...(columns.get(table) ?? []), column]);
  }
  return columns;
}

/**
 * Rows that must have changed before statistics count as stale: a share of small tables; of large ones the square root of
 * 1000 × rows, since a share of very many rows is reached too late (3 % of a million, 0.3 % of a hundred million). Pure.
 */
export function staleAfterRows(
  rows: number,
  policy: Pick<Policy, 'analyzeShare' | 'analyzeMinRows'>,
): number {
  const limit = Math.min(rows * policy.analyzeShare, Math.sqrt(1_000 * rows));
  return Math.max(policy.analyzeMinRows, Math.ceil(limit));
}

export interface DecideOptions {
  /** The best that may be done for the table even where no threshold is reached. Patterns still hold. */
  readonly force?: boolean;
}

/**
 * What a table needs. Of what it needs the strongest wins: a rebuild brings fresh statistics with it, a histogram too.
 * Pure; the same figures, policy and time give the same answer.
 */
export function decide(
  figures: TableFigures,
  policy: Policy,
  nowMs: number,
  options: DecideOptions = {},
): Decision {
  const barred = barredFrom(figures, policy);
  if (barred !== undefined) return barred;
  const verdicts = [
    rebuildVerdict(figures, policy, nowMs),
    histogramVerdict(figures, policy, nowMs),
    analyzeVerdict(figures, policy, nowMs),
  ];
  const allowed = verdicts.filter(
    (verdict) => verdict.action === 'none' || isAllowed(figures, policy, verdict.action),
  );
  const needed = allowed.find((verdict) => verdict.action !== 'none');
  if (needed !== undefined) return needed;
  if (options.force === true) return forced(figures, policy);
  const reasons = allowed.map((verdict) => verdict.reason).filter((reason) => reason !== '');
  const held = allowed.find((verdict) => HOLDS.has(verdict.code));
  return nothing(held?.code ?? 'fine', reasons.join('; '));
}

/** Reasons for doing nothing that say more than that all is fine. */
const HOLDS: ReadonlySet<Decision['code']> = new Set(['rebuilt-lately', 'no-histograms']);

/** Nothing is done to the table at all, and why; undefined when something may be. */
function barredFrom(figures: TableFigures, policy: Policy): Decision | undefined {
  if (figures.storageEngine.toLowerCase() !== 'innodb') {
    return nothing('not-innodb', `its storage engine is ${figures.storageEngine}, not InnoDB`);
  }
  const works: readonly Work[] = ['analyze', 'histogram', 'rebuild'];
  if (works.some((action) => isAllowed(figures, policy, action))) return undefined;
  const excluded = works.every((action) => matchesPattern(policy.exclude, figures, action));
  return excluded || figures.isRegistered
    ? nothing('excluded', 'MAINTENANCE_INCLUDE and MAINTENANCE_EXCLUDE leave it out')
    : nothing(
        'not-registered',
        'this build does not know the table; a pattern in MAINTENANCE_INCLUDE would take it in',
      );
}

function isAllowed(figures: TableFigures, policy: Policy, action: Work): boolean {
  return (
    matchesPattern(policy.include, figures, action) &&
    !matchesPattern(policy.exclude, figures, action)
  );
}

function rebuildVerdict(figures: TableFigures, policy: Policy, nowMs: number): Decision {
  const bytes = allocatedBytes(figures);
  const { waste } = figures;
  if (bytes < policy.rebuildMinBytes) {
    return nothing(
      'fine',
      `${mib(bytes)} is below the ${mib(policy.rebuildMinBytes)} of a rebuild`,
    );
  }
  if (waste === null) return nothing('fine', 'its fragmentation is unknown');
  const wasted = waste * bytes;
  const measured =
    figures.wasteFrom === 'baseline' ? 'compared with its best fill' : 'by freed pages alone';
  const text = `${percent(waste)} of ${mib(bytes)} is wasted, ${measured}`;
  const isHigh = waste >= policy.rebuildWaste;
  const isMedium = waste >= policy.mediumWaste && wasted >= policy.mediumBytes;
  if (!isHigh && !isMedium) return nothing('fine', text);
  const { lastRebuiltAtMs } = figures;
  if (lastRebuiltAtMs !== null && nowMs - lastRebuiltAtMs < policy.rebuildPauseMs) {
    return nothing('rebuilt-lately', `${text}, but it was rebuilt ${ago(lastRebuiltAtMs, nowMs)}`);
  }
  return isHigh
    ? work('rebuild', 'fragmented', `${text}; the limit is ${percent(policy.rebuildWaste)}`, {
        need: waste / policy.rebuildWaste,
      })
    : work(
        'rebuild',
        'wasted-bytes',
        `${text}, which is more than ${mib(policy.mediumBytes)} and ${percent(policy.mediumWaste)}`,
        { need: wasted / policy.mediumBytes },
      );
}

function histogramVerdict(figures: TableFigures, policy: Policy, nowMs: number): Decision {
  const wanted = figures.histograms;
  if (wanted.length === 0) return nothing('fine', '');
  if (figures.engine === 'mariadb') {
    return nothing('no-histograms', 'MAINTENANCE_HISTOGRAMS works on MySQL only');
  }
  const missing = wanted.filter((histogram) => histogram.updatedAtMs === null);
  if (missing.length > 0) {
    const columns = missing.map((histogram) => histogram.column);
    return work('histogram', 'histogram-missing', `no histogram on ${columns.join(', ')}`, {
      need: 1,
      columns,
    });
  }
  const old = wanted.filter(
    ({ updatedAtMs }) => nowMs - (updatedAtMs ?? 0) >= policy.histogramMaxAgeMs,
  );
  if (old.length === 0) return nothing('fine', 'its histograms are recent');
  const columns = old.map((histogram) => histogram.column);
  const oldestMs = Math.min(...old.map((histogram) => histogram.updatedAtMs ?? 0));
  return work(
    'histogram',
    'histogram-old',
    `the histogram on ${columns.join(', ')} was made ${ago(oldestMs, nowMs)}`,
    { need: (nowMs - oldestMs) / policy.histogramMaxAgeMs, columns },
  );
}

function analyzeVerdict(figures: TableFigures, policy: Policy, nowMs: number): Decision {
  const { changedRows, lastAnalyzedAtMs, rows } = figures;
  if (figures.statisticsRows === null || lastAnalyzedAtMs === null) {
    return work('analyze', 'statistics-missing', 'it has no persistent statistics', { need: 2 });
  }
  const changed = changedRows ?? 0;
  const limit = staleAfterRows(Math.max(rows, figures.statisticsRows), policy);
  const least = figures.changedRowsFrom === 'difference' ? 'at least ' : '';
  const text =
    changedRows === null
      ? 'its changed rows are unknown'
      : `${least}${changed} of ${rows} rows changed since the last ANALYZE, limit ${limit}`;
  if (changed >= limit) {
    return work('analyze', 'changed-rows', text, { need: changed / limit });
  }
  const age = nowMs - lastAnalyzedAtMs;
  // Nothing changed: the statistics are as true as on their first day.
  if (age >= policy.analyzeMaxAgeMs && changedRows !== 0) {
    return work(
      'analyze',
      'statistics-old',
      `${text}, and its statistics are from ${ago(lastAnalyzedAtMs, nowMs)}`,
      { need: age / policy.analyzeMaxAgeMs },
    );
  }
  return nothing('fine', text);
}

function forced(figures: TableFigures, policy: Policy): Decision {
  const action: Action =
    (['rebuild', 'analyze', 'histogram'] as const).find((candidate) =>
      isAllowed(figures, policy, candidate),
    ) ?? 'none';
  const columns = figures.histograms.map((histogram) => histogram.column);
  return work(action, 'forced', 'it was asked for, whatever the figures', { need: 1, columns });
}

/** Bytes of all indexes, the table itself among them. */
export function allocatedBytes(figures: Pick<TableFigures, 'dataBytes' | 'indexBytes'>): number {
  return figures.dataBytes + figures.indexBytes;
}

function nothing(code: Decision['code'], reason: string): Decision {
  return { action: 'none', code, reason: reason.slice(0, 1_000), need: 0, columns: [] };
}

function work(
  action: Action,
  code: Decision['code'],
  reason: string,
  more: { readonly need: number; readonly columns?: readonly string[] },
): Decision {
  const need = Math.min(MAX_NEED, Math.max(0, more.need));
  return { action, code, reason: reason.slice(0, 1_000), need, columns: [...(more.columns ?? [])] };
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** Bytes for people. */
export function mib(bytes: number): string {
  return `${(bytes / MEBIBYTE).toFixed(bytes < 10 * MEBIBYTE ? 1 : 0)} MB`;
}

function ago(atMs: number, nowMs: number): string {
  const hours = (nowMs - atMs) / HOUR_MS;
  return hours < 48
    ? `${Math.max(0, Math.round(hours))} hours ago`
    : `${Math.round(hours / 24)} days ago`;
}
