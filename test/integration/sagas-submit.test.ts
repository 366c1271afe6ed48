import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PermanentError, RetryableError } from '../../src/kernel/errors.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import { sagasRoutes } from '../../src/sagas/http.ts';
import { isEnded } from '../../src/sagas/model.ts';
import { sagaIdAt, sagaIdOfKey, type SagaId } from '../../src/sagas/saga-id.ts';
import type { Submitted } from '../../src/sagas/submit.ts';
import { moveBucketRows } from '../support/ledger-world.ts';
import { createRandom } from '../support/random.ts';
import { createRouteCaller } from '../support/route-caller.ts';
import {
  createDyingProcess,
  startSubmitWorld,
  type Pair,
  type SubmitWorld,
} from '../support/submit-world.ts';
import { withBucketOn } from '../support/test-database.ts';

/**
 * Beginning a saga (I2, I3): once for its id and wholly or not at all, locally or by its orchestration, whatever dies
 * and however many ask at once.
 */
const random = createRandom();
/** Buckets 0, 3 are on shard 0, bucket 1 on shard 1. */
const TOGETHER = { first: 0, second: 3, note: 'together' };
const APART = { first: 0, second: 1, note: 'apart' };
const CALLERS = 32;

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

const codeOf = (error: unknown): unknown => (error as { readonly code?: unknown }).code;

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

describe('a process that dies', () => {
  type Way = readonly [name: string, input: typeof TOGETHER, identified: boolean];
  const ways: readonly Way[] = [
    ['together', TOGETHER, true],
    ['apart', APART, true],
    ['together, refused', TOGETHER, true],
    ['apart, refused', APART, true],
    ['together', TOGETHER, false],
    ['apart', APART, false],
  ];
  const isRefusal = (name: string): boolean => name.endsWith('refused');

  /** Lets a process die at each of its uses of the outside; gives the sagas it left, and whether it got through. */
  const killEverywhere = async (
    [name, input, identified]: Way,
    check: (sagaId: SagaId) => Promise<void>,
  ): Promise<number> => {
    let deaths = 0;
    for (let call = 1; ; call++) {
      let survived = 0;
      for (const when of ['before', 'after'] as const) {
        const sagaId = identified ? foreignId() : ownId();
        if (isRefusal(name)) world.refuse = taken;
        const dying = createDyingProcess(world, { call, when });
        const { services, client } = dying;
        const ended = await world
          .submit({ sagaId, input, identified, services, client, waitMs: 40, recorded: true })
          .catch((error: unknown) => error);
        if (dying.isDead()) deaths += 1;
        else survived += 1;
        // A death in the last write may go unnoticed: the answer is there.
        if (ended instanceof Error && !dying.isDead() && !isRefusal(name)) throw ended;
        await check(sagaId);
      }
      if (survived === 2) return deaths;
      // Waiting reads as often as it likes.
      if (call >= 12) return deaths;
    }
  };

  test.each(ways.filter(([, , identified]) => identified))(
    '%s: a redelivery brings it to its one end',
    async (...way) => {
      const deaths = await killEverywhere(way, async (sagaId) => {
        const again = await world
          .submit({ sagaId, input: way[1] })
          .catch((error: unknown) => error);
        await world.sagas.settled();
        expect(await expectSound(sagaId)).toBe(isRefusal(way[0]) ? 'compensated' : 'completed');
        expect(again).toMatchObject(
          isRefusal(way[0]) ? { code: 'email-taken' } : { kind: 'completed' },
        );
      });
      console.log(`${world.databases.engine}: ${way[0]}: ${deaths} deaths, then redelivered`);
      expect(deaths).toBeGreaterThanOrEqual(6);
    },
  );

  test.each(ways)('%s: the sweep brings it to an end', async (...way) => {
    const ends = { completed: 0, compensated: 0, nothing: 0 };
    const deaths = await killEverywhere(way, async (sagaId) => {
      await world.sagas.settled();
      await world.sweep(sagaId);
      const isWritten = (await world.record(sagaId)) !== undefined;
      // Of a fresh id without a row only the dead process knew; its effect is whole or not there.
      const nets = isWritten || !way[2] ? [0, 2] : [0];
      expect(nets).toContain(await world.net(sagaId));
      if (!isWritten) {
        ends.nothing += 1;
        return;
      }
      const end = await expectSound(sagaId);
      expect(isRefusal(way[0]) ? ['compensated'] : ['compensated', 'completed']).toContain(end);
      ends[end] += 1;
      // And who comes after the sweep is told the same.
      const late = await world.submit({ sagaId, input: way[1] }).catch((error: unknown) => error);
      const replay = { kind: 'completed', replayed: true };
      const toldOfEnd = end === 'completed' ? replay : { retryable: false };
      expect(late).toMatchObject(toldOfEnd);
      expect(await expectSound(sagaId)).toBe(end);
    });
    console.log(
      `${world.databases.engine}: ${way[0]}, ${way[2] ? 'known' : 'fresh'} id: ${deaths} deaths, then swept: ${JSON.stringify(ends)}`,
    );
    expect(deaths).toBeGreaterThanOrEqual(2);
  });
});

