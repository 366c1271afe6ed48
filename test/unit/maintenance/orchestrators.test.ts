import { expect, test } from 'vitest';
import { RetryableError } from '../../../src/kernel/errors.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { describeRun } from '../../../src/maintenance/describe-run.ts';
import type { MaintenanceEngine } from '../../../src/maintenance/engine.ts';
import type { UnitOutcome, UnitRequest } from '../../../src/maintenance/model.ts';
import { idleClient } from '../../support/moves/run-services.ts';
import { createRunWorld, type RunWorld } from '../../support/maintenance/runs.ts';
import { inspectionOf, noAdvice, outcomeOf } from '../../support/maintenance/tables.ts';
import type { TestTable } from '../../support/maintenance/tables.ts';

interface TestEngine extends MaintenanceEngine {
  readonly done: UnitRequest[];
}

function createEngine(
  tables: readonly TestTable[],
  options: {
    readonly away?: ReadonlySet<number>;
    readonly onUnit?: (request: UnitRequest) => Promise<void> | void;
    readonly outcome?: (request: UnitRequest) => Partial<UnitOutcome>;
  } = {},
): TestEngine {
  const done: UnitRequest[] = [];
  return {
    done,
    inspect: (shard, { tables: asked }) => {
      if (options.away?.has(shard) === true) throw RetryableError.shardUnavailable(shard);
      const own = tables.filter((entry) => entry.shard === shard);
      const wanted = own.filter(({ table }) => asked?.includes(table) ?? true);
      return Promise.resolve(inspectionOf(shard, wanted));
    },
    advise: (shard) => {
      if (shard === 1) throw RetryableError.shardUnavailable(shard);
      const advice = [
        { kind: 'redundant-index', table: 'orders', index: 'k', text: 'k is covered.' } as const,
      ];
      return Promise.resolve({ ...noAdvice(shard), advice });
    },
    past: () => Promise.resolve([]),
    purgeLog: (shard) => {
      if (shard === 0) throw RetryableError.shardUnavailable(shard);
      return Promise.resolve();
    },
    runUnit: async (request) => {
      done.push(request);
      await options.onUnit?.(request);
      return outcomeOf(request, options.outcome?.(request));
    },
  };
}

function manyTables(shards: number, perShard: number): TestTable[] {
  return Array.from({ length: shards * perShard }, (_, index) => ({
    shard: index % shards,
    table: `t${Math.floor(index / shards)}`,
    action: index % 4 === 3 ? 'none' : index % 4 === 1 ? 'rebuild' : 'analyze',
    need: 1 + (index % 7),
    bytes: 1_000_000,
    takesMs: 10,
  }));
}

const keys = (requests: readonly UnitRequest[]): string[] =>
  requests.map(({ shard, table }) => `${shard}/${table}`).toSorted();

async function viewOf({ services }: RunWorld, id: string, limit = 500) {
  const page = { from: { shard: 0, table: 0 }, limit };
  const found = await describeRun(services, idleClient, id, page);
  if (found === undefined) throw new Error('there is no such run');
  return found;
}

test('a run does what is needed, once, with a small history', async () => {
  const tables = manyTables(3, 24);
  const engine = createEngine(tables);
  const world = createRunWorld(engine, 3);
  const id = await world.start();
  const result = await world.drive(id);
  expect(result.state).toBe('completed');
  const needing = tables.filter(({ action }) => action !== 'none');
  expect(keys(engine.done)).toEqual(
    needing.map(({ shard, table }) => `${shard}/${table}`).toSorted(),
  );
  const view = await viewOf(world, id);
  expect(view).toMatchObject({
    status: 'completed',
    progress: { unitsDone: needing.length, units: needing.length, shardsInspected: 3 },
    advice: [{ shard: 0 }, { shard: 2 }],
  });
  expect(view.tables).toHaveLength(tables.length);
  expect(view.tables.filter(({ state }) => state === 'left-alone')).toHaveLength(18);
  const units = needing.length;
  console.log(
    `${units} tables visited: per table ${(result.historyBytes / units).toFixed(0)} bytes of history, ${(result.actions / units).toFixed(1)} durable actions; ${result.executions} executions`,
  );
  expect(result.executions).toBeGreaterThan(1);
  // decide and work, and a little for looking and finishing.
  expect(result.actions / units).toBeLessThan(2.2);
});

test('deliveries that come twice do no unit twice', async () => {
  const engine = createEngine(manyTables(3, 12));
  const world = createRunWorld(engine, 3, { MAINTENANCE_SHARDS_AT_ONCE: '3' });
  const id = await world.start();
  const result = await world.drive(id, 0.5);
  expect(result.state).toBe('completed');
  expect((await viewOf(world, id)).counts.done).toBe(27);
  // A second delivery after the first has stored what it did finds that; the driver runs them one after the other.
  expect(new Set(keys(engine.done)).size).toBe(engine.done.length);
});

