import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ShardId } from '../../src/kernel/ids.ts';
import { listSagas } from '../../src/sagas/list-statements.ts';
import { recordSagaState } from '../../src/sagas/journal.ts';
import { homeBucketOf, type SagaId } from '../../src/sagas/saga-id.ts';
import { createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import { createRandom } from '../support/random.ts';
import {
  KINDS,
  MINUTE_MS,
  NOW_MS,
  sagaOn,
  sqlTime,
  startSagaOperations,
  type SagaOperations,
} from '../support/saga-operations.ts';

let databases: TestDatabases;
let app: SagaOperations;

beforeAll(async () => {
  databases = await createTestDatabases();
  app = await startSagaOperations(databases, { REQUEST_DEADLINE_MS: '4000' });
});
beforeEach(() => app.reset());
afterEach(() => databases.recover());
afterAll(async () => {
  await app.close();
  await databases.drop();
});

const list = (query = '') => app.call('ops-sagas-list', { path: `/api/ops/sagas${query}` });

async function idsOf(query = ''): Promise<readonly string[]> {
  const reply = await list(query);
  expect(reply.status).toBe(200);
  return (reply.json['sagas'] as { sagaId: string }[]).map(({ sagaId }) => sagaId);
}

const order = (sagaId: string, verb: string, body: unknown = { reason: 'it hangs' }) =>
  app.call('ops-sagas-order', { params: { sagaId, verb }, json: body });

const audit = async (sagaId: string) => {
  const reply = await app.call('ops-sagas-audit', { params: { sagaId } });
  return reply.json['entries'] as Record<string, unknown>[];
};

function runs(sagaId: SagaId, view?: 'at the pivot'): void {
  app.runtime.instances.set(sagaId, {
    name: `saga-${KINDS[0]}`,
    state: 'running',
    ...(view !== undefined && {
      view: {
        kind: KINDS[0],
        status: 'running',
        attention: true,
        steps: [{ name: 'act', state: 'running', attempts: 7 }],
      },
    }),
  });
}

describe('the list of sagas', () => {
  test('is newest first over all shards, and its pages have each saga once', async () => {
    const random = createRandom();
    console.log(`sagas-operations: seed ${random.seed}`);
    const all: { sagaId: string; createdMs: number }[] = [];
    for (let count = 0; count < 60; count += 1) {
      const sagaId = sagaOn(random.below(3));
      // Several at the same instant: the id decides.
      const createdMs = NOW_MS - random.below(12) * MINUTE_MS;
      const status = (['running', 'compensating', 'completed', 'compensated'] as const)[
        random.below(4)
      ];
      await app.addSaga({ sagaId, createdMs, kind: KINDS[random.below(2)], status });
      all.push({ sagaId, createdMs });
    }
    const expected = all
      .toSorted((a, b) => b.createdMs - a.createdMs || (a.sagaId < b.sagaId ? 1 : -1))
      .map(({ sagaId }) => sagaId);
    expect(await idsOf()).toEqual(expected.slice(0, 50));
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await list(`?limit=7${cursor === '' ? '' : `&cursor=${cursor}`}`);
      const sagas = page.json['sagas'] as { sagaId: string }[];
      expect(sagas.length).toBeLessThanOrEqual(7);
      seen.push(...sagas.map(({ sagaId }) => sagaId));
      cursor = page.json['nextCursor'] as string | null;
    }
    expect(seen).toEqual(expected);
  });

  test('tells how each stands, with the last error', async () => {
    const [stuck, undone, done] = [sagaOn(0), sagaOn(1), sagaOn(2)];
    const error = { code: 'shard-unavailable', message: 'away' };
    await app.addSaga({
      sagaId: stuck,
      attention: true,
      steps: [
        { name: 'one', state: 'done', attempts: 2, lastError: { code: 'old', message: 'old' } },
        { name: 'act', state: 'running', attempts: 9, lastError: error },
      ],
      createdMs: NOW_MS - 1,
      updatedMs: NOW_MS,
    });
    const refused = { code: 'email-taken', message: 'taken' };
    const outcome = { kind: 'compensated', error: refused };
    await app.addSaga({ sagaId: undone, status: 'compensated', outcome, createdMs: NOW_MS - 2 });
    const completed = { kind: 'completed', value: 1 };
    const steps = [{ name: 'act', state: 'done', attempts: 3, lastError: error }];
    await app.addSaga({
      sagaId: done,
      status: 'completed',
      outcome: completed,
      steps,
      createdMs: NOW_MS - 3,
    });
    const { json } = await list();
    expect(json['nextCursor']).toBeNull();
    expect(json['sagas']).toEqual([
      {
        sagaId: stuck,
        kind: KINDS[0],
        status: 'running',
        attention: true,
        startedAt: '2026-06-01T11:59:59.999Z',
        updatedAt: '2026-06-01T12:00:00.000Z',
        finishedAt: null,
        lastError: error,
      },
      expect.objectContaining({ sagaId: undone, lastError: refused, attention: false }),
      expect.not.objectContaining({ lastError: expect.anything() as unknown }),
    ]);
  });

  test('is filtered by status, kind and attention', async () => {
    const [a, b, c, d] = [sagaOn(0), sagaOn(1), sagaOn(2), sagaOn(0)];
    await app.addSaga({ sagaId: a, attention: true });
    await app.addSaga({ sagaId: b, kind: KINDS[1], status: 'compensating' });
    await app.addSaga({ sagaId: c, kind: KINDS[1], status: 'completed', attention: true });
    await app.addSaga({ sagaId: d });
    expect(new Set(await idsOf('?status=running'))).toEqual(new Set([a, d]));
    expect(new Set(await idsOf(`?kind=${KINDS[1]}`))).toEqual(new Set([b, c]));
    expect(await idsOf('?attention=true')).toEqual([a]);
    expect(await idsOf('?attention=true&status=completed')).toEqual([]);
    expect(new Set(await idsOf('?attention=false'))).toEqual(new Set([b, d]));
    for (const wrong of [
      '?status=lost',
      '?kind=other',
      '?attention=1',
      '?limit=201',
      '?cursor=x',
    ]) {
      expect((await list(wrong)).status).toBe(400);
    }
  });

  test('shows what the shards own: no old copies, and a fenced bucket once', async () => {
    const [moved, fenced] = [sagaOn(0), sagaOn(1)];
    await app.addSaga({ sagaId: moved, shard: 0 });
    await app.addSaga({ sagaId: moved, shard: 2, status: 'compensating' });
    await app.own(0, homeBucketOf(moved), 'gone');
    await app.own(2, homeBucketOf(moved), 'owned');
    await app.addSaga({ sagaId: fenced, shard: 1 });
    await app.addSaga({ sagaId: fenced, shard: 2 });
    await app.own(1, homeBucketOf(fenced), 'fenced');
    await app.own(2, homeBucketOf(fenced), 'owned');
    expect((await idsOf()).toSorted()).toEqual([moved, fenced].toSorted());
    expect(await idsOf('?status=compensating')).toEqual([moved]);
  });

  test('reads no more rows than may be shown, however many there are', async () => {
    for (let count = 0; count < 300; count += 1) {
      await app.addSaga({ sagaId: sagaOn(0), status: 'completed', createdMs: NOW_MS - count });
    }
    const reads = await app.services.database.onShard(
      0 as ShardId,
      (shard) =>
        shard.transaction(async (tx) => {
          const read = async (): Promise<number> => {
            const status = "SHOW SESSION STATUS LIKE 'Handler_read%'";
            const rows = await tx.query(status, []);
            return rows.reduce((sum, row) => sum + Number(row['Value']), 0);
          };
          const before = await read();
          const text = listSagas(2, { after: true, attention: false });
          const time = '2026-06-01 12:00:00.000';
          const values = ['completed', 'running'].flatMap((status) => [
            status,
            KINDS[0],
            time,
            time,
            'zzz',
            5,
          ]);
          expect(await tx.query(text, [...values, 5])).toHaveLength(5);
          return (await read()) - before;
        }),
      { deadlineMs: 10_000 },
    );
    expect(reads).toBeLessThan(60);
  });

  test('cannot be given while a shard is away', async () => {
    await databases.stack.stopShard(1, 'kill');
    const reply = await list();
    expect([reply.status, reply.json['code']]).toEqual([503, 'shard-unavailable']);
  });
});

