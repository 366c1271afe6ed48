import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Attempt, OwnershipState } from '../../../src/database/contracts.ts';
import type { Standstill } from '../../../src/database/mend-bucket.ts';
import { afterRefusal, callOwner } from '../../../src/database/owner-call.ts';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import type { AppError } from '../../../src/kernel/errors.ts';
import type { BucketId, ShardId } from '../../../src/kernel/ids.ts';
import type { BucketMap } from '../../../src/sharding/bucket-map.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import type { FakeClock } from '../../support/fake-clock.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';
import { createTestMap, withBucketOn } from '../../support/test-database.ts';

const BUCKET = 6 as BucketId; // On shard 0 of 3 by the first map.
const SHARDS = ['a', 'b', 'c'];

interface Row {
  readonly state: OwnershipState | 'absent';
  readonly movedTo: number | null;
}

/** Pauses pass at once; a time limit (a sleep that can be ended) only when what it limits does not come by itself. */
function createPatientClock(): FakeClock {
  const clock = createFakeClock({ autoSleep: true });
  return {
    ...clock,
    sleep: async (ms, signal) => {
      if (signal !== undefined) await settle();
      if (signal?.aborted !== true) await clock.sleep(ms);
    },
  };
}

/** Shards in memory: what each says of the bucket, and which cannot be reached. */
class World {
  readonly clock = createPatientClock();
  readonly map = createTestMap(SHARDS);
  readonly logger = createRecordingLogger();
  readonly rows: Row[] = [
    { state: 'owned', movedTo: null },
    { state: 'absent', movedTo: null },
    { state: 'absent', movedTo: null },
  ];
  readonly down = new Set<number>();
  readonly asked: number[] = [];
  /** Called before each attempt: the world may change. */
  before: (attempts: number) => void = () => undefined;
  readonly standstills: Standstill[] = [];
  /** What mending brings. */
  mend: (at: Standstill) => boolean = (at) => {
    this.standstills.push(at);
    return false;
  };
  readonly #startedAtMs = this.clock.monotonicMs();

  passedMs(): number {
    return this.clock.monotonicMs() - this.#startedAtMs;
  }

  call(deadlineMs = 10_000): Promise<number> {
    return callOwner<number>({
      bucket: BUCKET,
      bucketMap: this.map,
      isConfigured: (shard) => shard < SHARDS.length,
      attempt: (route) => this.#attempt(route.shard),
      mend: (at) => Promise.resolve(this.mend(at)),
      clock: this.clock,
      random: () => 0.5,
      logger: this.logger,
      deadlineAtMs: this.clock.monotonicMs() + deadlineMs,
    });
  }

  #attempt(shard: number): Promise<Attempt<number>> {
    this.asked.push(shard);
    this.before(this.asked.length);
    if (this.down.has(shard)) return Promise.reject(RetryableError.shardUnavailable(shard));
    const row = this.rows[shard] as Row;
    return Promise.resolve(
      row.state === 'owned'
        ? { kind: 'answered', value: shard }
        : { kind: 'refused', state: row.state, movedTo: row.movedTo as ShardId | null },
    );
  }
}

const moved = (map: BucketMap, to: number): BucketMap => withBucketOn(map, BUCKET, to);

