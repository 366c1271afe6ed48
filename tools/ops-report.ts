import type { Rebalance } from '../src/rebalancing/run-model.ts';
import type { PlanView } from './ops-client.ts';

/** Moves shown one by one; the rest is in the JSON. */
const SHOWN = 10;

/** A plan as a reader at a terminal wants it. */
export function describePlan(plan: PlanView): string {
  if (plan.moves.length === 0) return 'Nothing to move: the buckets lie as they should.\n';
  const { buckets, rows, bytes } = plan.totals;
  const pairs = new Map<string, number>();
  for (const { from, to } of plan.moves) {
    const pair = `shard ${from} → shard ${to}`;
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
  }
  const lines = [
    `${buckets} buckets to move, about ${number(rows)} rows (${(bytes / 1e6).toFixed(1)} MB), for version ${plan.mapVersion} of the bucket map:`,
    ...[...pairs].map(([pair, count]) => `  ${pair}  ${count} buckets`),
    ...plan.preflight.notes.map((note) => `  note: ${note}`),
    ...plan.preflight.problems.map(({ path, message }) => `  PROBLEM ${path}: ${message}`),
    '',
    `  plan ${plan.planHash}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** A run as a reader at a terminal wants it. */
export function describeRun(run: Rebalance): string {
  const { progress, purge } = run;
  const lines = [
    `Rebalance ${run.rebalanceId} is ${run.status}: ${progress.bucketsDone} of ${progress.buckets} buckets, ${number(progress.rowsCopied)} of ${number(progress.rowsTotal)} rows, ${progress.rate} rows/s${leftOf(progress.etaSeconds)}`,
  ];
  if (run.throttled !== null) {
    lines.push(`  waits for shard ${run.throttled.shard}: ${run.throttled.reason}`);
  }
  lines.push(...stallLine(run), ...movesLines(run));
  if (purge.buckets > 0) {
    lines.push(
      `  old copies purged: ${purge.purged} of ${purge.buckets} (${number(purge.rows)} rows), due ${purge.dueAt ?? 'later'}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function leftOf(etaSeconds: number | null): string {
  return etaSeconds === null ? '' : `, about ${etaSeconds} s left`;
}

function stallLine({ moves }: Rebalance): string[] {
  const stalls = moves.flatMap(({ stallMs }) => stallMs ?? []).toSorted((a, b) => a - b);
  if (stalls.length === 0) return [];
  const at = (share: number): number =>
    stalls[Math.min(stalls.length - 1, Math.floor(stalls.length * share))] ?? 0;
  return [
    `  writers waited at most: half of the buckets ${at(0.5)} ms, 95 % ${at(0.95)} ms, all ${at(1)} ms`,
  ];
}

/** What is under way, and what failed. */
function movesLines({ moves }: Rebalance): string[] {
  const told = moves.filter(
    ({ phase, lastError }) =>
      lastError !== undefined || !['waiting', 'done', 'cancelled'].includes(phase),
  );
  const lines = told.slice(0, SHOWN).map((move) => {
    const why = move.lastError === undefined ? '' : `; try ${move.attempts}: ${move.lastError}`;
    return `  bucket ${move.bucket}, shard ${move.from} → ${move.to}: ${move.phase}, ${move.rowsCopied} of ${move.rows} rows${why}`;
  });
  return told.length > SHOWN ? [...lines, `  and ${told.length - SHOWN} more`] : lines;
}

function number(value: number): string {
  return value.toLocaleString('en-US').replaceAll(',', ' ');
}

/** Exit code of a command that waited: 0 completed, 1 cancelled, failed or paused. */
export function exitCodeOf({ status }: Pick<Rebalance, 'status'>): 0 | 1 {
  return status === 'cancelled' || status === 'failed' || status === 'paused' ? 1 : 0;
}
