import { describe, expect, test } from 'vitest';
import { rebalanceSchema, type Rebalance } from '../../../src/rebalancing/run-model.ts';
import { readCommand } from '../../../tools/ops-arguments.ts';
import {
  askForPlan,
  controlRebalance,
  startRebalance,
  watchRebalance,
  type ClientOptions,
} from '../../../tools/ops-client.ts';
import { CannotDo } from '../../../tools/app-client.ts';
import { describePlan, describeRun, exitCodeOf } from '../../../tools/ops-report.ts';

const PLAN = {
  planHash: 'ab'.repeat(32),
  mapVersion: 7,
  moves: [{ bucket: 5, from: 0, to: 3, estimatedRows: 1_200, estimatedBytes: 96_000 }],
  totals: { buckets: 1, rows: 1_200, bytes: 96_000 },
  preflight: {
    problems: [{ path: '/shards/3', message: 'does not answer' }],
    notes: ['Something.'],
  },
};

function runOf(more: Partial<Rebalance> = {}): Rebalance {
  return rebalanceSchema.parse({
    rebalanceId: 'id',
    status: 'running',
    planHash: PLAN.planHash,
    progress: {
      bucketsDone: 1,
      buckets: 2,
      rowsCopied: 1_500,
      rowsTotal: 3_000,
      rate: 150,
      etaSeconds: 10,
    },
    throttled: { shard: 3, reason: '50 statements run at once' },
    moves: [
      move({ phase: 'done', stallMs: 12, certificate: 'moves/id/0005.json' }),
      move({ bucket: 8, phase: 'copying', rowsCopied: 300, attempts: 2, lastError: 'away' }),
    ],
    purge: { dueAt: null, buckets: 0, purged: 0, rows: 0, failed: 0 },
    startedAt: '2026-01-01T00:00:00.000Z',
    finishedAt: null,
    ...more,
  });
}

const move = (more: object): object => ({
  bucket: 5,
  from: 0,
  to: 3,
  phase: 'waiting',
  rowsCopied: 1_200,
  rows: 1_200,
  forecastStallMs: null,
  stallMs: null,
  attempts: 0,
  certificate: null,
  purged: false,
  ...more,
});

function clientOf(...answers: readonly (readonly [number, unknown])[]): {
  readonly options: ClientOptions;
  readonly requests: string[];
} {
  const requests: string[] = [];
  let next = 0;
  const options: ClientOptions = {
    url: 'http://app.invalid/',
    key: 'the-key',
    fetch: (url, init) => {
      requests.push(`${init.method} ${url} ${typeof init.body === 'string' ? init.body : ''}`);
      const [status, body] = answers[Math.min(next, answers.length - 1)] ?? [0, null];
      next += 1;
      if (status === 0) return Promise.reject(new Error('refused'));
      return Promise.resolve(new Response(JSON.stringify(body), { status }));
    },
    sleep: () => Promise.resolve(),
  };
  return { options, requests };
}

describe('the command line', () => {
  const read = (text: string) => readCommand(text.split(' ').filter(Boolean), {});

  test('plans, starts, watches and controls', () => {
    expect(read('rebalance')).toMatchObject({ verb: 'plan', wanted: {} });
    expect(read('rebalance --dry-run --target-shards 4 --drain 1,2')).toMatchObject({
      verb: 'plan',
      wanted: { targetShards: 4, drain: [1, 2] },
    });
    expect(read('rebalance --weights 3=2,0=0.5')).toMatchObject({
      wanted: { weights: { 3: 2, 0: 0.5 } },
    });
    expect(() => read('rebalance --weights 3:2')).toThrow(/SHARD=WEIGHT/);
    expect(read('rebalance --target-shards 3,')).toMatchObject({ wanted: { targetShards: [3] } });
    expect(read('rebalance --yes abc --watch --max-buckets 9')).toMatchObject({
      verb: 'start',
      planHash: 'abc',
      watch: true,
      wanted: { maxBuckets: 9 },
    });
    expect(read('rebalance status id --watch')).toMatchObject({ verb: 'status', watch: true });
    expect(read('rebalance pause id')).toMatchObject({ verb: 'pause', id: 'id' });
    expect(readCommand(['rebalance'], { SHARDLINE_ADMIN_KEY: 'k' })).toMatchObject({ key: 'k' });
    expect(read('--help')).toBeUndefined();
  });

  test.each([
    'shuffle',
    'rebalance stop id',
    'rebalance cancel',
    'rebalance pause id more',
    'rebalance --drain x',
    'rebalance --watch',
    'rebalance --dry-run --yes abc',
    'rebalance --url nowhere',
  ])('refuses "%s"', (text) => {
    expect(() => read(text)).toThrow(CannotDo);
  });
});

