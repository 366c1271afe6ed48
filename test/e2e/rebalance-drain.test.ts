import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rebalanceSchema, type Rebalance } from '../../src/rebalancing/run-model.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';
import { createMixedLoad, type MixedLoad } from '../support/mixed-load.ts';
import { createRandom } from '../support/random.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

const SHARDS = 4;
const LEAVING = 3;
const SETTINGS = {
  VERIFY_GRACE_MS: '500',
  REBALANCE_MAX_THREADS_RUNNING: '1000',
  REBALANCE_MAX_PROBE_MS: '5000',
  REBALANCE_STALL_LIMIT_MS: '2000',
  REBALANCE_SLICE_MS: '3000',
  REBALANCE_PURGE_AFTER_MS: '1000',
};

let app: TestApp;
let load: MixedLoad;
const random = createRandom();
beforeAll(async () => {
  console.log(`SEED=${random.seed}`);
  app = await startTestApp({ shards: SHARDS, settings: SETTINGS });
  load = createMixedLoad(app.http, random);
  await load.seed(100);
});
afterAll(() => app.stop());

async function statusOf(id: string): Promise<Rebalance> {
  const reply = await app.http.get(`/api/ops/rebalances/${id}`);
  if (reply.status !== 200) throw new Error(`${reply.status} ${reply.text}`);
  return rebalanceSchema.parse(reply.json);
}

async function shards(): Promise<{ buckets: number; state: string }[]> {
  const { json } = await app.http.get('/api/ops/bucket-map');
  return json['shards'] as { buckets: number; state: string }[];
}

test('a shard is drained although the host is killed again and again, and leaves SHARDS', async () => {
  const started = await app.http.post('/api/ops/rebalance', { drain: [LEAVING] });
  expect(started.status).toBe(202);
  const id = String(started.json['rebalanceId']);
  await until(shards, (now) => now[LEAVING]?.state === 'draining', { timeoutMs: 20_000 });
  for (let kills = 1; kills <= 3; kills += 1) {
    await sleep(500 + random.below(2_000));
    await app.kill();
    await app.restart();
    const { progress } = await statusOf(id);
    console.log(`after kill ${kills}: ${progress.bucketsDone} of ${progress.buckets} buckets`);
  }
  const run = await until(
    () => statusOf(id),
    ({ status }) => status !== 'running' && status !== 'planned',
    { timeoutMs: 120_000, everyMs: 500 },
  );
  expect(run.moves.filter(({ phase }) => phase !== 'done')).toEqual([]);
  expect(run.status).toBe('completed');
  expect(await shards()).toMatchObject([
    { buckets: 342, state: 'active' },
    { buckets: 341, state: 'active' },
    { buckets: 341, state: 'active' },
    { buckets: 0, state: 'drained' },
  ]);
  await until(
    () => statusOf(id),
    ({ purge }) => purge.purged === 256,
    { timeoutMs: 60_000 },
  );
  expect(await app.sql(LEAVING, 'SELECT order_id FROM orders')).toEqual([]);
  expectGreen(await verifyCluster(app));

  app.setShards(SHARDS - 1);
  await app.kill();
  await app.restart();
  expect((await app.http.get('/api/health/ready')).status).toBe(200);
  expect(await load.missing()).toEqual([]);
  load.start();
  await sleep(2_000);
  expect((await load.stop()).failures).toEqual([]);
  // It is still listed, so that no other server takes its place by mistake.
  expect((await shards())[LEAVING]).toMatchObject({ buckets: 0, state: 'drained' });
  expect((await statusOf(id)).status).toBe('completed');
  const nothing = await app.http.post('/api/ops/rebalance', {});
  expect([nothing.status, nothing.json['moves']]).toEqual([200, []]);
  expectGreen(await verifyCluster(app));
});
