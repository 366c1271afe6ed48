import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { OrchestrationClient, RuntimeState } from '../../src/durable/client.ts';
import { RetryableError } from '../../src/kernel/errors.ts';
import type { OrphanReport, OrphanSettler, OrphanWork, SagaLife } from '../../src/sagas/modules.ts';
import { homeBucketOf, type SagaId } from '../../src/sagas/saga-id.ts';
import { sweepSagas, type SweepParts } from '../../src/sagas/sweep.ts';
import type { SweepReport } from '../../src/sagas/sweep-report.ts';
import { createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import {
  KINDS,
  MINUTE_MS,
  NOW_MS,
  sagaOn,
  sqlTime,
  startSagaOperations,
  type SagaOperations,
  type SagaRow,
} from '../support/saga-operations.ts';

const OLD_MS = NOW_MS - 6 * MINUTE_MS;
const NOTHING: OrphanReport = { found: 0, confirmed: 0, released: 0, left: 0 };

let databases: TestDatabases;
let app: SagaOperations;

beforeAll(async () => {
  databases = await createTestDatabases();
  app = await startSagaOperations(databases, {
    SAGA_STALE_MS: String(5 * MINUTE_MS),
    SAGA_SWEEP_ROWS: '5',
    SAGA_STEP_DEADLINE_MS: '2000',
  });
});
beforeEach(() => app.reset());
afterEach(() => databases.recover());
afterAll(async () => {
  await app.close();
  await databases.drop();
});

function sweep(parts: Partial<SweepParts> = {}): Promise<SweepReport> {
  const all = { modules: app.modules, settlers: [], purgers: [], ...parts, nowMs: NOW_MS };
  return sweepSagas(app.services, app.runtime.client, all);
}

function total(report: SweepReport, count: keyof SweepReport['shards'][number]['sagas']): number {
  return report.shards.reduce((sum, { sagas }) => sum + sagas[count], 0);
}

/** An unfinished saga that nobody has touched for six minutes, its orchestration in a state. */
async function stale(state: RuntimeState | 'absent', row: Partial<SagaRow> = {}): Promise<SagaId> {
  const sagaId = row.sagaId ?? sagaOn(0);
  const kind = row.kind ?? KINDS[0];
  await app.addSaga({ createdMs: OLD_MS, ...row, sagaId });
  if (state !== 'absent') app.runtime.instances.set(sagaId, { name: `saga-${kind}`, state });
  return sagaId;
}

const started = (): readonly string[] =>
  app.runtime.started.map(({ instanceId }) => instanceId).toSorted();

describe('a saga written down as unfinished', () => {
  test('is started again when its orchestration is lost, and only then', async () => {
    const lost = [
      await stale('absent', { input: { a: 1 } }),
      await stale('failed', { sagaId: sagaOn(1), status: 'compensating' }),
      await stale('terminated', { sagaId: sagaOn(2) }),
      await stale('completed', { sagaId: sagaOn(1), attention: true }),
    ];
    for (const state of ['running', 'pending', 'suspended'] as const) {
      await stale(state, { sagaId: sagaOn(2) });
    }
    await stale('absent', { createdMs: OLD_MS, updatedMs: NOW_MS - MINUTE_MS });
    await stale('absent', { createdMs: NOW_MS - MINUTE_MS });
    await stale('absent', { status: 'completed' });
    const before = await app.rows(2, 'SELECT saga_id, updated_at FROM sagas ORDER BY saga_id');
    const report = await sweep();
    expect(started()).toEqual(lost.toSorted());
    expect(app.runtime.started).toContainEqual({
      instanceId: lost[0],
      name: `saga-${KINDS[0]}`,
      input: { mode: 'recover', input: { a: 1 } },
    });
    expect(report.complete).toBe(true);
    expect([total(report, 'stale'), total(report, 'alive'), total(report, 'revived')]).toEqual([
      7, 3, 4,
    ]);
    const after = await app.rows(2, 'SELECT saga_id, updated_at FROM sagas ORDER BY saga_id');
    const touched = after.filter(
      (row, index) => row['updated_at'] !== before[index]?.['updated_at'],
    );
    expect(touched.map((row) => row['saga_id'])).toEqual([lost[2]]);
  });

  test('is left to the shard that owns its bucket', async () => {
    const sagaId = sagaOn(0);
    await stale('absent', { sagaId });
    await app.own(0, homeBucketOf(sagaId), 'gone');
    expect(total(await sweep(), 'stale')).toBe(0);
    await app.own(0, homeBucketOf(sagaId), 'fenced');
    expect(total(await sweep(), 'stale')).toBe(0);
    await app.own(0, homeBucketOf(sagaId), 'owned');
    expect(total(await sweep(), 'revived')).toBe(1);
  });

  test('is started once by two sweeps at once', async () => {
    for (let count = 0; count < 5; count += 1) await stale('absent');
    const reports = await Promise.all([sweep(), sweep(), sweep()]);
    expect(app.runtime.started).toHaveLength(5);
    expect(reports.reduce((sum, report) => sum + total(report, 'revived'), 0)).toBe(5);
  });

  test('is not started again when it ends, or moves on, while the sweep asks after it', async () => {
    const ended = await stale('completed');
    await stale('absent');
    const client: OrchestrationClient = {
      ...app.runtime.client,
      status: async (contract, instanceId) => {
        const found = await app.runtime.client.status(contract, instanceId);
        const change =
          instanceId === ended
            ? "status = 'completed', finished_at = updated_at"
            : 'updated_at = updated_at + INTERVAL 5 MINUTE';
        await app.write(0, `UPDATE sagas SET ${change} WHERE saga_id = ?`, [instanceId]);
        return found;
      },
    };
    const parts = { modules: app.modules, settlers: [], purgers: [], nowMs: NOW_MS };
    const report = await sweepSagas(app.services, client, parts);
    expect([total(report, 'stale'), total(report, 'revived'), started()]).toEqual([2, 0, []]);
  });

  test('is found behind many that live', async () => {
    for (let count = 0; count < 12; count += 1) {
      await stale('running', { createdMs: OLD_MS - MINUTE_MS + count });
    }
    const lost = await stale('absent');
    expect([total(await sweep(), 'alive'), started()]).toEqual([5, []]);
    expect([total(await sweep(), 'alive'), started()]).toEqual([5, []]);
    expect([total(await sweep(), 'alive'), started()]).toEqual([2, [lost]]);
    // From the beginning again.
    expect(total(await sweep(), 'alive')).toBe(5);
  });

  test('that was one transaction is not started, but its end is written down', async () => {
    const [done, refused, open] = [sagaOn(0), sagaOn(0), sagaOn(0)];
    for (const [sagaId, state, result] of [
      [done, 'done', '{"id":7}'],
      [refused, 'undone', '{"code":"email-taken","message":"taken"}'],
    ] as const) {
      const values = [sagaId, state, result, sqlTime(OLD_MS)];
      await app.write(1, "INSERT INTO saga_steps VALUES (1, ?, 'local', ?, ?, ?)", values);
    }
    for (const sagaId of [done, refused, open]) {
      await stale('absent', { sagaId, kind: KINDS[1], input: { bucket: 1 } });
    }
    const report = await sweep();
    expect([total(report, 'ended'), total(report, 'revived')]).toEqual([2, 1]);
    expect(started()).toEqual([open]);
    const rows = await app.rows(0, 'SELECT saga_id, status, outcome FROM sagas');
    const told = new Map(rows.map((row) => [row['saga_id'], row]));
    expect(told.get(done)).toMatchObject({
      status: 'completed',
      outcome: '{"kind":"completed","value":{"id":7}}',
    });
    expect(told.get(refused)).toMatchObject({ status: 'compensated' });
    const sealed = await app.rows(1, 'SELECT state FROM saga_steps WHERE saga_id = ?', [open]);
    expect(sealed).toEqual([{ state: 'sealed' }]);
  });

  test('that cannot be started again keeps nobody else from it', async () => {
    const broken = await stale('absent', { kind: KINDS[1], input: { bucket: -1 } });
    const lost = await stale('absent');
    const report = await sweep();
    expect(started()).toEqual([lost]);
    expect([total(report, 'failed'), report.complete]).toEqual([1, false]);
    const failures = app.services.logger.events.filter(
      ({ event }) => event === 'sagas.not_revived',
    );
    expect(failures.map(({ fields }) => fields['sagaId'])).toEqual([broken]);
  });

  test('waits while the runtime does not answer; the rest of the sweep goes on', async () => {
    await stale('absent');
    app.runtime.down = true;
    let settled = 0;
    const settler: OrphanSettler = {
      name: 'rows',
      settle: () => {
        settled += 1;
        return Promise.resolve(NOTHING);
      },
    };
    const report = await sweep({ settlers: [settler] });
    expect(report.complete).toBe(false);
    expect(report.shards[0]?.errors).toEqual([
      expect.objectContaining({ task: 'sagas', code: 'storage-unavailable' }),
    ]);
    expect(settled).toBe(3);
    app.runtime.down = false;
    expect(total(await sweep(), 'revived')).toBe(1);
  });
});

describe('settling what is held for a saga', () => {
  test('asks once and run whether it may still act', async () => {
    const other = sagaOn(1);
    app.runtime.instances.set(other, { name: 'something-else', state: 'running' });
    const late = sagaOn(1);
    app.runtime.instances.set(late, { name: `saga-${KINDS[1]}`, state: 'running' });
    const over = sagaOn(1);
    app.runtime.instances.set(over, { name: `saga-${KINDS[1]}`, state: 'failed' });
    const cases: readonly (readonly [SagaId, SagaLife])[] = [
      [await stale('absent', { status: 'completed' }), 'ended'],
      [await stale('running', { status: 'compensated' }), 'ended'],
      [await stale('running'), 'alive'],
      // The sweep starts it again, and it settles what it holds.
      [await stale('absent'), 'alive'],
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
    await sweep({ settlers: [settler] });
    const expected = cases.map(([, life]) => life);
    expect(answers).toEqual([expected, expected, expected]);
    // Two by the revival; of the four without a row, two are of another kind than the one asked for first, or of none.
    expect(app.runtime.asked).toBe(2 + 2 + 2 + 2 + 1);
  });

  test('gets what is not known as alive', async () => {
    const [away, unasked] = [sagaOn(1), sagaOn(0)];
    await databases.stack.stopShard(1, 'kill');
    app.runtime.down = true;
    const lives: SagaLife[] = [];
    const settler: OrphanSettler = {
      name: 'rows',
      settle: async (_services, { lifeOf, shard }) => {
        if (shard === 0) lives.push(await lifeOf(away), await lifeOf(unasked));
        return NOTHING;
      },
    };
    await sweep({ settlers: [settler] });
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
    const report = await sweep({ settlers: [settler] });
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
    const report = await sweep({
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
    const lost = await stale('absent', { sagaId: sagaOn(2) });
    await databases.stack.stopShard(1, 'kill');
    const settled = new Set<number>();
    const settler: OrphanSettler = {
      name: 'rows',
      settle: (_services, { shard }) => {
        settled.add(shard);
        return Promise.resolve(NOTHING);
      },
    };
    const report = await sweep({ settlers: [settler] });
    expect(report.complete).toBe(false);
    expect(report.shards.map(({ errors }) => errors.map(({ code }) => code))).toEqual([
      [],
      ['shard-unavailable'],
      [],
    ]);
    expect(settled).toEqual(new Set([0, 2]));
    expect(started()).toEqual([lost]);
  });
});

describe('the report', () => {
  test('is shown when there is one', async () => {
    const none = await app.call('ops-sagas-last-sweep');
    expect([none.status, none.json['code']]).toEqual([404, 'not-found']);
    const lost = await stale('absent');
    const swept = await app.call('ops-sagas-sweep', {});
    expect(swept.status).toBe(200);
    expect(started()).toEqual([lost]);
    const last = await app.call('ops-sagas-last-sweep');
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
    const logged = app.services.logger.events.filter(({ event }) => event === 'sagas.swept');
    expect(logged).toHaveLength(1);
  });

  test('that cannot be read stops nothing', async () => {
    await app.services.blobs.write('control', 'sagas/sweep.json', '{"report": 1}');
    const lost = await stale('absent');
    await sweep();
    expect(started()).toEqual([lost]);
    expect((await app.call('ops-sagas-last-sweep')).status).toBe(200);
  });
});