describe('many at once', () => {
  /** Some of the callers hold a map that has the buckets apart. */
  const submitAll = async (
    sagaId: SagaId,
    input: typeof TOGETHER,
    misled: (index: number) => boolean,
  ): Promise<PromiseSettledResult<Submitted<Pair>>[]> => {
    const { database } = world.services;
    const wrong: typeof database = {
      onOwner: (...call) => database.onOwner(...call),
      onShard: (...call) => database.onShard(...call),
      route: async (bucket) => {
        const route = await database.route(bucket);
        return bucket === input.second
          ? { ...route, shard: ((route.shard + 1) % 3) as typeof route.shard }
          : route;
      },
      shardIds: () => database.shardIds(),
      inspect: (shard) => database.inspect(shard),
      prewarm: () => database.prewarm(),
      close: () => Promise.resolve(),
    };
    return await Promise.allSettled(
      Array.from({ length: CALLERS }, (_, index) => {
        const services = misled(index) ? { ...world.services, database: wrong } : world.services;
        return world.submit({ sagaId, input, services });
      }),
    );
  };

  const tell = (name: string): void => {
    const retries = JSON.stringify(world.retries());
    console.log(`${world.databases.engine}: ${name}: tried again ${retries} (seed ${random.seed})`);
  };

  test('with one map: one does it, the others are told', async () => {
    world.retries();
    for (let round = 0; round < 6; round++) {
      const sagaId = foreignId();
      const results = await submitAll(sagaId, TOGETHER, () => false);
      const values = results.map((result) => (result.status === 'fulfilled' ? result.value : null));
      expect(values.filter((value) => value?.kind === 'completed')).toHaveLength(CALLERS);
      expect(values.filter((value) => value?.kind === 'completed' && !value.replayed)).toHaveLength(
        1,
      );
      expect(await expectSound(sagaId)).toBe('completed');
    }
    tell('one map');
  });

  test('with two maps: locally or by saga, but once', async () => {
    world.retries();
    const ways = { local: 0, saga: 0 };
    for (let round = 0; round < 12; round++) {
      const sagaId = foreignId();
      const results = await submitAll(sagaId, TOGETHER, () => random.below(2) === 0);
      const values = results.map((result) => (result.status === 'fulfilled' ? result.value : null));
      const completed = values.filter((value) => value?.kind === 'completed');
      expect(completed).toHaveLength(CALLERS);
      expect(new Set(completed.map((value) => value?.local)).size).toBe(1);
      ways[completed[0]?.local === true ? 'local' : 'saga'] += 1;
      expect(completed.filter((value) => value?.replayed === false)).toHaveLength(1);
      expect(await expectSound(sagaId)).toBe('completed');
    }
    tell(`two maps, ${JSON.stringify(ways)}`);
  });

  test('refused to some: all are told one end, and it is true', async () => {
    world.retries();
    const ends = { completed: 0, compensated: 0 };
    for (let round = 0; round < 16; round++) {
      const sagaId = foreignId();
      const share = random.next();
      world.refuse = () => {
        if (random.next() < share) taken();
      };
      const misled = random.next();
      const results = await submitAll(sagaId, TOGETHER, () => random.next() < misled);
      await world.sagas.settled();
      const end = await expectSound(sagaId);
      ends[end] += 1;
      const told = results.map((result) =>
        result.status === 'fulfilled' ? result.value.kind : codeOf(result.reason),
      );
      expect(new Set(told)).toEqual(new Set([end === 'completed' ? 'completed' : 'email-taken']));
    }
    tell(`refused to some, ${JSON.stringify(ends)}`);
  });
});
