import { z } from 'zod';
import type { Shard, SqlRow } from '../database/contracts.ts';
import { sqlNow } from '../database/ownership.ts';
import { fromSqlDatetime } from '../kernel/time.ts';
import { keep } from './inspect-statements.ts';
import type { IndexFigures, TableFigures } from './model.ts';

/** What the shard remembers about a table (`maintenance_tables`). */
export interface KeptTable {
  /** Rows per allocated page by index. */
  readonly baseline: ReadonlyMap<string, number>;
  readonly rebuiltAtMs: number | null;
}

const baselineSchema = z.record(z.string(), z.number().positive());

/** A row of {@link readKept}. What cannot be read counts as never seen. */
export function keptOf(row: SqlRow): KeptTable {
  const rebuiltAt = row['rebuilt_at'];
  const parsed = baselineSchema.safeParse(parseJson(row['baseline']));
  return {
    baseline: new Map(Object.entries(parsed.success ? parsed.data : {})),
    rebuiltAtMs: typeof rebuiltAt === 'string' ? Date.parse(fromSqlDatetime(rebuiltAt)) : null,
  };
}

function parseJson(value: unknown): unknown {
  try {
    return JSON.parse(String(value));
  } catch {
    return undefined;
  }
}

/** Below so many pages a ratio says nothing: an extent of 64 pages is allocated at once. */
export const LEAST_PAGES = 64;

/**
 * The baseline to remember: the best fill seen so far, or, after a rebuild, what the rebuild achieved, even when that is
 * less (rows have grown). Null when nothing is worth remembering. Pure.
 */
export function nextBaseline(
  indexes: readonly IndexFigures[],
  rebuilt: boolean,
): Readonly<Record<string, number>> | null {
  const entries = indexes
    .filter((index) => index.pages >= LEAST_PAGES && index.rowsPerPage > 0)
    .map((index) => {
      const before = rebuilt ? 0 : (index.baselineRowsPerPage ?? 0);
      return [index.name, Math.max(before, index.rowsPerPage)] as const;
    });
  return entries.length === 0 ? null : Object.fromEntries(entries);
}

/**
 * Remembers the fill of tables, of many with one statement; `rebuiltAtMs` when they were just rebuilt. Idempotent. At most
 * as many tables as were inspected.
 */
export async function keepFigures(
  shard: Shard,
  tables: readonly TableFigures[],
  at: { readonly nowMs: number; readonly rebuilt: boolean },
): Promise<void> {
  const now = sqlNow(at.nowMs);
  const rows = tables.flatMap((figures) => {
    const baseline = nextBaseline(figures.indexes, at.rebuilt);
    // A rebuild is remembered even of a table too small for a baseline: it is not to be repeated every night.
    if (baseline === null && !at.rebuilt) return [];
    const values = [figures.table, JSON.stringify(baseline ?? {}), at.rebuilt ? now : null, now];
    return [`(${values.map((value) => shard.literal(value)).join(', ')})`];
  });
  if (rows.length > 0) await shard.packet([keep(rows)]);
}
