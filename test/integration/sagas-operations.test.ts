import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { recordSagaState } from '../../src/sagas/journal.ts';
import { homeBucketOf, type SagaId } from '../../src/sagas/saga-id.ts';
import {
  KINDS,
  MINUTE_MS,
  NOW_MS,
  sagaOn,
  sqlTime,
  type SagaOperations,
} from '../support/saga-operations.ts';
import { startSagaWorld, type SagaWorld } from '../support/saga-world.ts';

let world: SagaWorld;
let app: SagaOperations;

beforeAll(async () => {
  world = await startSagaWorld({ REQUEST_DEADLINE_MS: '4000' });
  ({ app } = world);
});
beforeEach(() => app.reset());
afterEach(() => world.databases.recover());
afterAll(() => world.stop());

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
