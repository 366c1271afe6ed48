import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PermanentError, RetryableError } from '../../src/kernel/errors.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import { sagasRoutes } from '../../src/sagas/http.ts';
import { isEnded } from '../../src/sagas/model.ts';
import { sagaIdAt, sagaIdOfKey, type SagaId } from '../../src/sagas/saga-id.ts';
import { moveBucketRows } from '../support/ledger-world.ts';
import { createRouteCaller } from '../support/route-caller.ts';
import { createDyingProcess, startSubmitWorld, type SubmitWorld } from '../support/submit-world.ts';
import { withBucketOn } from '../support/test-database.ts';

/**
 * Beginning a saga (I2, I3): once for its id and wholly or not at all, locally or by its orchestration.
 * `sagas-submit-crashes` has what happens when processes die and many ask at once.
 */
/** Buckets 0, 3 are on shard 0, bucket 1 on shard 1. */
const TOGETHER = { first: 0, second: 3, note: 'together' };
const APART = { first: 0, second: 1, note: 'apart' };

let world: SubmitWorld;
let serial = 0;

beforeAll(async () => {
  world = await startSubmitWorld({ SHARD_POOL_SIZE: '40' });
});
afterEach(() => {
  world.refuse = () => undefined;
  world.map.held = world.map.stored;
});
afterAll(() => world?.stop());

const ownId = (): SagaId => sagaIdAt(0 as BucketId, `submit-${(serial += 1)}`);
const foreignId = (): SagaId => sagaIdOfKey('submit', String((serial += 1)));
const taken = (): never => {
  throw new PermanentError('email-taken', 'Taken.');
};

/** Journal and effects agree about an identified saga that has ended. */
const expectSound = async (sagaId: SagaId): Promise<'completed' | 'compensated'> => {
  const record = await world.record(sagaId);
  if (record === undefined || !isEnded(record)) throw new Error(`${sagaId} has not ended`);
  expect(await world.net(sagaId)).toBe(record.outcome.kind === 'completed' ? 2 : 0);
  expect(record.status).toBe(record.outcome.kind);
  return record.outcome.kind;
};

