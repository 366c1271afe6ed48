import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ShardId } from '../../src/kernel/ids.ts';
import type { ProbePoint } from '../../src/kernel/probe.ts';
import { advanceMove, readStanding } from '../../src/rebalancing/advance.ts';
import { cancelMove } from '../../src/rebalancing/cancel.ts';
import type { Move } from '../../src/rebalancing/model.ts';
import { prepareMove } from '../../src/rebalancing/prepare.ts';
import { purgeBucket } from '../../src/rebalancing/purge.ts';
import { contentOf } from '../support/moves/rows.ts';
import { createMoves, dieAt } from '../support/moves/scenes.ts';
import { createMoveWorld, deadAt, heldAt, Killed, runMove, SMALL } from '../support/moves/world.ts';
import type { MoveWorld } from '../support/moves/world.ts';
import { startWriters } from '../support/moves/writers.ts';
import { createRandom } from '../support/random.ts';

/** The ways out of a move: cancelled before its decision, purged after it; and what keeps a move from beginning. */
const random = createRandom();
const OPTIONS = { ...SMALL, holdMs: 600, stallLimitMs: 5_000 };
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});

afterAll(() => world.drop());

const content = (shard: number, move: Move): Promise<readonly string[]> =>
  world.on(shard, (on) => contentOf(on, move.bucket));

async function expectUntouched(move: Move, before: readonly string[]): Promise<void> {
  expect(await content(1, move)).toEqual([]);
  expect(await content(0, move)).toEqual(before);
  expect(await world.ownership(move.bucket)).toMatchObject([
    { state: 'owned', epoch: 1 },
    { state: 'gone', epoch: 1, movedTo: 0, token: null, fencedForMs: null },
    { state: 'absent' },
  ]);
  const records = await world.on(1, (shard) =>
    shard.query('SELECT move_id FROM bucket_moves WHERE bucket = ?', [move.bucket]),
  );
  expect(records).toEqual([]);
}

