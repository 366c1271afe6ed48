import { describe, expect, test } from 'vitest';
import type { OrchestrationClient } from '../../../src/durable/client.ts';
import type { Services } from '../../../src/services.ts';
import { revenueRoutes } from '../../../src/revenue/http.ts';
import { createFakeServices } from '../../support/fake-services.ts';
import { createMemoryBlobs } from '../../support/memory-blobs.ts';
import { createRouteCaller } from '../../support/route-caller.ts';

function createScene(parts: Partial<Services> = {}) {
  const started: string[] = [];
  const client = {
    ensureStarted: (_contract: unknown, instanceId: string) => {
      started.push(instanceId);
      return Promise.resolve('started');
    },
    status: () => Promise.resolve(undefined),
  } as unknown as OrchestrationClient;
  const blobs = createMemoryBlobs();
  const call = createRouteCaller(createFakeServices({ blobs, ...parts }), revenueRoutes, {
    input: { type: 'durableClient', name: 'client' },
    clientOf: () => client,
  });
  return { call, started, blobs };
}

describe('asking for a report', () => {
  test('starts it and says where to look', async () => {
    const { call, started } = createScene();
    const reply = await call('revenue-reports-create', { json: { groupBy: 'day' } });
    expect(reply.status).toBe(202);
    const { reportId, statusUrl } = reply.json as { reportId: string; statusUrl: string };
    expect(statusUrl).toBe(`/api/revenue/reports/${reportId}`);
    expect(reply.headers['location']).toBe(statusUrl);
    expect(started).toEqual([reportId]);
  });

  test('without a key is a new report each time', async () => {
    const { call } = createScene();
    const ask = () => call('revenue-reports-create', { json: { groupBy: 'none' } });
    expect((await ask()).json['reportId']).not.toBe((await ask()).json['reportId']);
  });

  test('with a key is the same report for the same request in any spelling, and a conflict for another', async () => {
    const { call, started } = createScene();
    const ask = (json: object) =>
      call('revenue-reports-create', { json, headers: { 'idempotency-key': 'k1' } });
    const first = await ask({ groupBy: 'day', from: '2026-01-01T00:00:00Z' });
    const again = await ask({ from: '2026-01-01T01:00:00.000+01:00', groupBy: 'day' });
    expect(again.status).toBe(202);
    expect(again.json).toEqual(first.json);
    expect(first.headers['idempotent-replay']).toBeUndefined();
    expect(again.headers['idempotent-replay']).toBe('true');
    expect(new Set(started).size).toBe(1);
    const other = await ask({ groupBy: 'month', from: '2026-01-01T00:00:00Z' });
    expect(other).toMatchObject({ status: 409, json: { code: 'idempotency-conflict' } });
  });

  test.each([
    [{}, '/groupBy'],
    [{ groupBy: 'year' }, '/groupBy'],
    [{ groupBy: 'day', from: 'yesterday' }, '/from'],
    [{ groupBy: 'day', to: 20260101 }, '/to'],
    [{ groupBy: 'day', from: '2026-01-02T00:00:00Z', to: '2026-01-02T00:00:00Z' }, '/to'],
    [{ groupBy: 'day', shard: 1 }, '/shard'],
  ])('%j is refused, naming %s', async (json, path) => {
    const { call, started } = createScene();
    const reply = await call('revenue-reports-create', { json });
    expect(reply).toMatchObject({ status: 400, json: { code: 'validation-failed' } });
    expect(JSON.stringify(reply.json['errors'])).toContain(`"path":"${path}"`);
    expect(started).toEqual([]);
  });
});

describe('looking at a report', () => {
  test('that does not exist is 404, whatever the id looks like', async () => {
    const { call } = createScene();
    const look = (reportId: string) => call('revenue-reports-get', { params: { reportId } });
    expect((await look('00000000-0000-0000-0000-000000000000')).status).toBe(404);
    expect((await look('../control')).status).toBe(404);
  });

  test('that was accepted but never started starts it', async () => {
    const { call, started } = createScene();
    const asked = await call('revenue-reports-create', { json: { groupBy: 'none' } });
    const reportId = asked.json['reportId'] as string;
    started.length = 0;
    const reply = await call('revenue-reports-get', { params: { reportId } });
    expect(reply).toMatchObject({
      status: 200,
      json: { reportId, status: 'running', progress: { chunksDone: 0, chunks: 0 } },
    });
    expect(started).toEqual([reportId]);
  });
});

describe('the total', () => {
  test.each(['yes', '', '1'])('partial=%s is refused', async (partial) => {
    const { call } = createScene();
    const reply = await call('revenue-total', { path: `/api/revenue?partial=${partial}` });
    expect(reply).toMatchObject({ status: 400, json: { code: 'validation-failed' } });
  });
});
