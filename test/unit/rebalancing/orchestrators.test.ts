import { expect, test } from 'vitest';
import type { ActivityImplementation } from '../../../src/durable/implement.ts';
import { decideRoundActivity } from '../../../src/rebalancing/activities.ts';
import {
  decideRound,
  rebalanceOrchestration,
  workLane,
} from '../../../src/rebalancing/contracts.ts';
import { rebalance } from '../../../src/rebalancing/orchestrators.ts';
import type { Plan, Result, Verb, Wish } from '../../../src/rebalancing/run-model.ts';
import { newRunState } from '../../../src/rebalancing/run-state.ts';
import { createRunStore } from '../../../src/rebalancing/run-store.ts';
import type { BucketMap } from '../../../src/sharding/bucket-map.ts';
import { planRebalance } from '../../../src/sharding/rebalance-plan.ts';
import { createBucketMapStore } from '../../../src/storage/bucket-map-store.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import {
  driveOrchestrator,
  silentLogger,
  type BoundActivity,
  type DriveResult,
} from '../../support/drive-orchestrator.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createFakeServices } from '../../support/fake-services.ts';
import { createMemoryBlobs } from '../../support/memory-blobs.ts';
import { createMemoryControl } from '../../support/memory-control.ts';
import { createRandom } from '../../support/random.ts';

const RUN = 'the-run';
const CAPS = { total: 4, perSource: 2, perTarget: 2 };
const names = ['a', 'b', 'c', 'd'];

interface Call {
  readonly rebalanceId: string;
  readonly verb: Verb;
  readonly buckets: readonly number[];
}

interface Played {
  readonly result: DriveResult;
  readonly store: ReturnType<typeof createRunStore>;
  readonly map: () => Promise<BucketMap>;
}

/** A run from three to four shards, with stored state and map and stubbed work. */
async function play(options: {
  readonly maxBuckets: number;
  readonly answer?: (call: Call, bucket: number) => Partial<Result>;
  readonly redeliver?: number;
  readonly wishAfter?: { readonly calls: number; readonly wish: Wish };
  readonly onWork?: (map: BucketMap) => void;
}): Promise<Played> {
  const random = createRandom();
  console.log(`SEED=${random.seed}`);
  const clock = createFakeClock({ autoSleep: true });
  const control = createMemoryControl();
  const blobs = createMemoryBlobs();
  const tools = { clock, random: () => random.next(), logger: silentLogger };
  const storeOf = (shardNames: readonly string[]) =>
    createBucketMapStore({
      ...tools,
      blobs: control.blobs,
      list: control.list,
      shardNames,
      newClusterId: () => 'test',
    });
  await storeOf(names.slice(0, 3)).load();
  const bucketMapStore = storeOf(names);
  const { map } = await bucketMapStore.load();
  const bucketMap = {
    current: async () => (await bucketMapStore.load()).map,
    refresh: async () => (await bucketMapStore.load()).map,
    cached: () => undefined,
  };
  const services = createFakeServices({
    clock,
    blobs,
    control: control.blobs,
    bucketMapStore,
    bucketMap,
  });
  const store = createRunStore(services);
  const plan = planFor(map, options.maxBuckets);
  const state = newRunState({ plan, caps: CAPS, nowMs: clock.nowMs() });
  await store.createRun(RUN, { goal: {}, plan }, state);

  let calls = 0;
  const workStub: BoundActivity = async (input) => {
    const call = input as Call;
    calls += 1;
    if (options.wishAfter?.calls === calls) {
      await store.changeWish(RUN, () => options.wishAfter?.wish);
    }
    options.onWork?.((await bucketMapStore.load()).map);
    const usual = { move: 'done', cancel: 'cancelled', purge: 'purged' } as const;
    const results = call.buckets.map((bucket) => ({
      bucket,
      outcome: usual[call.verb],
      ...options.answer?.(call, bucket),
    }));
    return { ok: true, value: { results } };
  };
  const decide: ActivityImplementation<typeof services> = decideRoundActivity;
  const bound = decide.bind(services);
  const result = await driveOrchestrator(
    rebalanceOrchestration.name,
    { rebalanceId: RUN },
    {
      orchestrations: [rebalance],
      activities: {
        [decideRound.name]: async (input, run) => {
          // Timers fire at once in the driver; the activities' clock goes on with what was waited for.
          const answer = await bound(input, run);
          const decision = (answer as { value?: { decision?: { kind: string; ms?: number } } })
            .value?.decision;
          if (decision?.kind === 'wait') await clock.advance(decision.ms ?? 0);
          return answer;
        },
        [workLane.name]: workStub,
      },
      random: () => random.next(),
      instanceId: RUN,
      ...(options.redeliver !== undefined && { redeliver: options.redeliver }),
    },
  );
  return { result, store, map: async () => (await bucketMapStore.load()).map };
}

