import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PermanentError } from '../../src/kernel/errors.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import { isEnded } from '../../src/sagas/model.ts';
import { sagaIdAt, sagaIdOfKey, type SagaId } from '../../src/sagas/saga-id.ts';
import type { Submitted } from '../../src/sagas/submit.ts';
import { createRandom } from '../support/random.ts';
import {
  createDyingProcess,
  startSubmitWorld,
  type Pair,
  type SubmitWorld,
} from '../support/submit-world.ts';

/**
 * Beginning a saga (I2, I3): once for its id and wholly or not at all, whatever dies on the way and however many ask
 * at once. SEED repeats the choices of a run (not the interleaving).
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
      const outcome = (await world.record(sagaId))?.outcome;
      const toldOfEnd =
        outcome?.kind === 'compensated'
          ? { code: outcome.error.code, message: outcome.error.message }
          : { kind: 'completed', replayed: true };
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
      onSession: (...call) => database.onSession(...call),
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
