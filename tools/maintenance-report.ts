import type { PageView, TableView } from '../src/maintenance/run-view.ts';

/** Tables shown one by one; the rest is in the JSON and in the report. */
const SHOWN = 40;
const ADVICE_SHOWN = 10;

/** A run as a reader at a terminal wants it. */
export function describeMaintenance(run: PageView): string {
  const { progress } = run;
  const what = run.dryRun ? 'would do (dry run)' : `is ${run.status}`;
  const left = progress.etaSeconds === null ? '' : `, about ${progress.etaSeconds} s left`;
  const lines = [
    `Maintenance ${run.maintenanceId} ${what}: ${progress.unitsDone} of ${progress.units} units, ${progress.rate} per minute${left}`,
    ...shardLines(run),
  ];
  const told = run.tables.filter(({ state }) => state !== 'left-alone');
  lines.push(...told.slice(0, SHOWN).map(tableLine));
  if (told.length > SHOWN) lines.push(`  and ${told.length - SHOWN} more`);
  const alone = run.tables.length - told.length;
  if (alone > 0) lines.push(`  left alone: ${alone} tables`);
  if (run.neverFit > 0) {
    lines.push(`  ${run.neverFit} tables need more time than the window has: see docs/runbooks`);
  }
  lines.push(...adviceLines(run));
  if (run.report !== null) lines.push(`  report: ${run.report} in the container maintenance`);
  return `${lines.join('\n')}\n`;
}

function shardLines({ shards }: PageView): string[] {
  return shards
    .filter(({ error }) => error !== null)
    .map(({ shard, state, error }) => `  SHARD ${shard} ${state}: ${error ?? ''}`);
}

function tableLine(table: TableView): string {
  const { before, after, outcome } = table;
  const size =
    after === null ? '' : `, ${megabytes(sizeOf(before))} → ${megabytes(sizeOf(after))} MB`;
  const took = table.durationMs === null ? '' : ` in ${(table.durationMs / 1_000).toFixed(1)} s`;
  // Once it was tried, how that went says more than why it was wanted.
  const why = outcome === null || outcome.status === 'done' ? table.reason : outcome.reason;
  return `  shard ${table.shard} ${table.table}: ${table.action} ${table.state}${took}${size}. ${why}`;
}

const sizeOf = (figures: TableView['before']): number => figures.dataBytes + figures.indexBytes;

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function adviceLines({ advice, adviceLeftOut }: PageView): string[] {
  if (advice.length === 0) return [];
  const lines = advice
    .slice(0, ADVICE_SHOWN)
    .map(({ shard, table, kind, text }) => `    shard ${shard} ${table} (${kind}): ${text}`);
  const more = advice.length - lines.length + adviceLeftOut;
  return ['  advice:', ...lines, ...(more > 0 ? [`    and ${more} more`] : [])];
}

/** Exit code of a command that waited: 0 all was done or put off, 1 something went wrong. */
export function exitCodeOf({
  status,
  counts,
  shards,
}: Pick<PageView, 'status' | 'counts' | 'shards'>): 0 | 1 {
  const isWhole = status === 'completed' && shards.every(({ state }) => state !== 'away');
  return isWhole && counts.failed === 0 ? 0 : 1;
}
