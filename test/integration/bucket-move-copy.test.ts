import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AppError } from '../../src/kernel/errors.ts';
import { copyBucket } from '../../src/rebalancing/copy.ts';
import type { Move } from '../../src/rebalancing/model.ts';
import { prepareMove } from '../../src/rebalancing/prepare.ts';
import type { MoveProgress } from '../../src/rebalancing/progress.ts';
import { openSession } from '../../src/rebalancing/session.ts';
import { ThrottledError } from '../../src/rebalancing/throttle.ts';
import { contentOf } from '../support/moves/rows.ts';
import { createMoves } from '../support/moves/scenes.ts';
import { createMoveWorld, runMove, SMALL } from '../support/moves/world.ts';
import type { MoveWorld } from '../support/moves/world.ts';

/** The copy reads and prepares ahead of the packet under way: none of that may be seen in what it guarantees. */
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});

afterAll(() => world.drop());

async function expectCarriedOver(move: Move): Promise<void> {
  expect((await runMove(world.services, move)).at(-1)).toEqual({ step: 'done' });
  const before = await world.on(0, (shard) => contentOf(shard, move.bucket));
  expect(before.length).toBeGreaterThan(0);
  expect(await world.on(1, (shard) => contentOf(shard, move.bucket))).toEqual(before);
}

const copiedRows = async (move: Move): Promise<number> => {
  const [row] = await world.on(1, (shard) =>
    shard.query('SELECT COUNT(*) AS n FROM orders WHERE bucket = ?', [move.bucket]),
  );
  return Number(row?.['n']);
};

/** More than one packet: each row has nearly 64 KiB in each of three columns. */
async function insertWideRows(move: Move, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    await world.on(0, (shard) =>
      shard.execute(
        "INSERT INTO sagas (bucket, saga_id, kind, status, attention, input, steps, outcome, created_at, updated_at) VALUES (?, ?, 'k', 'completed', 0, ?, ?, ?, '2026-01-31 09:30:00.000', '2026-01-31 09:30:00.000')",
        [move.bucket, `wide-${String(n).padStart(4, '0')}`, ...wideTexts(n)],
      ),
    );
  }
}

const wideTexts = (n: number): string[] =>
  ["'", 'é', '\\'].map((text) => `${n}${text.repeat(30_000)}`);

describe('the copy of a bucket', () => {
  it('waits for the throttle before each packet, one packet at a time', async () => {
    const move = await freshMove(1_000);
    await prepareMove(world.services, move);
    let looks = 0;
    const seen: number[] = [];
    const { kind } = await copyBucket(world.services, move, {
      ...SMALL,
      throttle: async () => {
        looks += 1;
        seen.push(await copiedRows(move));
      },
    });
    expect(kind).toBe('copied');
    // 5 packets of 200 orders, 5 of keys, 1 of steps; each has committed before the throttle is asked again.
    expect(looks).toBe(11);
    expect(seen).toEqual([0, 200, 400, 600, 800, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]);
    await expectCarriedOver(move);
  });

  it('goes on behind the last packet when the throttle stopped it with rows read ahead', async () => {
    const move = await freshMove(1_000);
    await prepareMove(world.services, move);
    const reason = { shard: move.to, reason: 'test' };
    let looks = 0;
    const stopped = copyBucket(world.services, move, {
      ...SMALL,
      throttle: () => {
        looks += 1;
        return looks === 4 ? Promise.reject(new ThrottledError(reason)) : Promise.resolve();
      },
    });
    await expect(stopped).rejects.toThrow(ThrottledError);
    expect(await copiedRows(move)).toBe(600);
    const { rows } = await copyBucket(world.services, move, SMALL);
    expect(rows).toBe(400 + 1_000 + 100);
    await expectCarriedOver(move);
  });

  it('writes nothing of what it has ready once another delivery has claimed the move', async () => {
    const move = await freshMove(1_000);
    await prepareMove(world.services, move);
    let looks = 0;
    const overtaken = copyBucket(world.services, move, {
      ...SMALL,
      throttle: async () => {
        looks += 1;
        if (looks === 3) await openSession(world.services, move);
      },
    });
    const error = await overtaken.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect((error as AppError | undefined)?.code).toBe('conflict');
    expect(await copiedRows(move)).toBe(400);
    await expectCarriedOver(move);
  });

  it('cuts wide rows into packets, and a slice may end between two of one chunk', async () => {
    const move = await freshMove(0);
    await insertWideRows(move, 24);
    await prepareMove(world.services, move);
    const cursors: MoveProgress['cursor'][] = [];
    const options = {
      ...SMALL,
      sliceMs: 0,
      onProgress: (progress: MoveProgress) => cursors.push(progress.cursor),
    };
    let calls = 0;
    let rows = 0;
    for (let kind = 'more'; kind === 'more' && calls < 100; calls++) {
      const outcome = await copyBucket(world.services, move, options);
      kind = outcome.kind;
      rows += outcome.rows;
    }
    // 3.6 million characters: a packet has one of them, and each call ends behind its first.
    expect(calls).toBeGreaterThan(2);
    expect(cursors.length).toBeGreaterThan(2);
    expect(rows).toBe(24);
    expect(new Set(cursors.map((cursor) => JSON.stringify(cursor))).size).toBe(cursors.length);
    await expectCarriedOver(move);
  });
});
