import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RetryableError } from '../../src/kernel/errors.ts';
import type { OrphanReport, OrphanSettler, OrphanWork, SagaLife } from '../../src/sagas/modules.ts';
import { type SagaId } from '../../src/sagas/saga-id.ts';
import { KINDS, MINUTE_MS, NOW_MS, sagaOn } from '../support/saga-operations.ts';
import { startSweepWorld, type SweepWorld } from '../support/sweep-world.ts';

const NOTHING: OrphanReport = { found: 0, confirmed: 0, released: 0, left: 0 };

let world: SweepWorld;

beforeAll(async () => {
  world = await startSweepWorld();
});
beforeEach(() => world.app.reset());
afterEach(() => world.databases.recover());
afterAll(() => world.stop());

describe('settling what is held for a saga', () => {
  test('asks once and run whether it may still act', async () => {
    const other = sagaOn(1);
    world.app.runtime.instances.set(other, { name: 'something-else', state: 'running' });
    const late = sagaOn(1);
    world.app.runtime.instances.set(late, { name: `saga-${KINDS[1]}`, state: 'running' });
    const over = sagaOn(1);
    world.app.runtime.instances.set(over, { name: `saga-${KINDS[1]}`, state: 'failed' });
    const cases: readonly (readonly [SagaId, SagaLife])[] = [
      [await world.stale('absent', { status: 'completed' }), 'ended'],
      [await world.stale('running', { status: 'compensated' }), 'ended'],
      [await world.stale('running'), 'alive'],
      // The sweep starts it again, and it settles what it holds.
      [await world.stale('absent'), 'alive'],
      [late, 'alive'],
      [over, 'unknown'],
      [other, 'unknown'],
      [sagaOn(2), 'unknown'],
    ];
    const answers: SagaLife[][] = [];
    const settler: OrphanSettler = {
      name: 'rows',
      settle: async (_services, { lifeOf }) => {
        answers.push(await Promise.all(cases.map(([sagaId]) => lifeOf(sagaId))));
        return NOTHING;
      },
    };
    await world.sweep({ settlers: [settler] });
    const expected = cases.map(([, life]) => life);
    expect(answers).toEqual([expected, expected, expected]);
    // Two by the revival; of the four without a row, two are of another kind than the one asked for first, or of none.
    expect(world.app.runtime.asked).toBe(2 + 2 + 2 + 2 + 1);
  });

  test('gets what is not known as alive', async () => {
    const [away, unasked] = [sagaOn(1), sagaOn(0)];
    await world.databases.stack.stopShard(1, 'kill');
    world.app.runtime.down = true;
    const lives: SagaLife[] = [];
    const settler: OrphanSettler = {
      name: 'rows',
      settle: async (_services, { lifeOf, shard }) => {
        if (shard === 0) lives.push(await lifeOf(away), await lifeOf(unasked));
        return NOTHING;
      },
    };
    await world.sweep({ settlers: [settler] });
    expect(lives).toEqual(['alive', 'alive']);
  });

  test('is asked for with the bounds of the settings, shard by shard', async () => {
    const works: Omit<OrphanWork, 'lifeOf'>[] = [];
    const settler: OrphanSettler = {
      name: 'rows',
      settle: (_services, { shard, olderThanMs, limit }) => {
        works.push({ shard, olderThanMs, limit });
        return Promise.resolve({ found: 3, confirmed: 1, released: 1, left: 1 });
      },
    };
    const report = await world.sweep({ settlers: [settler] });
    const bounds = { olderThanMs: NOW_MS - 5 * MINUTE_MS, limit: 5 };
    expect(works.toSorted((a, b) => a.shard - b.shard)).toEqual([
      { shard: 0, ...bounds },
      { shard: 1, ...bounds },
      { shard: 2, ...bounds },
    ]);
    expect(report.shards[2]?.orphans).toEqual({
      rows: { found: 3, confirmed: 1, released: 1, left: 1 },
    });
  });

  test('may fail without stopping what comes after it', async () => {
    const failing = (name: string, error: Error): OrphanSettler => ({
      name,
      settle: () => Promise.reject(error),
    });
    const fine: OrphanSettler = { name: 'fine', settle: () => Promise.resolve(NOTHING) };
    const elsewhere = RetryableError.shardUnavailable(9);
    const report = await world.sweep({
      settlers: [failing('bug', new TypeError('secret')), failing('away', elsewhere), fine],
    });
    expect(report.shards).toHaveLength(3);
    for (const { errors, orphans } of report.shards) {
      expect(errors.map(({ task, code }) => [task, code])).toEqual([
        ['settle bug', 'internal'],
        ['settle away', 'shard-unavailable'],
      ]);
      expect(orphans).toEqual({ fine: NOTHING });
    }
    expect(JSON.stringify(report)).not.toContain('secret');
  });
});

describe('a shard that is away', () => {
  test('is reported, and the others are swept', async () => {
    const lost = await world.stale('absent', { sagaId: sagaOn(2) });
    await world.databases.stack.stopShard(1, 'kill');
    const settled = new Set<number>();
    const settler: OrphanSettler = {
      name: 'rows',
      settle: (_services, { shard }) => {
        settled.add(shard);
        return Promise.resolve(NOTHING);
      },
    };
    const report = await world.sweep({ settlers: [settler] });
    expect(report.complete).toBe(false);
    expect(report.shards.map(({ errors }) => errors.map(({ code }) => code))).toEqual([
      [],
      ['shard-unavailable'],
      [],
    ]);
    expect(settled).toEqual(new Set([0, 2]));
    expect(world.started()).toEqual([lost]);
  });
});

describe('the report', () => {
  test('is shown when there is one', async () => {
    const none = await world.app.call('ops-sagas-last-sweep');
    expect([none.status, none.json['code']]).toEqual([404, 'not-found']);
    const lost = await world.stale('absent');
    const swept = await world.app.call('ops-sagas-sweep', {});
    expect(swept.status).toBe(200);
    expect(world.started()).toEqual([lost]);
    const last = await world.app.call('ops-sagas-last-sweep');
    expect([last.status, last.json]).toEqual([200, swept.json]);
    expect(swept.json).toMatchObject({
      startedAt: '2026-06-01T12:00:00.000Z',
      complete: true,
      shards: [
        { shard: 0, sagas: { stale: 1, revived: 1 }, errors: [] },
        { shard: 1 },
        { shard: 2 },
      ],
    });
    const logged = world.app.services.logger.events.filter(({ event }) => event === 'sagas.swept');
    expect(logged).toHaveLength(1);
  });

  test('that cannot be read stops nothing', async () => {
    await world.app.services.blobs.write('control', 'sagas/sweep.json', '{"report": 1}');
    const lost = await world.stale('absent');
    await world.sweep();
    expect(world.started()).toEqual([lost]);
    expect((await world.app.call('ops-sagas-last-sweep')).status).toBe(200);
  });
});
