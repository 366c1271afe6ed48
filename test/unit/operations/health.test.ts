import { describe, expect, test } from 'vitest';
import type { ShardStatus } from '../../../src/database/contracts.ts';
import type { Route } from '../../../src/http/handler.ts';
import { RetryableError } from '../../../src/kernel/errors.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { operationsRoutes, openApiRoute } from '../../../src/operations/http.ts';
import type { Services } from '../../../src/services.ts';
import { initialBucketMap } from '../../../src/sharding/bucket-map.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { createFakeServices } from '../../support/fake-services.ts';
import { createRouteCaller } from '../../support/route-caller.ts';

const pool = { open: 1, idle: 1, waiting: 0, limit: 16 };
const map = initialBucketMap({
  clusterId: 'c',
  shardNames: ['one', 'two'],
  updatedAt: '2026-01-01',
});

function statusOf(id: ShardId, changes: Partial<ShardStatus> = {}): ShardStatus {
  return {
    id,
    name: `shard-${id}`,
    reachable: true,
    latencyMs: 1.5,
    serverVersion: '9.7.4',
    circuit: 'closed',
    pool,
    batchPool: pool,
    estimatedRows: { users: 3 },
    problem: null,
    ...changes,
  };
}

interface Parts {
  readonly inspect?: (id: ShardId) => Promise<ShardStatus>;
  readonly list?: () => Promise<readonly string[]>;
  readonly current?: () => Promise<typeof map>;
  readonly clock?: Services['clock'];
}

function caller(parts: Parts = {}): ReturnType<typeof createRouteCaller> {
  const services = createFakeServices({
    ...(parts.clock !== undefined && { clock: parts.clock }),
    database: {
      shardIds: () => [0, 1] as ShardId[],
      inspect: parts.inspect ?? ((id: ShardId) => Promise.resolve(statusOf(id))),
    } as unknown as Services['database'],
    blobs: { list: parts.list ?? (() => Promise.resolve([])) } as unknown as Services['blobs'],
    bucketMap: {
      current: parts.current ?? (() => Promise.resolve(map)),
      refresh: parts.current ?? (() => Promise.resolve(map)),
      cached: () => undefined,
    },
  });
  return createRouteCaller(services, operationsRoutes);
}

describe('GET /api/health/ready', () => {
  test('is 200 when everything answers, and lists it', async () => {
    const reply = await caller()('health-ready');
    expect(reply.status).toBe(200);
    expect(reply.json).toMatchObject({
      status: 'ready',
      dependencies: [
        { name: 'storage', kind: 'storage', state: 'up' },
        { name: 'bucketMap', kind: 'bucketMap', state: 'up' },
        { name: 'shard:one', kind: 'shard', state: 'up', latencyMs: 1.5 },
        { name: 'shard:1', kind: 'shard', state: 'up', latencyMs: 1.5 },
      ],
    });
  });

  test.each<[string, Parts]>([
    ['storage', { list: () => Promise.reject(RetryableError.storageUnavailable()) }],
    ['bucketMap', { current: () => Promise.reject(new Error('10.0.0.1')) }],
    [
      'shard:1',
      {
        inspect: async (id) => statusOf(id, id === 1 ? { reachable: false, latencyMs: null } : {}),
      },
    ],
    ['shard:1', { inspect: async (id) => statusOf(id, id === 1 ? { problem: '10.0.0.1' } : {}) }],
    [
      'shard:1',
      { inspect: async (id) => (id === 1 ? Promise.reject(new Error('x')) : statusOf(id)) },
    ],
  ])('is 503 when %s is down, and says no more than that', async (name, parts) => {
    const reply = await caller(parts)('health-ready');
    expect([reply.status, reply.json['status']]).toEqual([503, 'not-ready']);
    const down = (reply.json['dependencies'] as { name: string; state: string }[]).filter(
      ({ state }) => state === 'down',
    );
    expect(down).toEqual([expect.objectContaining({ name, latencyMs: null })]);
    expect(reply.headers['retry-after']).toBe('5');
    expect(reply.text).not.toContain('10.0.0.1');
  });

  test('answers in bounded time when nothing else does', async () => {
    const clock = createFakeClock();
    const hang = (): Promise<never> => new Promise(() => undefined);
    const reply = caller({ clock, inspect: hang, list: hang, current: hang })('health-ready');
    await settle();
    await clock.advance(2_500);
    const { status, json } = await reply;
    expect(status).toBe(503);
    expect(json['dependencies']).toHaveLength(4);
  });
});

describe('other views', () => {
  test('live is always live', async () => {
    const reply = await createRouteCaller(createFakeServices(), operationsRoutes)('health-live');
    expect([reply.status, reply.json]).toEqual([200, { status: 'live' }]);
  });

  test('the bucket map is shown with bucket counts', async () => {
    const { json } = await caller()('operations-bucket-map');
    expect(json).toMatchObject({
      version: 1,
      bucketCount: 1024,
      moves: [],
      shards: [
        { id: 0, name: 'one', state: 'active', buckets: 512 },
        { id: 1, name: 'two', state: 'active', buckets: 512 },
      ],
    });
    expect(json['assignment']).toHaveLength(1024);
    expect(json).not.toHaveProperty('clusterId');
  });

  test('shards are shown, reachable or not', async () => {
    const inspect = async (id: ShardId): Promise<ShardStatus> =>
      statusOf(id, id === 1 ? { reachable: false, latencyMs: null, circuit: 'open' } : {});
    const { status, json } = await caller({ inspect })('operations-shards');
    expect(status).toBe(200);
    expect(json['shards']).toMatchObject([
      { id: 0, reachable: true, buckets: 512, rows: { users: 3 }, pool, circuit: 'closed' },
      { id: 1, reachable: false, latencyMs: null, circuit: 'open' },
    ]);
  });

  test('the document describes all routes given, itself among them', async () => {
    const routes: readonly Route[] = [...operationsRoutes, openApiRoute(() => routes)];
    const { status, json } = await createRouteCaller(createFakeServices(), routes)('openapi');
    expect(status).toBe(200);
    expect(Object.keys(json['paths'] as object).toSorted()).toEqual([
      '/api/health/live',
      '/api/health/ready',
      '/api/openapi.json',
      '/api/ops/bucket-map',
      '/api/ops/shards',
    ]);
  });
});