function planFor(map: BucketMap, maxBuckets: number): Plan {
  const weights = new Map(names.map((_, id) => [id as ShardId, 1]));
  const { moves, planHash, mapVersion } = planRebalance(map, { weights, maxBuckets });
  const sized = moves.map((move) => ({ ...move, estimatedRows: 1, estimatedBytes: 1 }));
  const totals = { buckets: moves.length, rows: moves.length, bytes: moves.length };
  return { planHash, mapVersion, moves: sized, totals };
}

test('a run ends when all is moved and purged, with a small history', async () => {
  const { result, store, map } = await play({ maxBuckets: 256 });
  expect(result.state).toBe('completed');
  const state = (await store.readState(RUN))?.value;
  expect(state?.status).toBe('completed');
  expect(state?.moves.filter((move) => move.purge === 'done')).toHaveLength(256);
  expect((await map()).moves).toEqual([]);
  console.log(
    `256 moves: ${result.actions} actions, ${result.historyBytes} bytes of history, ${result.executions} executions`,
  );
  // Lanes: far fewer activities than moves, twice (move and purge).
  expect(result.actions).toBeLessThan(150);
});

test('deliveries that come twice change nothing', async () => {
  const { result, store } = await play({ maxBuckets: 64, redeliver: 0.5 });
  expect(result.state).toBe('completed');
  const state = (await store.readState(RUN))?.value;
  expect(state?.moves.every((move) => move.purge === 'done')).toBe(true);
});

test('moves that fail come again, in new executions, until they are done', async () => {
  const tries = new Map<number, number>();
  const { result, store } = await play({
    maxBuckets: 200,
    answer: ({ verb }, bucket) => {
      const count = (tries.get(bucket) ?? 0) + 1;
      tries.set(bucket, count);
      return verb === 'move' && count <= 5 ? { outcome: 'failed', error: 'not yet' } : {};
    },
  });
  expect(result.state).toBe('completed');
  expect((await store.readState(RUN))?.value.status).toBe('completed');
  expect(result.executions).toBeGreaterThan(1);
});

test('a cancelled run takes back what was begun and drops the rest', async () => {
  const { result, store, map } = await play({
    maxBuckets: 200,
    answer: ({ verb }) => (verb === 'move' ? { outcome: 'more' } : {}),
    wishAfter: { calls: 3, wish: 'cancel' },
  });
  expect(result.state).toBe('completed');
  const state = (await store.readState(RUN))?.value;
  expect(state?.status).toBe('cancelled');
  expect(state?.moves.every((move) => move.state === 'cancelled')).toBe(true);
  expect((await map()).moves).toEqual([]);
});

test('the map tells what is under way while it is', async () => {
  const seen: number[] = [];
  const { map } = await play({ maxBuckets: 5, onWork: ({ moves }) => seen.push(moves.length) });
  expect(seen[0]).toBe(5);
  expect((await map()).moves).toEqual([]);
});
