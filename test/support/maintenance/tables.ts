import type { ShardId } from '../../../src/kernel/ids.ts';
import type { Inspection, TableFigures, UnitOutcome } from '../../../src/maintenance/model.ts';
import type { UnitRequest, Work } from '../../../src/maintenance/model.ts';

/** A table as a test wants it seen: what it needs, and how long that takes. */
export interface TestTable {
  readonly shard: number;
  readonly table: string;
  readonly action: Work | 'none';
  readonly need: number;
  readonly bytes: number;
  /** Of its statement; the analysis of any table takes ten milliseconds. */
  readonly takesMs: number;
}

function figuresOf({ table, bytes }: TestTable): TableFigures {
  return {
    schema: 'app',
    table,
    engine: 'mysql',
    storageEngine: 'InnoDB',
    rows: 1_000,
    statisticsRows: 1_000,
    dataBytes: bytes,
    indexBytes: 0,
    freeBytes: 0,
    pageBytes: 16_384,
    indexes: [],
    changedRows: 0,
    changedRowsFrom: 'counter',
    lastAnalyzedAtMs: 0,
    lastRebuiltAtMs: null,
    waste: 0.5,
    wasteFrom: 'baseline',
    hasPrimaryKey: true,
    isRegistered: true,
    histograms: [],
    unknown: [],
  };
}

export function inspectionOf(shard: ShardId, tables: readonly TestTable[]): Inspection {
  return {
    shard,
    engine: 'mysql',
    serverVersion: '9.7.0',
    inspectedAtMs: 0,
    tables: tables.map((entry) => ({
      figures: figuresOf(entry),
      decision: {
        action: entry.action,
        code: entry.action === 'none' ? 'fine' : 'fragmented',
        reason: `${entry.table} needs ${entry.action}.`,
        need: entry.action === 'none' ? 0 : entry.need,
        columns: [],
      },
    })),
    tablesLeftOut: 0,
    notes: [],
  };
}

export const noAdvice = (shard: ShardId) => ({ shard, advice: [], leftOut: 0, notes: [] });

export function outcomeOf(
  { shard, table, decision }: UnitRequest,
  part: Partial<UnitOutcome> = {},
): UnitOutcome {
  return {
    shard,
    table,
    action: decision.action,
    status: 'done',
    code: 'done',
    reason: 'Done.',
    retry: false,
    before: null,
    after: null,
    startedAtMs: 0,
    durationMs: 10,
    statementMs: 10,
    blockedOthersMs: 0,
    logId: '1',
    notes: [],
    ...part,
  };
}