describe('cancelling', () => {
  const points: readonly (readonly [ProbePoint, number])[] = [
    ['rebalancing.afterPrepare', 1],
    ['rebalancing.afterChunk', 2],
    ['rebalancing.afterPass', 1],
    ['rebalancing.beforeFence', 1],
    ['rebalancing.afterFence', 1],
    ['rebalancing.beforeGiveAway', 1],
  ];
  it.each(points)(
    'a move that died at %s (time %d) leaves the target empty',
    async (point, nth) => {
      const move = await freshMove();
      const before = await content(0, move);
      await dieAt(world, move, OPTIONS, point, nth);
      expect(await cancelMove(world.services, move, OPTIONS)).toMatchObject({ kind: 'cancelled' });
      await expectUntouched(move, before);
      expect(await cancelMove(world.services, move, OPTIONS)).toEqual({
        kind: 'nothing-to-cancel',
      });
    },
  );

  it.each<ProbePoint>([
    'rebalancing.afterCancelMark',
    'rebalancing.afterCancelLift',
    'rebalancing.afterCancelChunk',
  ])('goes on after it died at %s', async (point) => {
    const move = await freshMove();
    const before = await content(0, move);
    await dieAt(world, move, OPTIONS, 'rebalancing.beforeGiveAway');
    const dying = world.instance(deadAt(point));
    await expect(cancelMove(dying, move, OPTIONS)).rejects.toThrow(Killed);
    const steps = await runMove(world.services, move, OPTIONS);
    expect(steps.at(-1)).toMatchObject({ step: 'cancel', outcome: { kind: 'cancelled' } });
    await expectUntouched(move, before);
  });

  it('of a way back leaves a shard that had the bucket before pointing at its owner', async () => {
    const move = await freshMove();
    await runMove(world.services, move, OPTIONS);
    const { bucket } = move;
    expect(await purgeBucket(world.services, { bucket, shard: move.from }, OPTIONS)).toMatchObject({
      kind: 'purged',
    });
    const back: Move = { ...move, id: `${move.id}-back`, from: move.to, to: move.from };
    await dieAt(world, back, OPTIONS, 'rebalancing.afterChunk');
    expect(await cancelMove(world.services, back, OPTIONS)).toMatchObject({ kind: 'cancelled' });
    expect((await world.ownership(bucket)).slice(0, 2)).toMatchObject([
      { state: 'gone', epoch: 2, movedTo: 1, token: null },
      { state: 'owned', epoch: 2 },
    ]);
    // Callers with a map of before the first move are sent on, and a third shard finds an owner behind the two.
    const onward: Move = { ...move, id: `${move.id}-on`, from: move.to, to: 2 as ShardId };
    expect((await runMove(world.services, onward, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    for (const shard of [move.from, move.to]) {
      expect(await purgeBucket(world.services, { bucket, shard }, OPTIONS)).toMatchObject({
        kind: 'purged',
      });
    }
  });

  it('wins over a mover that is about to decide', async () => {
    const move = await freshMove();
    const before = await content(0, move);
    const held = heldAt('rebalancing.beforeGiveAway');
    const mover = world.instance(held.probe);
    const moving = runMove(mover, move, { ...OPTIONS, holdMs: 10_000 });
    moving.catch(() => undefined);
    await held.reached;
    expect(await cancelMove(world.services, move, OPTIONS)).toMatchObject({ kind: 'cancelled' });
    await expectUntouched(move, before);
    held.letGo();
    // It finds its fence lifted, looks again, and begins anew: whoever cancels tells the mover.
    expect((await moving).map(({ step }) => step)).toContain('prepare');
  });

  it('is too late after the decision, and does not stop the move from ending', async () => {
    const move = await freshMove();
    const before = await content(0, move);
    await dieAt(world, move, OPTIONS, 'rebalancing.afterGiveAway');
    expect(await cancelMove(world.services, move, OPTIONS)).toEqual({ kind: 'too-late' });
    expect((await runMove(world.services, move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    expect(await content(1, move)).toEqual(before);
  });
});

describe('purging', () => {
  it('waits for an owner, deletes the old copy, and lets the bucket come back', async () => {
    const move = await freshMove(2_300);
    const old = { bucket: move.bucket, shard: move.from };
    const before = await content(0, move);
    expect(await purgeBucket(world.services, old, OPTIONS)).toEqual({ kind: 'not-gone' });
    await dieAt(world, move, OPTIONS, 'rebalancing.afterGiveAway');
    expect(await purgeBucket(world.services, old, OPTIONS)).toEqual({ kind: 'owner-unverified' });
    await runMove(world.services, move, OPTIONS);
    const back: Move = { ...move, id: `${move.id}-back`, from: move.to, to: move.from };
    expect(await prepareMove(world.services, back)).toMatchObject({
      kind: 'obstacle',
      obstacle: { kind: 'rows-at-target', oldCopy: true },
    });
    const dying = world.instance(deadAt('rebalancing.afterPurgeChunk', 2));
    await expect(purgeBucket(dying, old, OPTIONS)).rejects.toThrow(Killed);
    expect((await purgeBucket(world.services, old, { sliceMs: 0 })).kind).toBe('more');
    expect((await purgeBucket(world.services, old, OPTIONS)).kind).toBe('purged');
    expect(await content(0, move)).toEqual([]);
    expect(await purgeBucket(world.services, old, OPTIONS)).toEqual({ kind: 'purged', rows: 0 });
    // There and back, twice, while somebody writes.
    const writers = startWriters(world.instance().database, move.bucket, { count: 4, random });
    let epoch = 2;
    for (const [id, from, to] of [
      ['b', 1, 0],
      ['c', 0, 2],
      ['d', 2, 1],
    ] as const) {
      const next: Move = {
        ...move,
        id: `${move.id}-${id}`,
        from: from as ShardId,
        to: to as ShardId,
      };
      expect((await runMove(world.services, next, OPTIONS)).at(-1)).toEqual({ step: 'done' });
      epoch += 1;
      expect((await world.ownership(move.bucket))[to]).toMatchObject({ state: 'owned', epoch });
      const left = { bucket: move.bucket, shard: from as ShardId };
      expect((await purgeBucket(world.services, left, OPTIONS)).kind).toBe('purged');
    }
    await writers.stop();
    const plain = (rows: readonly string[]): readonly string[] =>
      rows.filter((row) => before.includes(row));
    expect(plain(await content(1, move))).toEqual(before);
    expect(await content(2, move)).toEqual([]);
  });
});

describe('what keeps a move from beginning', () => {
  it('is told', async () => {
    const move = await freshMove(10);
    const elsewhere = { ...move, from: 2 as ShardId };
    expect(await prepareMove(world.services, elsewhere)).toEqual({
      kind: 'obstacle',
      obstacle: { kind: 'source-not-owner' },
    });
    await world.on(1, (shard) =>
      shard.execute(
        "INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at) VALUES (?, 5, 5, 5, '2026-01-01 00:00:00.000')",
        [move.bucket],
      ),
    );
    expect(await prepareMove(world.services, move)).toEqual({
      kind: 'obstacle',
      obstacle: { kind: 'rows-at-target', tables: ['orders'], oldCopy: false },
    });
    await world.on(1, (shard) =>
      shard.execute('DELETE FROM orders WHERE bucket = ?', [move.bucket]),
    );
    const prepared = await prepareMove(world.services, move);
    expect(prepared).toMatchObject({ kind: 'prepared', epoch: 1, resumed: false });
    expect(await prepareMove(world.services, move)).toMatchObject({
      kind: 'prepared',
      resumed: true,
    });
    const another = { ...move, id: 'another' };
    expect(await prepareMove(world.services, another)).toEqual({
      kind: 'obstacle',
      obstacle: { kind: 'target-busy' },
    });
    expect(await advanceMove(world.services, another, OPTIONS)).toEqual({
      step: 'stuck',
      reason: 'target-busy',
    });
    expect((await readStanding(world.services, move)).step).toEqual({ kind: 'copy' });
  });

  it('includes a target that does not answer', async () => {
    const move = await freshMove(10);
    await world.databases.stack.stopShard(1);
    try {
      expect(await prepareMove(world.services, move)).toMatchObject({
        kind: 'obstacle',
        obstacle: { kind: 'target-unusable' },
      });
    } finally {
      await world.databases.recover();
    }
  });
});
