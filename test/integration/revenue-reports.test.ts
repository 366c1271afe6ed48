import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { noopProbe } from '../../src/kernel/probe.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { parseTimestamp } from '../../src/kernel/time.ts';
import type { Timestamp } from '../../src/kernel/time.ts';
import { revenueDurable } from '../../src/revenue/activities.ts';
import type { ReportServices } from '../../src/revenue/activities.ts';
import { reportOrchestration, sumChunk } from '../../src/revenue/contracts.ts';
import type { Grouping, ReportRequest } from '../../src/revenue/model.ts';
import { createReportStore } from '../../src/revenue/report-store.ts';
import { createBlobStore } from '../../src/storage/blob-store.ts';
import type { BlobStore } from '../../src/storage/contracts.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { driveOrchestrator } from '../support/drive-orchestrator.ts';
import type { BoundActivity } from '../support/drive-orchestrator.ts';
import { createRandom } from '../support/random.ts';
import { createRevenueWorld } from '../support/revenue-world.ts';
import type { RevenueWorld } from '../support/revenue-world.ts';
import { createTestStorage } from '../support/storage.ts';
import { createTestInstance, createTestMap, testConfig } from '../support/test-database.ts';
import type { TestInstance } from '../support/test-database.ts';

const SETTINGS = { REVENUE_DEADLINE_MS: '8000', REVENUE_CHUNK_BUCKETS: '50' };

let databases: TestDatabases;
let app: TestInstance;
let world: RevenueWorld;
let blobs: BlobStore;
let reports = 0;

beforeAll(async () => {
  databases = await createTestDatabases();
  blobs = createBlobStore(createTestStorage(databases));
  app = createTestInstance(databases, { settings: SETTINGS });
  await app.database.prewarm();
});
beforeEach(async () => {
  world = await createRevenueWorld(app.database);
});
afterEach(() => databases.recover());
afterAll(async () => {
  await app.database.close();
  await databases.drop();
});

interface RunOptions {
  /** Runs ahead of each chunk. */
  readonly beforeChunk?: (shard: number) => Promise<void>;
  readonly redeliver?: number;
}

/** Runs a report as the durable runtime does, and gives what it stored. */
async function run(request: ReportRequest, options: RunOptions = {}) {
  const reportId = `report-${(reports += 1)}`;
  const store = createReportStore(blobs);
  await store.settleRequest(reportId, request);
  const services: ReportServices = {
    blobs,
    clock: systemClock,
    probe: noopProbe,
    database: app.database,
    config: testConfig(databases, SETTINGS),
    // Never refreshed: what moves is found by redirects.
    bucketMap: createTestMap(databases.shards.map(({ name }) => name)),
  };
  const activities: Record<string, BoundActivity> = {};
  for (const activity of revenueDurable.activities) {
    const bound = activity.bind(services);
    activities[activity.contract.name] = async (input, context) => {
      if (activity.contract.name === sumChunk.name) {
        await options.beforeChunk?.(sumChunk.input.parse(input).shard);
      }
      return bound(input, context);
    };
  }
  const random = createRandom(world.seed);
  const driven = await driveOrchestrator(
    reportOrchestration.name,
    { reportId },
    {
      orchestrations: revenueDurable.orchestrations,
      activities,
      random: () => random.next(),
      redeliver: options.redeliver ?? 0,
    },
  );
  const outcome = await store.readOutcome(reportId);
  return { driven, outcome, parts: await blobs.list('reports', `${reportId}/parts/`, 10) };
}

const time = (text: string): Timestamp => parseTimestamp(text) as Timestamp;

function requestOf(groupBy: Grouping, from?: string, to?: string): ReportRequest {
  return {
    groupBy,
    from: from === undefined ? null : time(from),
    to: to === undefined ? null : time(to),
  };
}

