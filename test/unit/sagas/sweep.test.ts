import { expect, test } from 'vitest';
import type { TimerFunctionOptions } from '@azure/functions';
import type { ShardedDatabase } from '../../../src/database/contracts.ts';
import type { OrchestrationClient } from '../../../src/durable/client.ts';
import { durableClientInput } from '../../../src/durable/client.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import type { OrphanSettler } from '../../../src/sagas/modules.ts';
import { keepRuns, registerSagaSweep } from '../../../src/sagas/sweep-timer.ts';
import { sweepSagas } from '../../../src/sagas/sweep.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createFakeServices, type FakeServices } from '../../support/fake-services.ts';
import { createMemoryBlobs } from '../../support/memory-blobs.ts';

const NOTHING = { found: 0, confirmed: 0, released: 0, left: 0 };
const NO_PARTS = { modules: [], settlers: [], purgers: [] };
const client = {} as OrchestrationClient;

/** Two shards without rows. */
function servicesWith(clock = createFakeClock()): FakeServices {
  const database = {
    shardIds: () => [0 as ShardId, 1 as ShardId],
    onShard: () => Promise.resolve([]),
  } as unknown as ShardedDatabase;
  return createFakeServices({ clock, database, blobs: createMemoryBlobs() });
}

test('a task that hangs ends with the run; what comes after it is told as not begun', async () => {
  const clock = createFakeClock();
  const services = servicesWith(clock);
  const settler = (name: string, settle: OrphanSettler['settle']): OrphanSettler => ({
    name,
    settle,
  });
  const hangs = settler('hangs', (_services, { shard }) =>
    shard === 0 ? new Promise(() => undefined) : Promise.resolve(NOTHING),
  );
  const fine = settler('fine', () => Promise.resolve(NOTHING));
  const parts = { ...NO_PARTS, settlers: [hangs, fine], nowMs: clock.nowMs() };
  const running = sweepSagas(services, client, parts);
  await clock.advance(49_000);
  await clock.advance(1_500);
  const { complete, shards } = await running;
  expect(complete).toBe(false);
  const late = ['settle hangs', 'settle fine', 'purge saga_steps', 'purge sagas'];
  expect(shards[0]?.errors.map(({ task, code }) => [task, code])).toEqual(
    late.map((task) => [task, 'late']),
  );
  expect(shards[1]).toMatchObject({ errors: [], orphans: { hangs: NOTHING, fine: NOTHING } });
});

test('the timer has the schedule of the settings and a client for orchestrations', () => {
  const timers = new Map<string, TimerFunctionOptions>();
  const app = { timer: (name: string, options: TimerFunctionOptions) => timers.set(name, options) };
  registerSagaSweep(
    app,
    createFakeServices({}, { SAGA_SWEEP_SCHEDULE: '0 */5 * * * *' }),
    NO_PARTS,
  );
  expect(timers.get('sagas-sweep')).toMatchObject({
    schedule: '0 */5 * * * *',
    extraInputs: [durableClientInput],
  });
});

test('the runs of other slices are kept going, and one that fails stops no other', async () => {
  const kept: string[] = [];
  const services = createFakeServices();
  await keepRuns(services, client, [
    () => Promise.reject(new Error('storage is away')),
    () => Promise.resolve(void kept.push('second')),
  ]);
  expect(kept).toEqual(['second']);
  expect(services.logger.events.map(({ event }) => event)).toEqual(['sagas.keep_failed']);
});