describe('an operator’s word', () => {
  test('is written down, then passed on', async () => {
    const sagaId = sagaOn(1);
    await app.addSaga({ sagaId });
    runs(sagaId, 'at the pivot');
    let written: unknown;
    app.runtime.onRaise = async () => {
      written = await app.rows(1, 'SELECT state, verb FROM saga_audit');
    };
    const reply = await app.call('ops-sagas-order', {
      params: { sagaId, verb: 'retry' },
      json: { reason: 'the shard is back ✓', by: 'Ada' },
      headers: { 'x-request-id': 'req-1' },
    });
    expect([reply.status, reply.json]).toEqual([
      202,
      {
        sagaId,
        entry: expect.stringMatching(/^\d+$/) as string,
        verb: 'retry',
        state: 'requested',
      },
    ]);
    expect(written).toEqual([{ state: 'requested', verb: 'retry' }]);
    const { entry } = reply.json;
    expect(app.runtime.raised).toEqual([
      { instanceId: sagaId, name: 'operator', data: { verb: 'retry', entry } },
    ]);
    expect(app.runtime.started).toEqual([]);
    const asked = {
      entry,
      verb: 'retry',
      step: 'act',
      reason: 'the shard is back ✓',
      requestedBy: 'Ada',
      requestId: 'req-1',
      requestedAt: '2026-06-01T12:00:00.000Z',
    };
    expect(await audit(sagaId)).toEqual([{ ...asked, state: 'requested', settledAt: null }]);
    const view = { kind: KINDS[0], status: 'running' as const, attention: false, steps: [] };
    const verb = { entry: String(entry), state: 'applied' } as const;
    await recordSagaState(app.services, { sagaId, view, verb });
    const settled = { ...asked, state: 'applied', settledAt: '2026-06-01T12:00:00.000Z' };
    expect(await audit(sagaId)).toEqual([settled]);
  });

  test('starts a saga again whose orchestration is lost, to settle it', async () => {
    for (const [verb, state] of [
      ['retry', undefined],
      ['compensate', 'failed'],
      ['retry', 'completed'],
    ] as const) {
      await app.reset();
      const sagaId = sagaOn(2);
      await app.addSaga({ sagaId, input: { amount: 7 } });
      if (state !== undefined) {
        app.runtime.instances.set(sagaId, { name: `saga-${KINDS[0]}`, state });
      }
      const reply = await order(sagaId, verb);
      expect([reply.status, reply.json['state']]).toEqual([202, 'requested']);
      const input = { mode: 'recover', input: { amount: 7 } };
      const started = [{ instanceId: sagaId, name: `saga-${KINDS[0]}`, input }];
      expect(app.runtime.started).toEqual(started);
      expect(app.runtime.raised).toHaveLength(1);
    }
  });

  test('to skip needs an orchestration, and is not taken twice', async () => {
    const sagaId = sagaOn(0);
    await app.addSaga({ sagaId });
    const lost = await order(sagaId, 'skip');
    expect([lost.status, lost.json['code']]).toEqual([409, 'conflict']);
    expect(await audit(sagaId)).toEqual([]);
    runs(sagaId);
    expect((await order(sagaId, 'skip')).status).toBe(202);
    const twice = await order(sagaId, 'skip');
    expect([twice.status, twice.json['code']]).toEqual([409, 'conflict']);
    expect(app.runtime.raised).toHaveLength(1);
    expect((await order(sagaId, 'retry')).status).toBe(202);
    expect((await audit(sagaId)).map(({ verb }) => verb)).toEqual(['retry', 'skip']);
    // One that got lost on its way does not stand in the way for ever.
    await app.write(0, 'UPDATE saga_audit SET requested_at = ?', [sqlTime(NOW_MS - MINUTE_MS)]);
    expect((await order(sagaId, 'skip')).status).toBe(202);
  });

  test('to skip names the step: the one it is at, or the one that was said', async () => {
    const [at, meant] = [sagaOn(0), sagaOn(1)];
    for (const sagaId of [at, meant]) {
      await app.addSaga({ sagaId });
      runs(sagaId, 'at the pivot');
    }
    expect((await order(at, 'skip')).status).toBe(202);
    expect((await order(meant, 'skip', { reason: 'r', step: 'other' })).status).toBe(202);
    expect(app.runtime.raised.map(({ data }) => data)).toEqual([
      { verb: 'skip', entry: expect.any(String) as string, step: 'act' },
      { verb: 'skip', entry: expect.any(String) as string, step: 'other' },
    ]);
    expect(await audit(meant)).toMatchObject([{ verb: 'skip', step: 'other' }]);
    expect((await order(at, 'retry', { reason: 'r', step: 'act' })).status).toBe(400);
  });

  test('comes too late for a saga that has ended', async () => {
    const sagaId = sagaOn(0);
    const outcome = { kind: 'completed', value: 1 };
    await app.addSaga({ sagaId, status: 'completed', outcome });
    const reply = await order(sagaId, 'retry');
    expect([reply.status, reply.json['code']]).toEqual([409, 'conflict']);
    expect(reply.json['detail']).toContain('ended as completed at 2026-06-01T12:00:00.000Z');
    expect(await audit(sagaId)).toEqual([]);
  });

  test('is refused for no saga, no verb and no reason', async () => {
    const sagaId = sagaOn(0);
    expect((await order(sagaId, 'retry')).status).toBe(404);
    const none = await app.call('ops-sagas-audit', { params: { sagaId } });
    expect([none.status, none.json['code']]).toEqual([404, 'not-found']);
    await app.addSaga({ sagaId });
    runs(sagaId);
    expect((await order(sagaId, 'forget')).status).toBe(400);
    const reasons = ['', '   ', 'a\u0000b', 'line\nline', 'x'.repeat(1_001), '\ud800', undefined];
    for (const reason of reasons)
      expect((await order(sagaId, 'retry', { reason })).status).toBe(400);
    for (const by of ['', 'x'.repeat(201)]) {
      expect((await order(sagaId, 'retry', { reason: 'r', by })).status).toBe(400);
    }
    expect(app.runtime.raised).toEqual([]);
    const longest = await order(sagaId, 'retry', { reason: '💡'.repeat(500), by: 'é'.repeat(200) });
    expect(longest.status).toBe(202);
  });

  test('is written where the saga’s bucket is by now', async () => {
    const sagaId = sagaOn(0);
    const bucket = homeBucketOf(sagaId);
    await app.addSaga({ sagaId, shard: 2 });
    await app.write(
      0,
      "UPDATE bucket_ownership SET state = 'gone', moved_to = 2 WHERE bucket = ?",
      [bucket],
    );
    await app.own(2, bucket, 'owned');
    runs(sagaId);
    expect((await order(sagaId, 'retry')).status).toBe(202);
    expect(await app.rows(0, 'SELECT entry FROM saga_audit')).toEqual([]);
    expect(await app.rows(2, 'SELECT verb FROM saga_audit')).toEqual([{ verb: 'retry' }]);
    expect(await audit(sagaId)).toHaveLength(1);
  });

  test('is not written while the runtime does not answer', async () => {
    const sagaId = sagaOn(0);
    await app.addSaga({ sagaId });
    app.runtime.down = true;
    const reply = await order(sagaId, 'retry');
    expect([reply.status, reply.json['code']]).toEqual([503, 'storage-unavailable']);
    expect(await audit(sagaId)).toEqual([]);
  });
});