test('a second run is refused while one goes on, and taken afterwards', async () => {
  const world = createRunWorld(createEngine(manyTables(1, 4)), 1);
  const id = await world.start();
  await expect(world.start()).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining(id) as string,
  });
  await world.drive(id);
  expect(await world.start()).not.toBe(id);
  await expect(world.start({ shards: [3 as ShardId] })).rejects.toMatchObject({
    code: 'validation-failed',
  });
});

test('of two that start at the same moment one is refused', async () => {
  const world = createRunWorld(createEngine([]), 1);
  const both = await Promise.allSettled([world.start(), world.start()]);
  expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
});

test('a dry run decides and changes nothing', async () => {
  const engine = createEngine(manyTables(2, 4));
  const world = createRunWorld(engine, 2);
  const id = await world.start({ dryRun: true });
  await world.drive(id);
  expect(engine.done).toEqual([]);
  const view = await viewOf(world, id);
  expect(view).toMatchObject({ status: 'completed', dryRun: true, counts: { waiting: 6 } });
  expect([...world.control.texts.keys()].filter((name) => name.includes('queue'))).toEqual([]);
});

test('a cancelled run begins nothing more, and takes no turn from anybody', async () => {
  const engine = createEngine(manyTables(1, 12), {
    onUnit: async () => {
      if (engine.done.length === 3) {
        await world.store.wishCancel(id);
      }
    },
  });
  const world = createRunWorld(engine, 1);
  const id = await world.start();
  await world.drive(id);
  expect(engine.done).toHaveLength(3);
  expect(await viewOf(world, id)).toMatchObject({
    status: 'cancelled',
    counts: { done: 3, cancelled: 6 },
  });
  const queue = await world.store.readQueue(0 as ShardId);
  expect(queue.entries.map(({ missed }) => missed)).toEqual([0, 0, 0, 0, 0, 0]);
});

test('a shard that is away is told with a reason, and the rest is done', async () => {
  const engine = createEngine(manyTables(3, 4), { away: new Set([1]) });
  const world = createRunWorld(engine, 3);
  const id = await world.start();
  await world.drive(id);
  const view = await viewOf(world, id);
  expect(view.status).toBe('completed');
  expect(view.shards[1]).toMatchObject({ state: 'away', error: expect.any(String) as string });
  expect(new Set(engine.done.map(({ shard }) => shard))).toEqual(new Set([0, 2]));
});

test('the storage account refuses while a unit is written down: it is not done again', async () => {
  let refusals = 0;
  const engine = createEngine(manyTables(1, 4), {
    onUnit: () => {
      world.control.beforeSwap = (name) => {
        refusals += 1;
        if (refusals <= 5 && name.endsWith('/0.json')) throw RetryableError.storageUnavailable();
      };
    },
  });
  const world = createRunWorld(engine, 1);
  const id = await world.start();
  await world.drive(id);
  expect(refusals).toBeGreaterThan(5);
  expect(keys(engine.done)).toEqual(['0/t0', '0/t1', '0/t2']);
  expect((await viewOf(world, id)).counts.done).toBe(3);
});

test('what is shown comes in pages', async () => {
  const world = createRunWorld(createEngine(manyTables(3, 5)), 3);
  const id = await world.start();
  await world.drive(id);
  const seen: string[] = [];
  let from: { readonly shard: number; readonly table: number } | undefined = { shard: 0, table: 0 };
  let pages = 0;
  while (from !== undefined) {
    const found = await describeRun(world.services, idleClient, id, { from, limit: 4 });
    seen.push(...(found?.tables ?? []).map(({ shard, table }) => `${shard}/${table}`));
    const [shard, table] = (found?.nextCursor ?? '').split('-').map(Number);
    from = shard === undefined || table === undefined ? undefined : { shard, table };
    pages += 1;
  }
  expect([pages, new Set(seen).size]).toEqual([4, 15]);
});

test('a report is left behind, and deleted with all that belongs to it after its time', async () => {
  const world = createRunWorld(createEngine(manyTables(2, 3)), 2, { MAINTENANCE_REPORT_DAYS: '7' });
  const first = await world.start();
  await world.drive(first);
  const { report } = await viewOf(world, first);
  const lines = (world.blobs.texts.get(`maintenance/${report}`)?.toString() ?? '')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; status?: string });
  expect(lines.filter(({ kind }) => kind === 'table')).toHaveLength(6);
  expect(lines.at(-1)).toMatchObject({ kind: 'run', status: 'completed', counts: { done: 5 } });
  const clock = world.services.clock as unknown as { advance(ms: number): Promise<void> };
  await clock.advance(8 * 86_400_000);
  const second = await world.start();
  await world.drive(second);
  const names = [...world.control.texts.keys(), ...world.blobs.texts.keys()];
  expect(names.filter((name) => name.includes(first))).toEqual([]);
  expect(names.filter((name) => name.includes(second)).length).toBeGreaterThan(3);
});