describe('one request', () => {
  test('on one shard it is one transaction, and no orchestration is started', async () => {
    const sagaId = ownId();
    const value = { note: 'together', of: sagaId };
    const first = await world.submit({ sagaId, input: TOGETHER });
    expect(first).toEqual({ kind: 'completed', value, replayed: false, local: true });
    expect(await world.submit({ sagaId, input: TOGETHER })).toEqual({ ...first, replayed: true });
    expect((await world.sagas.settled()).has(sagaId)).toBe(false);
    expect(await world.record(sagaId)).toMatchObject({
      status: 'completed',
      steps: [{ name: 'local', state: 'done', attempts: 1 }],
      outcome: { kind: 'completed', value },
    });
    await expectSound(sagaId);
  });

  test('on two shards it is a saga, whose answer is waited for', async () => {
    const sagaId = foreignId();
    const first = await world.submit({ sagaId, input: APART });
    const value = { note: 'apart', of: sagaId };
    expect(first).toEqual({ kind: 'completed', value, replayed: false, local: false });
    expect(await world.submit({ sagaId, input: APART })).toEqual({ ...first, replayed: true });
    expect(await world.record(sagaId)).toMatchObject({
      steps: [
        { name: 'take', state: 'done' },
        { name: 'keep', state: 'done' },
      ],
    });
    await expectSound(sagaId);
  });

  test('a fresh id leaves a row only when it is asked for, or when it goes by saga', async () => {
    const [quiet, told, apart] = [ownId(), ownId(), ownId()];
    const fresh = { identified: false } as const;
    await world.submit({ ...fresh, sagaId: quiet, input: TOGETHER });
    await world.submit({ ...fresh, sagaId: told, input: TOGETHER, recorded: true });
    await world.submit({ ...fresh, sagaId: apart, input: APART });
    expect(await world.record(quiet)).toBeUndefined();
    expect(await world.record(told)).toMatchObject({ status: 'completed', input: TOGETHER });
    expect(await world.record(apart)).toMatchObject({ status: 'completed' });
    expect([await world.net(quiet), await world.net(told), await world.net(apart)]).toEqual([
      2, 2, 2,
    ]);
  });

  test.each([
    ['locally', TOGETHER],
    ['by saga', APART],
  ])('refused %s it is refused again, for good', async (_, input) => {
    const sagaId = foreignId();
    world.refuse = taken;
    const refusal = { code: 'email-taken', message: 'Taken.', retryable: false };
    await expect(world.submit({ sagaId, input })).rejects.toMatchObject(refusal);
    world.refuse = () => undefined;
    await expect(world.submit({ sagaId, input })).rejects.toMatchObject(refusal);
    expect(await expectSound(sagaId)).toBe('compensated');
  });

  test('a fresh id that is refused leaves nothing', async () => {
    const sagaId = ownId();
    world.refuse = taken;
    const refused = world.submit({ sagaId, input: TOGETHER, identified: false, recorded: true });
    await expect(refused).rejects.toMatchObject({ code: 'email-taken' });
    expect(await world.record(sagaId)).toBeUndefined();
    const rows = await world.rows('SELECT 1 FROM saga_steps WHERE saga_id = ?', [sagaId]);
    expect(rows).toEqual([]);
  });

  test('a saga that gave up for want of a shard is told as retryable', async () => {
    const sagaId = foreignId();
    world.refuse = () => {
      throw new PermanentError('shard-unavailable', 'Away.');
    };
    await expect(world.submit({ sagaId, input: APART })).rejects.toMatchObject({
      code: 'shard-unavailable',
      retryable: true,
    });
  });

  test('an id that was used for another request is a conflict', async () => {
    const sagaId = foreignId();
    await world.submit({ sagaId, input: TOGETHER });
    const other = { ...TOGETHER, note: 'other' };
    await expect(world.submit({ sagaId, input: other })).rejects.toMatchObject({
      code: 'conflict',
    });
    const conflictCode = 'idempotency-conflict';
    await expect(world.submit({ sagaId, input: other, conflictCode })).rejects.toMatchObject({
      code: conflictCode,
    });
  });

  test('a runtime that has something else under the id ends the saga', async () => {
    const sagaId = foreignId();
    const client = {
      ...world.sagas.client,
      ensureStarted: () => Promise.reject(new PermanentError('conflict', 'In use.')),
    };
    await expect(world.submit({ sagaId, input: APART, client })).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(await expectSound(sagaId)).toBe('compensated');
  });

  test('time is up before the end: running, and later the answer', async () => {
    const sagaId = foreignId();
    world.sagas.isHeld = true;
    const startedMs = performance.now();
    expect(await world.submit({ sagaId, input: APART, waitMs: 300 })).toEqual({ kind: 'running' });
    expect(performance.now() - startedMs).toBeGreaterThan(280);
    expect(await world.submit({ sagaId, input: APART, waitMs: 0 })).toEqual({ kind: 'running' });
    const waiting = world.submit({ sagaId, input: APART });
    world.sagas.isHeld = false;
    world.sagas.resume();
    expect(await waiting).toMatchObject({ kind: 'completed', replayed: true, local: false });
    await expectSound(sagaId);
  });

  test('a journal that is away while it waits does not fail it', async () => {
    const sagaId = foreignId();
    let reads = 0;
    const { database } = world.services;
    const flaky: typeof database = {
      onOwner: (bucket, attempt, options) => {
        reads += 1;
        // Begun, closed; then the waiting begins.
        if (reads >= 3 && reads <= 6) return Promise.reject(RetryableError.shardUnavailable(0));
        return database.onOwner(bucket, attempt, options);
      },
      onShard: (...call) => database.onShard(...call),
      onSession: (...call) => database.onSession(...call),
      route: (bucket) => database.route(bucket),
      shardIds: () => database.shardIds(),
      inspect: (shard) => database.inspect(shard),
      prewarm: () => database.prewarm(),
      close: () => Promise.resolve(),
    };
    const services = { ...world.services, database: flaky };
    expect(await world.submit({ sagaId, input: APART, services })).toMatchObject({
      kind: 'completed',
    });
    expect(reads).toBeGreaterThan(6);
  });
});

