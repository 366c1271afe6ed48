import { rebalanceSchema, type Rebalance } from '../../../src/rebalancing/run-model.ts';
import type { TestApp } from '../app.ts';
import { until } from '../http.ts';
import { ask } from '../sagas/watch.ts';

const EVERY_MS = 500;

/** Starts a rebalance; its id. */
export async function startRebalance(app: TestApp, goal: object): Promise<string> {
  const reply = await app.http.post('/api/ops/rebalance', goal);
  if (reply.status !== 202) throw new Error(`not started: ${reply.status} ${reply.text}`);
  return String(reply.json['rebalanceId']);
}

/** How it stands, or undefined while nobody can tell. */
export async function rebalanceNow(app: TestApp, id: string): Promise<Rebalance | undefined> {
  const reply = await ask(() => app.http.get(`/api/ops/rebalances/${id}`));
  return reply?.status === 200 ? rebalanceSchema.parse(reply.json) : undefined;
}

/** Waits until it has ended, telling how far it is; also over restarts and outages. */
export async function rebalanceEnded(
  app: TestApp,
  id: string,
  timeoutMs: number,
): Promise<Rebalance> {
  let told = 0;
  const run = await until(
    async () => {
      const now = await rebalanceNow(app, id);
      if (now !== undefined && now.progress.bucketsDone >= told + 64) {
        told = now.progress.bucketsDone;
        console.log(`${told} of ${now.progress.buckets} buckets moved`);
      }
      return now;
    },
    (now) => now !== undefined && ['completed', 'cancelled', 'failed'].includes(now.status),
    { timeoutMs, everyMs: EVERY_MS },
  );
  return run as Rebalance;
}

/** Waits until no old copy is left. */
export async function rebalancePurged(
  app: TestApp,
  id: string,
  timeoutMs: number,
): Promise<Rebalance> {
  const run = await until(
    () => rebalanceNow(app, id),
    (now) => now !== undefined && now.purge.purged === now.purge.buckets,
    { timeoutMs, everyMs: EVERY_MS },
  );
  return run as Rebalance;
}

export interface Stalls {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

/** How long writers of a bucket waited, over all buckets where it was measured to the end. */
export function stallsOf(run: Rebalance): Stalls {
  const sorted = run.moves.flatMap(({ stallMs }) => stallMs ?? []).toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), max: at(1) };
}

export function describeRun(run: Rebalance): string {
  const { count, p50, p95, max } = stallsOf(run);
  const seconds = (Date.parse(run.finishedAt ?? '') - Date.parse(run.startedAt)) / 1_000;
  const { buckets, rowsCopied } = run.progress;
  const moved = `${buckets} buckets, ${rowsCopied} rows in ${seconds.toFixed(1)} s`;
  return `${moved}; stalls of ${count}: p50 ${p50} ms, p95 ${p95} ms, max ${max} ms`;
}

/** What the stalls were made of, by the log of the instance that moved the buckets: half of them, and 95 %. */
export function describeStallParts(output: readonly string[]): string {
  const parts = output.flatMap((line) => {
    const found = /"event":"rebalancing\.bucket_switched".*"parts":\[(\d+),(\d+),(\d+)\]/.exec(
      line,
    );
    return found === null ? [] : [found.slice(1).map(Number)];
  });
  const at = (part: number, share: number): number | undefined =>
    parts
      .map((each) => each[part] as number)
      .toSorted((a, b) => a - b)
      .at(Math.ceil(parts.length * share) - 1);
  const told = ['fence', 'verify', 'decide'].map(
    (name, part) => `${name} ${at(part, 0.5)} / ${at(part, 0.95)} ms`,
  );
  return `${parts.length} switches: ${told.join(', ')}`;
}

export interface MapView {
  readonly assignment: readonly number[];
  readonly buckets: readonly number[];
  readonly states: readonly string[];
  readonly moves: number;
}

export async function mapNow(app: TestApp): Promise<MapView> {
  const { json } = await app.http.get('/api/ops/bucket-map');
  const shards = json['shards'] as { buckets: number; state: string }[];
  return {
    assignment: json['assignment'] as number[],
    buckets: shards.map((shard) => shard.buckets),
    states: shards.map((shard) => shard.state),
    moves: (json['moves'] as unknown[]).length,
  };
}
