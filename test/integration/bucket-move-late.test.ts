import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import type { Probe } from '../../src/kernel/probe.ts';
import { copyBucket } from '../../src/rebalancing/copy.ts';
import { diffPass } from '../../src/rebalancing/pass.ts';
import { prepareMove } from '../../src/rebalancing/prepare.ts';
import { switchBucket } from '../../src/rebalancing/switch.ts';
import { createMoves, writeOne } from '../support/moves/scenes.ts';
import { createMoveWorld, heldAt, runMove, SMALL } from '../support/moves/world.ts';
import type { MoveWorld } from '../support/moves/world.ts';
import { createRandom } from '../support/random.ts';

/** Deliveries of a move that come late, or twice at once (I1, I2): they change nothing that others have taken over. */
const random = createRandom();
const OPTIONS = { ...SMALL, holdMs: 700, stallLimitMs: 5_000 };
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});

afterAll(() => world.drop());

describe('a mover that comes late', () => {
  it('can write nothing over what later deliveries and users have written', async () => {
    const move = await freshMove(300);
    const held = heldAt('rebalancing.beforeChunk');
    const late = runMove(world.instance(held.probe), move, OPTIONS);
    late.catch(() => undefined);
    await held.reached;
    // What it has read and not written yet: one row that is deleted and one that is changed before the move ends.
    const { bucket } = move;
    await world.on(0, (shard) =>
      shard.execute('DELETE FROM orders WHERE bucket = ? AND order_id = 1', [bucket]),
    );
    expect((await runMove(world.instance(), move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
    await world.on(1, (shard) =>
      shard.execute('UPDATE orders SET amount_cents = 5 WHERE bucket = ? AND order_id = 2', [
        bucket,
      ]),
    );
    held.letGo();
    await expect(late).rejects.toMatchObject({ code: 'conflict' });
    const rows = await world.on(1, (shard) =>
      shard.query(
        'SELECT order_id, amount_cents FROM orders WHERE bucket = ? AND order_id < 4 ORDER BY order_id',
        [bucket],
      ),
    );
    expect(rows.map((row) => [row['order_id'], row['amount_cents']])).toEqual([
      ['2', 5],
      ['3', 9],
    ]);
  });

  it('can bring no row back that was deleted since it read it, also while the bucket is still being received', async () => {
    const move = await freshMove(300);
    const { bucket } = move;
    const early = heldAt('rebalancing.beforeChunk');
    const late = runMove(world.instance(early.probe), move, OPTIONS);
    late.catch(() => undefined);
    await early.reached;
    await world.on(0, (shard) =>
      shard.execute('DELETE FROM orders WHERE bucket = ? AND order_id = 1', [bucket]),
    );
    const verified = heldAt('rebalancing.beforeGiveAway');
    const options = { ...OPTIONS, holdMs: 5_000 };
    const moving = runMove(world.instance(verified.probe), move, options);
    await verified.reached;
    early.letGo();
    await expect(late).rejects.toMatchObject({ code: 'conflict' });
    verified.letGo();
    expect((await moving).at(-1)).toEqual({ step: 'done' });
    const rows = await world.on(1, (shard) =>
      shard.query('SELECT MIN(order_id) AS id, COUNT(*) AS n FROM orders WHERE bucket = ?', [
        bucket,
      ]),
    );
    expect(rows).toEqual([{ id: '2', n: '299' }]);
  });

  it('verifies under a token that none of its own earlier writes has', async () => {
    const move = await freshMove(10);
    const tokens: (string | null)[] = [];
    const watched: Probe = {
      reach: async (point) => {
        if (point !== 'rebalancing.afterPass' && point !== 'rebalancing.beforeGiveAway') return;
        tokens.push((await world.ownership(move.bucket))[1]?.token ?? null);
      },
    };
    await runMove(world.instance(watched), move, OPTIONS);
    expect(tokens).toHaveLength(2);
    expect(new Set(tokens).size).toBe(2);
    expect(tokens).not.toContain(null);
  });

  it('does not switch when rows change under the fence, which no write of the service can do', async () => {
    const move = await freshMove(300);
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, OPTIONS);
    const past = (orderId: number): Promise<unknown> =>
      world.on(0, (shard) =>
        shard.execute('UPDATE orders SET amount_cents = 1 WHERE bucket = ? AND order_id = ?', [
          move.bucket,
          orderId,
        ]),
      );
    const rogue: Probe = {
      reach: async (point) => {
        if (point === 'rebalancing.afterFence') await past(10);
        if (point === 'rebalancing.beforeRepair') await past(20);
      },
    };
    const outcome = await switchBucket(world.instance(rogue), move, { ...OPTIONS, holdMs: 5_000 });
    expect(outcome).toMatchObject({
      kind: 'lifted',
      reason: 'unsettled',
      figures: { rowsDiffering: 1, chunksUnsettled: 1 },
    });
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'owned', epoch: 1 });
  });

  it('loses its fence when another delivery claimed the move', async () => {
    const move = await freshMove(300);
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, OPTIONS);
    const held = heldAt('rebalancing.afterFence');
    const first = switchBucket(world.instance(held.probe), move, { ...OPTIONS, holdMs: 5_000 });
    await held.reached;
    await diffPass(world.instance(), move);
    held.letGo();
    expect(await first).toMatchObject({ kind: 'lifted', reason: 'lost' });
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'owned', epoch: 1 });
  });

  it('lifts its fence when the time is over', async () => {
    const move = await freshMove(300);
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, OPTIONS);
    const slow: Probe = {
      reach: (point) => (point === 'rebalancing.afterFence' ? systemClock.sleep(300) : undefined),
    };
    const outcome = await switchBucket(world.instance(slow), move, { ...OPTIONS, holdMs: 200 });
    expect(outcome).toMatchObject({ kind: 'lifted', reason: 'overrun' });
    expect((await world.ownership(move.bucket))[0]).toMatchObject({ state: 'owned', epoch: 1 });
    expect((await runMove(world.services, move, OPTIONS)).at(-1)).toEqual({ step: 'done' });
  });

  it('cannot decide when a writer lifted its fence', async () => {
    const move = await freshMove(300);
    await prepareMove(world.services, move);
    await copyBucket(world.services, move, OPTIONS);
    const held = heldAt('rebalancing.beforeGiveAway');
    const late = switchBucket(world.instance(held.probe), move, { ...OPTIONS, holdMs: 2_500 });
    await held.reached;
    const { shard } = await writeOne(world.instance(), move, random);
    expect(shard).toBe(0);
    held.letGo();
    expect(await late).toMatchObject({ kind: 'lifted' });
    expect((await world.ownership(move.bucket)).map(({ state }) => state)).toEqual([
      'owned',
      'receiving',
      'absent',
    ]);
  });
});