test('GET /api/sagas/{sagaId} shows what is written down', async () => {
  const client = { ...world.sagas.client, status: () => Promise.resolve(undefined) };
  const durable = { input: { type: 'test', name: 'test' }, clientOf: () => client };
  const call = createRouteCaller(world.services, sagasRoutes([world.module]), durable);
  const get = (sagaId: string) => call('sagas-get', { params: { sagaId } });
  const [done, running, refused] = [foreignId(), foreignId(), foreignId()];
  await world.submit({ sagaId: done, input: APART });
  expect((await get(done)).json).toMatchObject({
    sagaId: done,
    kind: 'pair',
    status: 'completed',
    attention: false,
    steps: [
      { name: 'take', state: 'done', attempts: 1 },
      { name: 'keep', state: 'done', attempts: 1 },
    ],
    outcome: { value: { note: 'apart', of: done } },
  });
  const silent = { ...client, ensureStarted: () => Promise.resolve('exists' as const) };
  await world.submit({ sagaId: running, input: APART, waitMs: 0, client: silent });
  expect((await get(running)).json).toMatchObject({
    status: 'running',
    steps: [
      { name: 'take', state: 'pending', attempts: 0 },
      { name: 'keep', state: 'pending', attempts: 0 },
    ],
    finishedAt: null,
  });
  world.refuse = taken;
  await expect(world.submit({ sagaId: refused, input: TOGETHER })).rejects.toThrow('Taken.');
  const error = { code: 'email-taken', message: 'Taken.' };
  expect((await get(refused)).json).toMatchObject({
    status: 'compensated',
    steps: [{ name: 'local', state: 'failed', attempts: 1, lastError: error }],
    outcome: { error },
  });
  expect(await get('nothing')).toMatchObject({ status: 404, json: { code: 'not-found' } });
  expect((await get('no%20id')).status).toBe(400);
});

describe('buckets that move', () => {
  test('a map that has together what is apart: by saga, and once', async () => {
    const input = { first: 6, second: 9, note: 'moved' };
    await moveBucketRows(world, { bucket: 9, to: 1, tables: ['saga_steps', 'sagas'] });
    const [fresh, known] = [sagaIdAt(6 as BucketId, 'moved-1'), foreignId()];
    expect(await world.submit({ sagaId: fresh, input, identified: false })).toMatchObject({
      kind: 'completed',
      local: false,
    });
    expect(await world.submit({ sagaId: known, input })).toMatchObject({ local: false });
    expect([await world.net(fresh), await world.net(known)]).toEqual([2, 2]);
  });

  test('done locally, then moved apart: the answer is given again', async () => {
    const input = { first: 12, second: 15, note: 'later' };
    const sagaId = foreignId();
    // Written down by nobody: the process died in between.
    const dying = createDyingProcess(world, { call: 2, when: 'after' });
    await expect(world.submit({ sagaId, input, ...dying })).rejects.toThrow('killed');
    await moveBucketRows(world, { bucket: 12, to: 2, tables: ['saga_steps', 'sagas'] });
    world.map.stored = withBucketOn(world.map.stored, 12, 2);
    world.map.held = world.map.stored;
    expect(await world.submit({ sagaId, input })).toMatchObject({
      kind: 'completed',
      value: { note: 'later', of: sagaId },
      replayed: true,
      local: true,
    });
    expect(await world.net(sagaId)).toBe(2);
  });
});