describe('callOwner', () => {
  it('asks the shard of the map', async () => {
    const world = new World();
    expect(await world.call()).toBe(0);
    expect(world.asked).toEqual([0]);
  });

  it('follows a chain of redirects without a pause', async () => {
    const world = new World();
    world.rows[0] = { state: 'gone', movedTo: 1 };
    world.rows[1] = { state: 'gone', movedTo: 2 };
    world.rows[2] = { state: 'owned', movedTo: null };
    expect(await world.call()).toBe(2);
    expect(world.asked).toEqual([0, 1, 2]);
    expect(world.passedMs()).toBe(0);
    expect(world.map.refreshes).toBe(2);
  });

  it('waits at the same shard while it is fenced, without asking for a map', async () => {
    const world = new World();
    world.rows[0] = { state: 'fenced', movedTo: null };
    world.before = (attempts) => {
      if (attempts === 6) world.rows[0] = { state: 'owned', movedTo: null };
    };
    expect(await world.call()).toBe(0);
    expect(world.asked).toEqual([0, 0, 0, 0, 0, 0]);
    expect(world.passedMs()).toBeLessThan(500);
    expect(world.map.refreshes).toBe(0);
  });

  it.each(['absent', 'gone', 'receiving'] as const)(
    'looks the owner up when it is %s',
    async (state) => {
      const world = new World();
      world.rows[0] = { state, movedTo: null };
      world.rows[1] = { state: 'owned', movedTo: null };
      world.map.stored = moved(world.map.held, 1);
      expect(await world.call()).toBe(1);
      expect(world.asked).toEqual([0, 1]);
    },
  );

  it('has a fence looked at when it holds up for longer than a switch takes, and goes on at once when it was lifted', async () => {
    const world = new World();
    world.rows[0] = { state: 'fenced', movedTo: null };
    world.mend = (at) => {
      world.standstills.push(at);
      if (world.standstills.length < 3) return false;
      world.rows[0] = { state: 'owned', movedTo: null };
      return true;
    };
    expect(await world.call()).toBe(0);
    expect(world.asked).toHaveLength(6);
    expect(world.standstills).toHaveLength(3);
    expect(world.standstills[0]).toMatchObject({ shard: 0, refusal: { state: 'fenced' } });
  });

  it('says which shard sent it to one that still receives the bucket', async () => {
    const world = new World();
    world.rows[0] = { state: 'gone', movedTo: 1 };
    world.rows[1] = { state: 'receiving', movedTo: null };
    world.mend = (at) => {
      world.standstills.push(at);
      world.rows[1] = { state: 'owned', movedTo: null };
      return true;
    };
    expect(await world.call()).toBe(1);
    expect(world.standstills).toMatchObject([
      { bucket: BUCKET, shard: 1, sentBy: 0, refusal: { state: 'receiving' } },
    ]);
    expect(world.asked).toEqual([0, 1, 0, 1, 1]);
  });

  it('waits as before when mending fails', async () => {
    const world = new World();
    world.rows[0] = { state: 'fenced', movedTo: null };
    world.mend = () => {
      throw RetryableError.shardUnavailable(0);
    };
    await expect(world.call(2_000)).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(world.passedMs()).toBeGreaterThan(1_000);
  });

  it('asks the new owner when the old one is down', async () => {
    const world = new World();
    world.down.add(0);
    world.rows[1] = { state: 'owned', movedTo: null };
    world.map.stored = moved(world.map.held, 1);
    expect(await world.call()).toBe(1);
    expect(world.asked).toEqual([0, 1]);
  });

  it('passes on that the owner is down when the map says nothing new', async () => {
    const world = new World();
    world.down.add(0);
    await expect(world.call()).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(world.asked).toEqual([0]);
  });

  it('goes on with the map it has when no newer one can be read', async () => {
    const world = new World();
    world.rows[0] = { state: 'absent', movedTo: null };
    world.map.refresh = () => Promise.reject(RetryableError.storageUnavailable());
    world.before = (attempts) => {
      if (attempts === 3) world.rows[0] = { state: 'owned', movedTo: null };
    };
    expect(await world.call()).toBe(0);
    expect(world.logger.events.map((event) => event.event)).toContain(
      'database.map_refresh_failed',
    );
  });

  it('tells by the deadline that there is no map', async () => {
    const world = new World();
    world.map.current = () => new Promise(() => undefined);
    await expect(world.call(500)).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect(world.passedMs()).toBe(500);
  });

  it('refuses a shard that SHARDS does not list', async () => {
    const world = new World();
    world.rows[0] = { state: 'gone', movedTo: 3 };
    await expect(world.call()).rejects.toMatchObject({
      code: 'shard-unavailable',
      details: { bucketId: BUCKET },
    });
    expect(world.asked).toEqual([0]);
  });

  it('passes permanent errors on', async () => {
    const world = new World();
    const error = new PermanentError('order-conflict', 'no');
    world.before = () => {
      throw error;
    };
    await expect(world.call()).rejects.toBe(error);
  });

  it('finds the owner of a bucket that settles in time, and ends by the deadline otherwise', async () => {
    const state = fc.constantFrom<Row['state']>('fenced', 'receiving', 'gone', 'absent');
    const row = fc.record({ state, movedTo: fc.option(fc.integer({ min: 0, max: 2 })) });
    const world = fc.array(fc.tuple(row, row, row), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(
        world,
        fc.integer({ min: 0, max: 2 }),
        fc.boolean(),
        async (history, owner, settles) => {
          const subject = new World();
          subject.map.stored = moved(subject.map.held, owner);
          subject.before = (attempts) => {
            const rows = history[attempts - 1];
            if (rows !== undefined) subject.rows.splice(0, 3, ...rows);
            else if (settles) {
              const gone: Row = { state: 'gone', movedTo: owner };
              subject.rows.splice(0, 3, gone, gone, gone);
              subject.rows[owner] = { state: 'owned', movedTo: null };
            } else subject.rows.splice(0, 3, ...Array.from({ length: 3 }, () => UNSETTLED));
          };
          const answer = await subject.call().catch((error: unknown) => (error as AppError).code);
          expect(answer).toBe(settles ? owner : 'shard-unavailable');
          expect(subject.passedMs()).toBeLessThanOrEqual(10_000);
          expect(subject.asked.length).toBeLessThan(1_000);
        },
      ),
    );
  });
});

const UNSETTLED: Row = { state: 'gone', movedTo: null };

describe('afterRefusal', () => {
  const here = 0 as ShardId;
  const there = 1 as ShardId;

  it('ends a run of redirects with a look at the map', () => {
    const refusal = { kind: 'refused', state: 'gone', movedTo: there } as const;
    expect(afterRefusal(refusal, here, 0)).toEqual({ kind: 'redirect', shard: there });
    expect(afterRefusal(refusal, here, 8)).toEqual({ kind: 'look-up' });
  });

  it('does not redirect to itself', () => {
    const refusal = { kind: 'refused', state: 'gone', movedTo: here } as const;
    expect(afterRefusal(refusal, here, 0)).toEqual({ kind: 'look-up' });
  });
});
