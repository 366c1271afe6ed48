import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ShardId } from '../../src/kernel/ids.ts';
import { listSagas } from '../../src/sagas/list-statements.ts';
import { homeBucketOf } from '../../src/sagas/saga-id.ts';
import { createRandom } from '../support/random.ts';
import {
  KINDS,
  MINUTE_MS,
  NOW_MS,
  sagaOn,
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

const list = (query = '') => app.call('ops-sagas-list', { path: `/api/ops/sagas${query}` });

async function idsOf(query = ''): Promise<readonly string[]> {
  const reply = await list(query);
  expect(reply.status).toBe(200);
  return (reply.json['sagas'] as { sagaId: string }[]).map(({ sagaId }) => sagaId);
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
    await world.databases.stack.stopShard(1, 'kill');
    const reply = await list();
    expect([reply.status, reply.json['code']]).toEqual([503, 'shard-unavailable']);
  });
});
