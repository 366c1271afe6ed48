import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rebalanceSchema, type Rebalance } from '../../src/rebalancing/run-model.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';
import { createMixedLoad, type MixedLoad } from '../support/mixed-load.ts';
import { createRandom } from '../support/random.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

const LONG = process.env['TEST_LONG'] === '1';
const USERS = 200;
/** How many buckets the joining shard gets: in the long form all that a plan without limit gives it. */
const JOINING = LONG ? 256 : 96;
const SETTINGS = {
  VERIFY_GRACE_MS: '500',
  // The tests' machine has two cores for four servers, the app and its callers.
  REBALANCE_MAX_THREADS_RUNNING: '1000',
  REBALANCE_MAX_PROBE_MS: '5000',
  REBALANCE_STALL_LIMIT_MS: '2000',
  REBALANCE_SLICE_MS: '5000',
  REBALANCE_PURGE_AFTER_MS: '1000',
};

let app: TestApp;
let load: MixedLoad;
const random = createRandom();
beforeAll(async () => {
  console.log(`SEED=${random.seed}`);
  app = await startTestApp({ shards: 4, configured: 3, settings: SETTINGS });
  load = createMixedLoad(app.http, random);
  await load.seed(USERS);
  app.setShards(4);
  await app.kill();
  await app.restart();
});
afterAll(() => app.stop());

async function statusOf(id: string): Promise<Rebalance> {
  const reply = await app.http.get(`/api/ops/rebalances/${id}`);
  if (reply.status !== 200) throw new Error(`${reply.status} ${reply.text}`);
  return rebalanceSchema.parse(reply.json);
}

function ended(id: string, timeoutMs: number): Promise<Rebalance> {
  const isOver = ({ status }: Rebalance): boolean =>
    ['completed', 'cancelled', 'failed'].includes(status);
  return until(() => statusOf(id), isOver, { timeoutMs, everyMs: 500 });
}

function purged(id: string): Promise<Rebalance> {
  const isPurged = ({ purge }: Rebalance): boolean => purge.purged === purge.buckets;
  return until(() => statusOf(id), isPurged, { timeoutMs: 120_000, everyMs: 500 });
}

async function owners(): Promise<{ buckets: number[]; states: string[]; moves: number }> {
  const { json } = await app.http.get('/api/ops/bucket-map');
  const shards = json['shards'] as { buckets: number; state: string }[];
  return {
    buckets: shards.map((shard) => shard.buckets),
    states: shards.map((shard) => shard.state),
    moves: (json['moves'] as unknown[]).length,
  };
}

function stallsOf(run: Rebalance): string {
  const stalls = run.moves.flatMap(({ stallMs }) => stallMs ?? []).toSorted((a, b) => a - b);
  const at = (share: number): number | undefined =>
    stalls[Math.min(stalls.length - 1, Math.floor(stalls.length * share))];
  return `stalls of ${stalls.length}: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, max ${stalls.at(-1)} ms`;
}

test('a dry run shows a plan that changes nothing', async () => {
  const { status, json } = await app.http.post('/api/ops/rebalance', { dryRun: true });
  expect(status).toBe(200);
  expect(json).toMatchObject({
    totals: { buckets: 256 },
    preflight: { problems: [], notes: [expect.stringContaining('shard 3')] },
  });
  expect(Number((json['totals'] as { rows: number }).rows)).toBeGreaterThan(0);
  expect(await owners()).toEqual({
    buckets: [342, 341, 341, 0],
    states: ['active', 'active', 'active', 'new'],
    moves: 0,
  });
});

test('a plan that nobody was shown is refused', async () => {
  const reply = await app.http.post('/api/ops/rebalance', { planHash: 'ab'.repeat(32) });
  expect([reply.status, reply.json['code']]).toEqual([409, 'conflict']);
  const other = await app.http.post('/api/ops/rebalance', { dryRun: true, maxBuckets: 3 });
  const planHash = other.json['planHash'];
  const wrong = await app.http.post('/api/ops/rebalance', { planHash });
  expect([wrong.status, wrong.json['code']]).toEqual([409, 'conflict']);
  expect((await app.http.post('/api/ops/rebalance', { drain: [9] })).status).toBe(400);
  const nothing = await app.http.post('/api/ops/rebalance', { targetShards: 3 });
  expect([nothing.status, nothing.json['moves']]).toEqual([200, []]);
  expect((await app.http.get('/api/ops/rebalances/nothing')).status).toBe(404);
});

