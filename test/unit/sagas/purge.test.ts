import { expect, test } from 'vitest';
import { startDeadline } from '../../../src/kernel/deadline.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import type { Purger, PurgeStep, PurgeWork } from '../../../src/sagas/modules.ts';
import { runPurger } from '../../../src/sagas/purge.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createFakeServices } from '../../support/fake-services.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const clock = createFakeClock({ startMs: NOW_MS });

function purgerOf(steps: (work: PurgeWork) => PurgeStep): Purger & { readonly works: PurgeWork[] } {
  const works: PurgeWork[] = [];
  return {
    name: 'rows',
    works,
    purge: (_services, work) => {
      works.push(work);
      return Promise.resolve(steps(work));
    },
  };
}

function run(purger: Purger, settings: Readonly<Record<string, string>> = {}, after = '') {
  const services = createFakeServices({ clock }, settings);
  const deadline = startDeadline(clock, 10_000);
  return runPurger(services, purger, { shard: 2 as ShardId, nowMs: NOW_MS, deadline, after });
}

test('goes on from chunk to chunk, from where the last run was, to the end', async () => {
  const chunks = new Map([
    ['b', { deleted: 3, next: 'c' }],
    ['c', { deleted: 2, next: '' }],
    ['', { deleted: 1, next: null }],
  ]);
  const purger = purgerOf(({ after }) => chunks.get(after) as PurgeStep);
  expect(await run(purger, {}, 'b')).toEqual({ deleted: 6, next: '' });
  expect(purger.works.map(({ after }) => after)).toEqual(['b', 'c', '']);
  expect(purger.works[0]).toMatchObject({
    shard: 2,
    olderThanMs: NOW_MS - 168 * 3_600_000,
    limit: 200,
  });
});

test('ends after twenty chunks, and tells where', async () => {
  const purger = purgerOf(({ after }) => ({ deleted: 1, next: String(Number(after) + 1) }));
  expect(await run(purger, { SAGA_SWEEP_ROWS: '10000' })).toEqual({ deleted: 20, next: '20' });
  expect(new Set(purger.works.map(({ limit }) => limit))).toEqual(new Set([1_000]));
});

test('begins no chunk when the time is up', async () => {
  const slow = createFakeClock({ startMs: NOW_MS });
  const deadline = startDeadline(slow, 2_500);
  let chunks = 0;
  const purger: Purger = {
    name: 'rows',
    purge: async () => {
      chunks += 1;
      await slow.advance(1_000);
      return { deleted: 1, next: 'more' };
    },
  };
  const work = { shard: 0 as ShardId, nowMs: NOW_MS, deadline, after: '' };
  const ended = await runPurger(createFakeServices({ clock: slow }), purger, work);
  expect(ended).toEqual({ deleted: 2, next: 'more' });
  expect(chunks).toBe(2);
});
