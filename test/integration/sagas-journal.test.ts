import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DatabaseError } from '../../src/database/database-error.ts';
import type { ShardedDatabase } from '../../src/database/contracts.ts';
import type { SagaOutcome, SagaView } from '../../src/durable/saga/view.ts';
import {
  beginSaga,
  isIdInUse,
  readSaga,
  recordSagaState,
  type NewSaga,
} from '../../src/sagas/journal.ts';
import { sagasDurable } from '../../src/sagas/record.ts';
import { homeBucketOf, sagaIdAt, type SagaId } from '../../src/sagas/saga-id.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import { moveBucketRows, startLedgerWorld, type LedgerWorld } from '../support/ledger-world.ts';

/** The journal: one row per saga, written before anything of it happens, and once for its end. */
const CALLERS = 32;
const HOME = 0 as BucketId;
const NOW_MS = Date.parse('2026-03-01T10:00:00.120Z');

let world: LedgerWorld;
let serial = 0;

beforeAll(async () => {
  world = await startLedgerWorld({ SHARD_POOL_SIZE: '40' });
});
afterAll(() => world?.stop());

const newId = (): SagaId => sagaIdAt(HOME, `journal-${(serial += 1)}`);
const saga = (sagaId: SagaId, more: Partial<NewSaga> = {}): NewSaga => ({
  sagaId,
  kind: 'test-kind',
  input: { a: 1, b: { d: 'ü😀', c: [null, true] } },
  nowMs: NOW_MS,
  ...more,
});
const view = (status: SagaView['status'], attempts = 1): SagaView => ({
  kind: 'test-kind',
  status,
  attention: attempts > 4,
  steps: [{ name: 'one', state: 'running', attempts }],
});
const COMPLETED: SagaOutcome = { kind: 'completed', value: { userId: '7' } };
const COMPENSATED: SagaOutcome = {
  kind: 'compensated',
  error: { code: 'email-taken', message: 'Taken.' },
};

describe('begin', () => {
  test('a new saga is written down and read back', async () => {
    const sagaId = newId();
    expect(await readSaga(world.services, sagaId)).toBeUndefined();
    expect(await beginSaga(world.services, saga(sagaId))).toEqual({ kind: 'new' });
    expect(await readSaga(world.services, sagaId)).toEqual({
      sagaId,
      kind: 'test-kind',
      status: 'running',
      attention: false,
      input: saga(sagaId).input,
      steps: undefined,
      outcome: undefined,
      createdAt: '2026-03-01T10:00:00.120Z',
      updatedAt: '2026-03-01T10:00:00.120Z',
      finishedAt: undefined,
    });
  });

  test('the same again is known, in whatever order its fields come', async () => {
    const sagaId = newId();
    await beginSaga(world.services, saga(sagaId));
    const input = { b: { c: [null, true], d: 'ü😀' }, a: 1 };
    const again = await beginSaga(world.services, saga(sagaId, { input, nowMs: NOW_MS + 5 }));
    expect(again).toMatchObject({
      kind: 'known',
      record: { status: 'running', createdAt: '2026-03-01T10:00:00.120Z' },
    });
  });

  test.each([
    ['another input', { input: { a: 2 } }],
    ['a field less', { input: { a: 1 } }],
    ['an array in another order', { input: { a: 1, b: { d: 'ü😀', c: [true, null] } } }],
    ['another letter case', { input: { a: 1, b: { d: 'Ü😀', c: [null, true] } } }],
    ['another kind', { kind: 'other-kind' }],
  ])('%s under the same id is a conflict', async (_, more) => {
    const sagaId = newId();
    await beginSaga(world.services, saga(sagaId));
    const failed = beginSaga(world.services, saga(sagaId, more));
    await expect(failed).rejects.toMatchObject({ code: 'conflict', retryable: false });
    const conflictCode = 'idempotency-conflict';
    const failure: unknown = await beginSaga(
      world.services,
      saga(sagaId, { ...more, conflictCode }),
    ).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: conflictCode });
    expect(isIdInUse(failure)).toBe(true);
  });

  test('an input of many kilobytes is kept and compared whole', async () => {
    const sagaId = newId();
    const long = (end: string) => ({ text: `${'ä'.repeat(20_000)}${end}` });
    await beginSaga(world.services, saga(sagaId, { input: long('1') }));
    const again = await beginSaga(world.services, saga(sagaId, { input: long('1') }));
    expect(again.kind).toBe('known');
    await expect(
      beginSaga(world.services, saga(sagaId, { input: long('2') })),
    ).rejects.toMatchObject({ code: 'conflict' });
  });

  test('of 32 at once one is the first, and none is tried again', async () => {
    world.retries();
    for (let round = 0; round < 10; round++) {
      const sagaId = newId();
      const begun = await Promise.all(
        Array.from({ length: CALLERS }, (_, index) =>
          beginSaga(world.services, saga(sagaId, { nowMs: NOW_MS + index })),
        ),
      );
      expect(begun.filter(({ kind }) => kind === 'new')).toHaveLength(1);
    }
    const retries = world.retries();
    console.log(`${world.databases.engine}: begin: tried again ${JSON.stringify(retries)}`);
    expect(retries).toEqual({});
  });

  test('a row written by a try whose answer was lost is new', async () => {
    const sagaId = newId();
    let lost = 0;
    const services = {
      ...world.services,
      database: loseAnswers(world.services.database, () => (lost += 1) === 1),
    };
    expect(await beginSaga(services, saga(sagaId))).toEqual({ kind: 'new' });
    expect(lost).toBeGreaterThan(1);
  });

  test('a foreign id is at home in the bucket of its hash, on that bucket’s owner', async () => {
    const sagaId = 'order-7.retry:2' as SagaId;
    await beginSaga(world.services, saga(sagaId));
    const [row] = await world.rows('SELECT bucket FROM sagas WHERE saga_id = ?', [sagaId]);
    expect(row?.['bucket']).toBe(homeBucketOf(sagaId));
    const bucket = homeBucketOf(sagaId);
    const from = world.map.stored.assignment[bucket] as number;
    await moveBucketRows(world, { bucket, to: (from + 1) % 3, tables: ['sagas'] });
    await recordSagaState(world.services, { sagaId, view: view('completed'), outcome: COMPLETED });
    expect(await readSaga(world.services, sagaId)).toMatchObject({ status: 'completed' });
    const rows = await world.rows('SELECT status FROM sagas WHERE saga_id = ?', [sagaId]);
    expect(new Set(rows.map((each) => each['status']))).toEqual(new Set(['completed', 'running']));
  });
});

