import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  for (const [userId, amountCents, day] of [
    ['1001', 4999, '2026-01-15'],
    ['2002', 1299, '2026-01-31'],
    ['3003', 8800, '2026-02-01'],
  ] as const) {
    await app.http.post('/api/users', { userId, email: `u${userId}@example.com` });
    const order = { orderId: '1', amountCents, createdAt: `${day}T12:00:00.000Z` };
    await app.http.post(`/api/users/${userId}/orders`, order);
  }
});
afterAll(() => app.stop());

describe('revenue', () => {
  test('adds up over all shards', async () => {
    const { status, json } = await app.http.get('/api/revenue');
    expect(status).toBe(200);
    expect(json).toMatchObject({ totalCents: '15098', orders: 3, complete: true });
    const perShard = json['perShard'] as { shard: number; totalCents: string; orders: number }[];
    expect(perShard.map((part) => part.shard)).toEqual([0, 1, 2]);
    expect(perShard.reduce((sum, part) => sum + BigInt(part.totalCents), 0n)).toBe(15_098n);
    expect(json['asOf']).toMatch(/Z$/);
  });

  test.each([
    ['none', {}, [['all', '15098', 3]]],
    [
      'month',
      {},
      [
        ['2026-01', '6298', 2],
        ['2026-02', '8800', 1],
      ],
    ],
    [
      'day',
      { from: '2026-01-31T00:00:00Z', to: '2026-02-01T12:00:00.000Z' },
      [['2026-01-31', '1299', 1]],
    ],
  ] as const)('a report by %s', async (groupBy, range, groups) => {
    const started = await app.http.post('/api/revenue/reports', { groupBy, ...range });
    expect(started.status).toBe(202);
    const reply = await until(
      () => app.http.get(`/api/revenue/reports/${String(started.json['reportId'])}`),
      (answer) => answer.json['result'] !== undefined,
      { timeoutMs: 60_000 },
    );
    const result = reply.json['result'] as { groups: Record<string, unknown>[] };
    expect(
      result.groups.map((group) => [group['key'], group['totalCents'], group['orders']]),
    ).toEqual(groups);
    const progress = reply.json['progress'] as { chunks: number; chunksDone: number };
    expect(progress.chunks).toBeGreaterThan(0);
    expect(progress.chunksDone).toBe(progress.chunks);
  });

  test.each([
    { groupBy: 'week' },
    { groupBy: 'day', from: 'yesterday' },
    { groupBy: 'day', from: '2026-02-01T00:00:00Z', to: '2026-01-01T00:00:00Z' },
    {},
  ])('refuses the report %j', async (body) => {
    const reply = await app.http.post('/api/revenue/reports', body);
    expect([reply.status, reply.json['code']]).toEqual([400, 'validation-failed']);
  });

  test('a report that is not there is a 404', async () => {
    expect((await app.http.get('/api/revenue/reports/nothing-here')).status).toBe(404);
  });
});

describe('operations', () => {
  test('shows the bucket map', async () => {
    const { status, json } = await app.http.get('/api/ops/bucket-map');
    expect(status).toBe(200);
    expect(json).toMatchObject({ version: 1, bucketCount: 1024, moves: [] });
    const assignment = json['assignment'] as number[];
    expect(assignment).toHaveLength(1024);
    expect(assignment.every((shard, bucket) => shard === bucket % 3)).toBe(true);
    const shards = json['shards'] as { id: number; buckets: number }[];
    expect(shards.map((shard) => shard.buckets)).toEqual([342, 341, 341]);
  });

  test('shows the shards', async () => {
    const { status, text } = await app.http.get('/api/ops/shards');
    expect(status).toBe(200);
    expect(text).toContain('"reachable":true');
    expect(text).not.toContain('127.0.0.1');
  });

  test('is alive and ready', async () => {
    expect((await app.http.get('/api/health/live')).status).toBe(200);
    const ready = await app.http.get('/api/health/ready');
    expect(ready.status).toBe(200);
    expect(ready.text).not.toContain('127.0.0.1');
  });

  test('describes itself', async () => {
    const { status, json } = await app.http.get('/api/openapi.json');
    expect(status).toBe(200);
    expect(json['openapi']).toMatch(/^3\.1/);
    const paths = Object.keys(json['paths'] as object);
    const expected = [
      '/api/users',
      '/api/users/{userId}',
      '/api/users/{userId}/email',
      '/api/users/{userId}/orders',
      '/api/users/{userId}/orders/{orderId}',
      '/api/orders/batch',
      '/api/orders/{orderId}/transfer',
      '/api/sagas/{sagaId}',
      '/api/ingestions/{ingestionId}',
      '/api/revenue',
      '/api/revenue/reports',
      '/api/revenue/reports/{reportId}',
      '/api/ops/bucket-map',
      '/api/ops/shards',
      '/api/ops/poison',
      '/api/ops/poison/redrive',
      '/api/ops/sagas',
      '/api/ops/sagas/sweep',
      '/api/ops/sagas/{sagaId}/audit',
      '/api/ops/sagas/{sagaId}/{verb}',
      '/api/ops/verifications',
      '/api/ops/verifications/{verificationId}',
      '/api/ops/rebalance',
      '/api/ops/rebalances/{rebalanceId}',
      '/api/ops/rebalances/{rebalanceId}/pause',
      '/api/ops/rebalances/{rebalanceId}/resume',
      '/api/ops/rebalances/{rebalanceId}/cancel',
      '/api/ops/maintenance',
      '/api/ops/maintenance/{maintenanceId}',
      '/api/ops/maintenance/{maintenanceId}/cancel',
      '/api/health/live',
      '/api/health/ready',
      '/api/openapi.json',
    ];
    const strip = (path: string): string => path.replace(/^\/api/, '');
    expect(paths.map(strip).toSorted()).toEqual(expected.map(strip).toSorted());
  });
});

describe('request ids', () => {
  test('every response carries one; a caller’s own is echoed', async () => {
    const made = await app.http.get('/api/health/live');
    expect(made.headers.get('x-request-id')).toMatch(/\S+/);
    const echoed = await app.http.get('/api/users/999', { 'x-request-id': 'caller-17' });
    expect(echoed.headers.get('x-request-id')).toBe('caller-17');
  });
});
