import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Shard, SqlValue } from '../../src/database/contracts.ts';
import { DatabaseError } from '../../src/database/database-error.ts';
import { FENCE_BUCKET } from '../../src/database/statements.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import type { Probe } from '../../src/kernel/probe.ts';
import { cancelMove } from '../../src/rebalancing/cancel.ts';
import type { Move } from '../../src/rebalancing/model.ts';
import { CLAIM, RECLAIM } from '../../src/rebalancing/move-statements.ts';
import { prepareMove } from '../../src/rebalancing/prepare.ts';
import { purgeBucket } from '../../src/rebalancing/purge.ts';
import { createMoves, writeOne } from '../support/moves/scenes.ts';
import { createMoveWorld, deadAt, Killed, runMove, SMALL } from '../support/moves/world.ts';
import type { MoverServices, MoveWorld } from '../support/moves/world.ts';
import { createRandom } from '../support/random.ts';

/**
 * Statements of a mover that were sent, lost sight of and tried again, and that a server runs at last when the bucket's
 * story has gone on (I1, I2). The protocol's model knows their conditions; here they are sent as they were to real engines.
 */
const random = createRandom();
const OPTIONS = { ...SMALL, holdMs: 2_500, stallLimitMs: 5_000 };
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});
afterAll(() => world.drop());

interface LostStatement {
  readonly what: 'claim' | 'renewed claim' | 'fence';
  /** Has the server run it; gives the rows that it changed. */
  readonly run: () => Promise<number>;
}

const LOST = new Map<string, LostStatement['what']>([
  [CLAIM, 'claim'],
  [RECLAIM, 'renewed claim'],
  [FENCE_BUCKET, 'fence'],
]);

/** An instance whose first try of each claim, renewed claim and fence is on its way for ever, and seems lost to it. */
function losing(probe?: Probe): { readonly services: MoverServices; lost: LostStatement[] } {
  const services = world.instance(probe);
  const lost: LostStatement[] = [];
  const lose = (shard: Shard, text: string, values: readonly SqlValue[]): void => {
    const what = LOST.get(text);
    if (what === undefined || lost.some((one) => one.what === what)) return;
    const run = (): Promise<number> =>
      world.on(shard.id, async (later) => (await later.execute(text, values)).affectedRows);
    lost.push({ what, run });
    throw new DatabaseError('lost');
  };
  const watched = (shard: Shard): Shard => ({
    ...shard,
    execute: async (text, values) => {
      lose(shard, text, values);
      return await shard.execute(text, values);
    },
    executeWithin: async (limits, text, values) => {
      lose(shard, text, values);
      return await shard.executeWithin(limits, text, values);
    },
  });
  const { database } = services;
  return {
    services: {
      ...services,
      database: {
        ...database,
        onShard: (id, run, options) =>
          database.onShard(id, (shard) => run(watched(shard)), options),
      },
    },
    lost,
  };
}

/** Everything of a bucket, on all shards. */
function everythingOf(bucket: BucketId): Promise<unknown> {
  const all = (table: string): string => `SELECT * FROM ${table} WHERE bucket = ? ORDER BY 1, 2`;
  return Promise.all(
    [0, 1, 2].map((shard) =>
      world.on(shard, (one) =>
        Promise.all(
          ['bucket_ownership', 'bucket_moves', 'users', 'orders'].map((table) =>
            one.query(all(table), [bucket]),
          ),
        ),
      ),
    ),
  );
}

/** Has them run, in the order in which they were sent, and throws when one has changed anything. */
async function expectNothing(bucket: BucketId, late: readonly LostStatement[]): Promise<void> {
  const before = await everythingOf(bucket);
  for (const { what, run } of late) expect([what, await run()]).toEqual([what, 0]);
  expect(await everythingOf(bucket)).toEqual(before);
}

function whatOf(lost: readonly LostStatement[]): readonly string[] {
  return lost.map(({ what }) => what);
}

/** A move that dies before its decision, with everything lost once, and is cancelled by somebody else. */
async function cancelledMove(): Promise<{ move: Move; lost: LostStatement[] }> {
  const move = await freshMove(300);
  const { services, lost } = losing(deadAt('rebalancing.beforeGiveAway'));
  await expect(runMove(services, move, OPTIONS)).rejects.toThrow(Killed);
  expect(whatOf(lost)).toEqual(['claim', 'fence', 'renewed claim']);
  expect(await cancelMove(world.services, move, OPTIONS)).toMatchObject({ kind: 'cancelled' });
  return { move, lost };
}

describe('a claim or fence that a server runs late', () => {
  it('changes nothing after the move, nor after the bucket has come back at a newer epoch', async () => {
    const move = await freshMove(300);
    const { bucket } = move;
    const { services, lost } = losing();
    expect((await runMove(services, move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    expect(whatOf(lost)).toEqual(['claim', 'fence', 'renewed claim']);
    await expectNothing(bucket, lost);
    const old = { bucket, shard: move.from };
    expect(await purgeBucket(world.services, old, OPTIONS)).toMatchObject({ kind: 'purged' });
    const back: Move = { ...move, id: `${move.id}-back`, from: move.to, to: move.from };
    expect((await runMove(world.services, back, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    expect((await world.ownership(bucket))[0]).toMatchObject({ state: 'owned', epoch: 3 });
    await expectNothing(bucket, lost);
  });

  it('after the decision costs the holder its claim at most: the move is finished', async () => {
    const move = await freshMove(300);
    const { services, lost } = losing(deadAt('rebalancing.afterGiveAway'));
    await expect(runMove(services, move, OPTIONS)).rejects.toThrow(Killed);
    const [claim, ...others] = lost;
    await expectNothing(move.bucket, others);
    expect([claim?.what, await claim?.run()]).toEqual(['claim', 1]);
    expect((await world.ownership(move.bucket)).map(({ state, epoch }) => [state, epoch])).toEqual([
      ['gone', 2],
      ['receiving', 1],
      ['absent', 0],
    ]);
    expect((await runMove(world.services, move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    expect((await writeOne(world.instance(), move, random)).shard).toBe(1);
  });

  it('after a cancellation claims nothing, and fences for its time and for nobody', async () => {
    const { move, lost } = await cancelledMove();
    await expectNothing(
      move.bucket,
      lost.filter(({ what }) => what !== 'fence'),
    );
    // The source owns the bucket at the epoch of before: the one thing that can be as it was.
    expect(await lost.find(({ what }) => what === 'fence')?.run()).toBe(1);
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'fenced', epoch: 1 });
    expect((await writeOne(world.instance(), move, random)).shard).toBe(0);
    const [source, target] = await world.ownership(move.bucket);
    expect(source).toMatchObject({ state: 'owned', epoch: 1, token: null });
    expect(target).toMatchObject({ state: 'gone', movedTo: 0 });
  });

  it('takes nothing over from another move of the bucket, and does not keep it from its end', async () => {
    const { move, lost } = await cancelledMove();
    const again: Move = { ...move, id: `${move.id}-again` };
    expect(await prepareMove(world.services, again)).toMatchObject({ kind: 'prepared' });
    await expectNothing(
      move.bucket,
      lost.filter(({ what }) => what !== 'fence'),
    );
    expect(await lost.find(({ what }) => what === 'fence')?.run()).toBe(1);
    expect((await runMove(world.services, again, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    await expectNothing(move.bucket, lost);
  });
});