describe('the client', () => {
  test('asks for a plan, and starts the one that was approved', async () => {
    const asking = clientOf([200, PLAN]);
    expect((await askForPlan(asking.options, { drain: [1] })).planHash).toBe(PLAN.planHash);
    expect(asking.requests).toEqual([
      'POST http://app.invalid/api/ops/rebalance {"drain":[1],"dryRun":true}',
    ]);
    const starting = clientOf([202, { rebalanceId: 'id', statusUrl: '/x' }]);
    const started = await startRebalance(starting.options, {}, 'hash');
    expect(started).toEqual({ kind: 'started', rebalanceId: 'id' });
    expect(starting.requests[0]).toContain('{"planHash":"hash"}');
  });

  test('shows all that the app refuses', async () => {
    const errors = [{ path: '/shards/3', message: 'does not answer' }];
    const { options } = clientOf([409, { detail: 'It cannot begin.', errors }]);
    await expect(startRebalance(options, {}, 'hash')).rejects.toThrow(
      'It cannot begin.\n  /shards/3: does not answer',
    );
    await expect(controlRebalance(clientOf([401, {}]).options, 'id', 'pause')).rejects.toThrow(
      'does not take this key',
    );
    await expect(askForPlan(clientOf([0, null]).options, {})).rejects.toThrow('Nothing answers');
  });

  test('watches through restarts of the app until the moves have ended', async () => {
    const { options } = clientOf(
      [200, runOf()],
      [0, null],
      [503, {}],
      [200, runOf({ status: 'completed' })],
    );
    const seen: number[] = [];
    const ended = await watchRebalance(options, 'id', ({ progress }) =>
      seen.push(progress.bucketsDone),
    );
    expect(ended.status).toBe('completed');
    expect(seen).toEqual([1]);
  });

  test('does not watch for ever what does not answer, nor what is not there', async () => {
    const nobody = watchRebalance(clientOf([0, null]).options, 'id', () => undefined);
    await expect(nobody).rejects.toThrow('goes on when it comes back');
    const missing = clientOf([404, { detail: 'There is no rebalance with this id.' }]);
    await expect(watchRebalance(missing.options, 'id', () => undefined)).rejects.toThrow(
      'There is no rebalance',
    );
  });
});

describe('the report', () => {
  test('shows a plan with what stands against it', () => {
    const text = describePlan({ ...PLAN, moves: PLAN.moves as never });
    expect(text).toContain('1 buckets to move, about 1 200 rows');
    expect(text).toContain('shard 0 → shard 3  1 buckets');
    expect(text).toContain('PROBLEM /shards/3: does not answer');
    expect(text).toContain(PLAN.planHash);
  });

  test('shows how far a run is, what holds it up and what failed', () => {
    const text = describeRun(runOf());
    expect(text).toContain('1 of 2 buckets, 1 500 of 3 000 rows');
    expect(text).toContain('waits for shard 3: 50 statements');
    expect(text).toContain('half of the buckets 12 ms');
    expect(text).toContain('bucket 8, shard 0 → 3: copying, 300 of 1200 rows; try 2: away');
    expect(exitCodeOf(runOf({ status: 'completed' }))).toBe(0);
    expect(exitCodeOf(runOf({ status: 'failed' }))).toBe(1);
  });
});