test('a run is cancelled: what is switched stays, nothing else is left', async () => {
  const started = await app.http.post('/api/ops/rebalance', {});
  expect(started.status).toBe(202);
  const id = String(started.json['rebalanceId']);
  await until(
    () => statusOf(id),
    ({ progress }) => progress.bucketsDone >= 3,
    { timeoutMs: 60_000 },
  );
  expect((await app.http.post(`/api/ops/rebalances/${id}/pause`, {})).status).toBe(202);
  const paused = await until(
    () => statusOf(id),
    ({ status }) => status === 'paused',
    { timeoutMs: 30_000 },
  );
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect((await statusOf(id)).progress.bucketsDone).toBe(paused.progress.bucketsDone);
  for (const _ of [1, 2]) {
    expect((await app.http.post(`/api/ops/rebalances/${id}/cancel`, {})).status).toBe(202);
  }
  const run = await ended(id, 60_000);
  expect(run.status).toBe('cancelled');
  const inPhase = (wanted: string): number =>
    run.moves.filter(({ phase }) => phase === wanted).length;
  expect(inPhase('done') + inPhase('cancelled')).toBe(256);
  expect((await owners()).buckets[3]).toBe(inPhase('done'));
  expect((await owners()).moves).toBe(0);
  expect((await app.http.post(`/api/ops/rebalances/${id}/resume`, {})).status).toBe(409);
  await purged(id);
  const left = await app.sql(
    3,
    "SELECT bucket FROM bucket_ownership WHERE state NOT IN ('owned', 'gone')",
  );
  expect(left).toEqual([]);
});

test('a shard is added while everything goes on', { timeout: 600_000 }, async () => {
  const { buckets: before } = await owners();
  const goal = { maxBuckets: JOINING - (before[3] ?? 0) };
  const shown = await app.http.post('/api/ops/rebalance', { ...goal, dryRun: true });
  const { planHash } = shown.json;
  const planned = shown.json['moves'] as { from: number; to: number }[];
  const leaving = (shard: number): number => planned.filter(({ from }) => from === shard).length;
  load.start();
  const started = await app.http.post('/api/ops/rebalance', { ...goal, planHash });
  expect(started.status).toBe(202);
  const id = String(started.json['rebalanceId']);
  const second = await app.http.post('/api/ops/rebalance', {});
  expect([second.status, second.json['code']]).toEqual([409, 'conflict']);
  expect(second.text).toContain(id);
  const run = await ended(id, 400_000);
  const done = await load.stop();
  const seconds = (Date.parse(String(run.finishedAt)) - Date.parse(run.startedAt)) / 1_000;
  console.log(
    `${run.progress.buckets} buckets, ${run.progress.rowsCopied} rows in ${seconds.toFixed(1)} s; ${stallsOf(run)}; load: ${JSON.stringify(done.counts)}`,
  );
  expect(run.moves.filter(({ phase }) => phase !== 'done')).toEqual([]);
  expect(run.status).toBe('completed');
  expect(planned.filter(({ to }) => to !== 3)).toEqual([]);
  const others = before.slice(0, 3).map((count, shard) => count - leaving(shard));
  expect(await owners()).toEqual({
    buckets: LONG ? [256, 256, 256, 256] : [...others, JOINING],
    states: ['active', 'active', 'active', 'active'],
    moves: 0,
  });
  expect(done.failures).toEqual([]);
  expect(await load.missing()).toEqual([]);
  const after = await purged(id);
  console.log(`purged ${after.purge.purged} old copies, ${after.purge.rows} rows`);
  expectGreen(await verifyCluster(app));
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command as an operator does. */
function ops(...args: readonly string[]): Promise<Ended> {
  const command = ['--disable-warning=ExperimentalWarning', 'tools/ops.ts', 'rebalance'];
  const child = spawn(process.execPath, [...command, '--url', app.http.origin, ...args]);
  const ended = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (ended.stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (ended.stderr += String(chunk)));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, ...ended });
    });
  });
}

test('the command shows a plan, carries it out and watches it', async () => {
  const goal = ['--drain', '3', '--max-buckets', '8'];
  const shown = await ops(...goal);
  expect([shown.code, shown.stderr]).toEqual([0, '']);
  const planHash = /plan ([0-9a-f]{64})/.exec(shown.stdout)?.[1] ?? '';
  expect(shown.stdout).toContain('8 buckets to move');
  const wrong = await ops(...goal, '--yes', planHash.replaceAll(/./g, '0'));
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toContain('--dry-run');
  const run = await ops(...goal, '--yes', planHash, '--watch', '--json');
  expect([run.code, run.stderr]).toEqual([0, '']);
  const { rebalanceId, status, progress } = rebalanceSchema.parse(JSON.parse(run.stdout));
  expect([status, progress.bucketsDone]).toEqual(['completed', 8]);
  const told = await ops('status', rebalanceId, '--watch');
  expect([told.code, told.stdout]).toEqual([0, expect.stringContaining('completed: 8 of 8')]);
  const late = await ops('cancel', rebalanceId);
  expect(late.code).toBe(2);
  expect(late.stderr).toContain('has ended');
});
