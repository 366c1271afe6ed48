import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import type { Probe } from '../../src/kernel/probe.ts';
import { cancelMove } from '../../src/rebalancing/cancel.ts';
import type { Move } from '../../src/rebalancing/model.ts';
import { purgeBucket } from '../../src/rebalancing/purge.ts';
import { createMoves } from '../support/moves/scenes.ts';
import { createMoveWorld, Killed, runMove, SMALL } from '../support/moves/world.ts';
import type { MoveWorld } from '../support/moves/world.ts';
import { startWriters, writtenRows } from '../support/moves/writers.ts';
import { createRandom } from '../support/random.ts';

/**
 * One bucket goes round and round over three shards while it is written to: several movers at once, each dying or pausing
 * at instants that the seed decides, cancellations, purges, and at last one mover that lives (I1, I2).
 * TEST_LONG=1 goes on for longer.
 */
const ROUNDS = process.env['TEST_LONG'] === '1' ? 60 : 8;
const random = createRandom();
const OPTIONS = { ...SMALL, chunkRows: 100, holdMs: 400, stallLimitMs: 5_000 };
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});

afterAll(() => world.drop());

const figures = { killed: 0, overtaken: 0, cancelled: 0 };

/** Dies for good after some probe points, and pauses at some of them. */
function mortal(): Probe {
  let left = 1 + random.below(60);
  return {
    reach: async () => {
      left -= 1;
      if (left <= 0) throw new Killed('killed by the storm');
      if (random.below(8) === 0) await systemClock.sleep(random.below(120));
    },
  };
}

/** Comes back when another mover has overtaken it, until it dies or the move is done. */
async function mortalMover(move: Move): Promise<void> {
  const services = { ...world.services, probe: mortal() };
  for (;;) {
    await systemClock.sleep(random.below(200));
    try {
      if (random.below(12) > 0) {
        await runMove(services, move, OPTIONS);
        return;
      }
      const { kind } = await cancelMove(services, move, OPTIONS);
      if (kind === 'cancelled') figures.cancelled += 1;
    } catch (error) {
      if (error instanceof Killed) {
        figures.killed += 1;
        return;
      }
      if (!(error instanceof AppError) || error.code !== 'conflict') throw error;
      figures.overtaken += 1;
    }
  }
}

/** Ends the move; a cancellation that was left half done comes first, and the move then begins anew. */
async function livingMover(move: Move): Promise<void> {
  const first = (await runMove(world.services, move, OPTIONS)).at(-1);
  const last =
    first?.step === 'cancel' ? (await runMove(world.services, move, OPTIONS)).at(-1) : first;
  expect(last, `seed ${random.seed}`).toEqual({ step: 'done' });
}

it('a bucket that is moved through a storm of deaths keeps all rows and one owner', async () => {
  const { bucket } = await freshMove(500);
  const writers = startWriters(world.instance().database, bucket, {
    count: 8,
    random,
    deadlineMs: 20_000,
  });
  for (let round = 0; round < ROUNDS; round++) {
    const from = (round % 3) as ShardId;
    const to = ((round + 1) % 3) as ShardId;
    const move: Move = { id: `storm-${round}`, bucket, from, to };
    await Promise.all([mortalMover(move), mortalMover(move), mortalMover(move)]);
    await livingMover(move);
    const states = await world.ownership(bucket);
    expect(states[to], `seed ${random.seed}`).toMatchObject({ state: 'owned', epoch: round + 2 });
    expect(states.filter(({ state }) => state === 'owned')).toHaveLength(1);
    const purged = await purgeBucket(world.services, { bucket, shard: from }, OPTIONS);
    expect(purged.kind).toBe('purged');
  }
  const { writes, longestMs, byShard } = await writers.stop();
  const found = await world.on(ROUNDS % 3, (shard) => writtenRows(shard, bucket));
  expect(found, `seed ${random.seed}`).toEqual(writers.expected);
  const plain = await world.on(ROUNDS % 3, (shard) =>
    shard.query('SELECT COUNT(*) AS n FROM orders WHERE bucket = ? AND order_id <= 500', [bucket]),
  );
  expect(plain).toEqual([{ n: '500' }]);
  expect(Object.keys(byShard)).toHaveLength(3);
  console.log(
    `storm, ${world.databases.engine}: ${ROUNDS} moves, ${figures.killed} movers killed, ${figures.overtaken} overtaken, ` +
      `${figures.cancelled} cancellations, ${writes} writes acknowledged, 0 lost, 0 doubled, longest write ${longestMs} ms (seed ${random.seed})`,
  );
}, 600_000);
