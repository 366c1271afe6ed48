import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { OrchestrationClient } from '../../src/durable/client.ts';
import type { OrphanReport, OrphanSettler } from '../../src/sagas/modules.ts';
import { homeBucketOf } from '../../src/sagas/saga-id.ts';
import { sweepSagas } from '../../src/sagas/sweep.ts';
import type { SweepReport } from '../../src/sagas/sweep-report.ts';
import { KINDS, MINUTE_MS, NOW_MS, sagaOn, sqlTime } from '../support/saga-operations.ts';
import { STALE_SINCE_MS, startSweepWorld, type SweepWorld } from '../support/sweep-world.ts';

const NOTHING: OrphanReport = { found: 0, confirmed: 0, released: 0, left: 0 };

let world: SweepWorld;

beforeAll(async () => {
  world = await startSweepWorld();
});
beforeEach(() => world.app.reset());
afterEach(() => world.databases.recover());
afterAll(() => world.stop());

function total(report: SweepReport, count: keyof SweepReport['shards'][number]['sagas']): number {
  return report.shards.reduce((sum, { sagas }) => sum + sagas[count], 0);
}

describe('a saga written down as unfinished', () => {
  test('is started again when its orchestration is lost, and only then', async () => {
    const lost = [
      await world.stale('absent', { input: { a: 1 } }),
      await world.stale('failed', { sagaId: sagaOn(1), status: 'compensating' }),
      await world.stale('terminated', { sagaId: sagaOn(2) }),
      await world.stale('completed', { sagaId: sagaOn(1), attention: true }),
    ];
    for (const state of ['running', 'pending', 'suspended'] as const) {
      await world.stale(state, { sagaId: sagaOn(2) });
    }
    await world.stale('absent', { createdMs: STALE_SINCE_MS, updatedMs: NOW_MS - MINUTE_MS });
    await world.stale('absent', { createdMs: NOW_MS - MINUTE_MS });
    await world.stale('absent', { status: 'completed' });
    const before = await world.app.rows(
      2,
      'SELECT saga_id, updated_at FROM sagas ORDER BY saga_id',
    );
    const report = await world.sweep();
    expect(world.started()).toEqual(lost.toSorted());
    expect(world.app.runtime.started).toContainEqual({
      instanceId: lost[0],
      name: `saga-${KINDS[0]}`,
      input: { mode: 'recover', input: { a: 1 } },
    });
    expect(report.complete).toBe(true);
    expect([total(report, 'stale'), total(report, 'alive'), total(report, 'revived')]).toEqual([
      7, 3, 4,
    ]);
    const after = await world.app.rows(2, 'SELECT saga_id, updated_at FROM sagas ORDER BY saga_id');
    const touched = after.filter(
      (row, index) => row['updated_at'] !== before[index]?.['updated_at'],
    );
    expect(touched.map((row) => row['saga_id'])).toEqual([lost[2]]);
  });

  test('is left to the shard that owns its bucket', async () => {
    const sagaId = sagaOn(0);
    await world.stale('absent', { sagaId });
    await world.app.own(0, homeBucketOf(sagaId), 'gone');
    expect(total(await world.sweep(), 'stale')).toBe(0);
    await world.app.own(0, homeBucketOf(sagaId), 'fenced');
    expect(total(await world.sweep(), 'stale')).toBe(0);
    await world.app.own(0, homeBucketOf(sagaId), 'owned');
    expect(total(await world.sweep(), 'revived')).toBe(1);
  });

  test('is started once by two sweeps at once', async () => {
    for (let count = 0; count < 5; count += 1) await world.stale('absent');
    const reports = await Promise.all([world.sweep(), world.sweep(), world.sweep()]);
    expect(world.app.runtime.started).toHaveLength(5);
    expect(reports.reduce((sum, report) => sum + total(report, 'revived'), 0)).toBe(5);
  });

  test('is not started again when it ends, or moves on, while the sweep asks after it', async () => {
    const ended = await world.stale('completed');
    await world.stale('absent');
    const client: OrchestrationClient = {
      ...world.app.runtime.client,
      status: async (contract, instanceId) => {
        const found = await world.app.runtime.client.status(contract, instanceId);
        const change =
          instanceId === ended
            ? "status = 'completed', finished_at = updated_at"
            : 'updated_at = updated_at + INTERVAL 5 MINUTE';
        await world.app.write(0, `UPDATE sagas SET ${change} WHERE saga_id = ?`, [instanceId]);
        return found;
      },
    };
    const parts = { modules: world.app.modules, settlers: [], purgers: [], nowMs: NOW_MS };
    const report = await sweepSagas(world.app.services, client, parts);
    expect([total(report, 'stale'), total(report, 'revived'), world.started()]).toEqual([2, 0, []]);
  });

  test('is found behind many that live', async () => {
    for (let count = 0; count < 12; count += 1) {
      await world.stale('running', { createdMs: STALE_SINCE_MS - MINUTE_MS + count });
    }
    const lost = await world.stale('absent');
    expect([total(await world.sweep(), 'alive'), world.started()]).toEqual([5, []]);
    expect([total(await world.sweep(), 'alive'), world.started()]).toEqual([5, []]);
    expect([total(await world.sweep(), 'alive'), world.started()]).toEqual([2, [lost]]);
    // From the beginning again.
    expect(total(await world.sweep(), 'alive')).toBe(5);
  });

  test('that was one transaction is not started, but its end is written down', async () => {
    const [done, refused, open] = [sagaOn(0), sagaOn(0), sagaOn(0)];
    for (const [sagaId, state, result] of [
      [done, 'done', '{"id":7}'],
      [refused, 'undone', '{"code":"email-taken","message":"taken"}'],
    ] as const) {
      const values = [sagaId, state, result, sqlTime(STALE_SINCE_MS)];
      await world.app.write(1, "INSERT INTO saga_steps VALUES (1, ?, 'local', ?, ?, ?)", values);
    }
    for (const sagaId of [done, refused, open]) {
      await world.stale('absent', { sagaId, kind: KINDS[1], input: { bucket: 1 } });
    }
    const report = await world.sweep();
    expect([total(report, 'ended'), total(report, 'revived')]).toEqual([2, 1]);
    expect(world.started()).toEqual([open]);
    const rows = await world.app.rows(0, 'SELECT saga_id, status, outcome FROM sagas');
    const told = new Map(rows.map((row) => [row['saga_id'], row]));
    expect(told.get(done)).toMatchObject({
      status: 'completed',
      outcome: '{"kind":"completed","value":{"id":7}}',
    });
    expect(told.get(refused)).toMatchObject({ status: 'compensated' });
    const sealed = await world.app.rows(1, 'SELECT state FROM saga_steps WHERE saga_id = ?', [
      open,
    ]);
    expect(sealed).toEqual([{ state: 'sealed' }]);
  });

  test('that cannot be started again keeps nobody else from it', async () => {
    const broken = await world.stale('absent', { kind: KINDS[1], input: { bucket: -1 } });
    const lost = await world.stale('absent');
    const report = await world.sweep();
    expect(world.started()).toEqual([lost]);
    expect([total(report, 'failed'), report.complete]).toEqual([1, false]);
    const failures = world.app.services.logger.events.filter(
      ({ event }) => event === 'sagas.not_revived',
    );
    expect(failures.map(({ fields }) => fields['sagaId'])).toEqual([broken]);
  });

  test('waits while the runtime does not answer; the rest of the sweep goes on', async () => {
    await world.stale('absent');
    world.app.runtime.down = true;
    let settled = 0;
    const settler: OrphanSettler = {
      name: 'rows',
      settle: () => {
        settled += 1;
        return Promise.resolve(NOTHING);
      },
    };
    const report = await world.sweep({ settlers: [settler] });
    expect(report.complete).toBe(false);
    expect(report.shards[0]?.errors).toEqual([
      expect.objectContaining({ task: 'sagas', code: 'storage-unavailable' }),
    ]);
    expect(settled).toBe(3);
    world.app.runtime.down = false;
    expect(total(await world.sweep(), 'revived')).toBe(1);
  });
});