describe('record', () => {
  test('what it tells replaces what was told, until the end', async () => {
    const sagaId = newId();
    const { services } = world;
    await beginSaga(services, saga(sagaId));
    const record = (status: SagaView['status'], attempts: number, outcome?: SagaOutcome) =>
      recordSagaState(services, { sagaId, view: view(status, attempts), outcome });
    expect(await record('running', 7)).toBe('recorded');
    expect(await readSaga(services, sagaId)).toMatchObject({ attention: true, status: 'running' });
    expect(await record('compensating', 2)).toBe('recorded');
    const compensating = await readSaga(services, sagaId);
    expect(compensating).toMatchObject({
      status: 'compensating',
      attention: false,
      finishedAt: undefined,
      steps: [{ name: 'one', attempts: 2 }],
      input: saga(sagaId).input,
    });
    expect(await record('compensated', 3, COMPENSATED)).toBe('recorded');
    const ended = await readSaga(services, sagaId);
    expect(ended).toMatchObject({ status: 'compensated', outcome: COMPENSATED });
    expect(ended?.finishedAt).toBe(ended?.updatedAt);
    // Late, and repeated: nothing changes any more.
    expect(await record('compensated', 9, COMPENSATED)).toBe('ended-before');
    expect(await record('running', 9)).toBe('ended-before');
    expect(world.logger.events.some(({ event }) => event === 'sagas.ended_twice')).toBe(false);
    expect(await record('completed', 9, COMPLETED)).toBe('ended-before');
    expect(world.logger.events.some(({ event }) => event === 'sagas.ended_twice')).toBe(true);
    expect(await readSaga(services, sagaId)).toEqual(ended);
  });

  test('a saga that was not written down is, with its input', async () => {
    const sagaId = newId();
    const input = { n: '1' };
    const state = { sagaId, view: view('completed'), outcome: COMPLETED, input };
    expect(await recordSagaState(world.services, state)).toBe('recorded');
    expect(await readSaga(world.services, sagaId)).toMatchObject({ input, outcome: COMPLETED });
    expect(await beginSaga(world.services, saga(sagaId, { input }))).toMatchObject({
      kind: 'known',
      record: { status: 'completed' },
    });
  });

  test('two ends at once, many times each: one counts, and none is tried again', async () => {
    world.retries();
    for (let round = 0; round < 10; round++) {
      const sagaId = newId();
      await beginSaga(world.services, saga(sagaId));
      const results = await Promise.all(
        Array.from({ length: CALLERS }, (_, index) =>
          recordSagaState(
            world.services,
            index % 2 === 0
              ? { sagaId, view: view('completed'), outcome: COMPLETED }
              : { sagaId, view: view('compensated'), outcome: COMPENSATED },
          ),
        ),
      );
      expect(results.filter((result) => result === 'recorded')).toHaveLength(1);
      const found = await readSaga(world.services, sagaId);
      expect(found?.outcome?.kind).toBe(found?.status);
    }
    const retries = world.retries();
    console.log(`${world.databases.engine}: record: tried again ${JSON.stringify(retries)}`);
    expect(retries).toEqual({});
  });

  test('the activity settles the operator’s entry it names, once', async () => {
    const sagaId = newId();
    await beginSaga(world.services, saga(sagaId));
    const insert = `INSERT INTO saga_audit
      (bucket, saga_id, entry, verb, reason, request_id, requested_at, state)
      VALUES (?, ?, 77, 'retry', 'why', 'r', NOW(3), 'requested')`;
    await world.services.database.onShard(
      0 as never,
      (shard) => shard.execute(insert, [HOME, sagaId]),
      { deadlineMs: 5_000 },
    );
    const activity = sagasDurable.activities[0]?.bind(world.services);
    const run = { instanceId: sagaId, logger: world.logger };
    const settle = (state: 'applied' | 'refused') =>
      activity?.({ sagaId, view: view('running'), verb: { entry: '77', state } }, run);
    expect(await settle('applied')).toEqual({ ok: true, value: null });
    expect(await settle('refused')).toEqual({ ok: true, value: null });
    const read = 'SELECT state FROM saga_audit WHERE saga_id = ? AND settled_at IS NOT NULL';
    expect(await world.rows(read, [sagaId])).toMatchObject([{ state: 'applied' }]);
  });
});

/** A database whose writes get through and whose answers are lost when `lose` says so. */
function loseAnswers(database: ShardedDatabase, lose: () => boolean): ShardedDatabase {
  return {
    ...database,
    onOwner: (bucket, attempt, options) =>
      database.onOwner(
        bucket,
        (shard, route) =>
          attempt(
            {
              ...shard,
              execute: async (text, values) => {
                const result = await shard.execute(text, values);
                if (lose()) throw new DatabaseError('lost');
                return result;
              },
            },
            route,
          ),
        options,
      ),
  };
}