describe('a report equals what the orders add up to', () => {
  test.each([
    requestOf('none'),
    requestOf('day'),
    requestOf('month'),
    requestOf('day', '2025-02-01T00:00:00Z', '2025-03-01T00:00:00Z'),
    requestOf('month', '2025-06-15T12:34:56.789Z'),
    requestOf('none', undefined, '2025-01-01T00:00:00Z'),
    requestOf('day', '2030-01-01T00:00:00Z'),
    requestOf('none', '2030-01-01T00:00:00Z'),
  ])('%j', async (request) => {
    const { outcome, driven, parts } = await run(request);
    expect(driven.state).toBe('completed');
    expect(outcome, `seed ${world.seed}`).toEqual({
      kind: 'completed',
      progress: { chunksDone: 21, chunks: 21 },
      result: world.expectedReport(request),
    });
    expect(parts).toEqual([]);
  });

  test('from is included, to is not, to the millisecond', async () => {
    await world.clear();
    await world.addMany({ shard: 0, bucket: 0, orders: 3, cents: 100 });
    const at = '2026-06-01T00:00:00.000Z';
    const orders = async (from: string, to: string) => {
      const { outcome } = await run(requestOf('none', from, to));
      return outcome?.kind === 'completed' ? outcome.result.orders : undefined;
    };
    expect(await orders(at, '2026-06-01T00:00:00.001Z')).toBe(3);
    expect(await orders('2026-05-31T23:59:59.999Z', at)).toBe(0);
  });
});

describe('each order counts once', () => {
  test('while buckets move before every chunk, and chunks are delivered twice', async () => {
    for (const groupBy of ['none', 'month', 'day'] as const) {
      const random = createRandom(world.seed);
      const request = requestOf(groupBy);
      const { outcome } = await run(request, {
        redeliver: 0.3,
        beforeChunk: async () => {
          const bucket = random.below(12);
          const from = world.owner(bucket);
          await world.move({ bucket, from, to: (from + 1 + random.below(2)) % 3 });
        },
      });
      expect(outcome, `seed ${world.seed}`).toMatchObject({
        kind: 'completed',
        result: world.expectedReport(request),
      });
    }
  });

  test('when old and unfinished copies are about', async () => {
    await world.copyRows({ bucket: 3, from: 0, to: 1 });
    await world.setOwnership(1, { bucket: 3, state: 'receiving', epoch: 2 });
    await world.copyRows({ bucket: 4, from: 1, to: 2 });
    await world.setOwnership(2, { bucket: 4, state: 'owned', epoch: 2 });
    await world.setOwnership(1, { bucket: 4, state: 'gone', epoch: 1, movedTo: 2 });
    await world.setOwnership(2, { bucket: 5, state: 'fenced', epoch: 1 });
    const request = requestOf('day');
    const { outcome } = await run(request);
    expect(outcome).toMatchObject({ result: world.expectedReport(request) });
  });
});

async function bringBack(shard: number): Promise<void> {
  await databases.stack.startShard(shard);
  const answers = () =>
    app.database.onShard(shard as ShardId, (each) => each.query('SELECT 1 AS one', []), {
      deadlineMs: 1_000,
    });
  await expect.poll(() => answers().catch(() => undefined), { timeout: 30_000 }).toBeDefined();
}

describe('a shard that is away', () => {
  test('holds a report up, and it is right once the shard is back', async () => {
    let tries = 0;
    const request = requestOf('month');
    await databases.stack.stopShard(1, 'kill');
    const { outcome } = await run(request, {
      beforeChunk: async (shard) => {
        if (shard !== 1) return;
        tries += 1;
        // Waits between tries are virtual here, the circuit breaker's are not.
        if (tries === 4) await bringBack(1);
      },
    });
    expect(outcome, `seed ${world.seed}`).toMatchObject({
      kind: 'completed',
      result: world.expectedReport(request),
    });
    // Three that failed, and the seven chunks of the shard.
    expect(tries).toBe(10);
  });
});
