import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ShardId } from '../../src/kernel/ids.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { checkPiece, lookAgain } from '../../src/verification/contracts.ts';
import {
  readDirectory,
  readLedger,
  readOrders,
  readSagas,
  readTransfers,
  readUsers,
} from '../../src/verification/statements.ts';
import { createRandom } from '../support/random.ts';
import {
  ANN,
  BOB,
  CID,
  DEE,
  startVerificationScene,
  type VerificationScene,
} from '../support/verification-scene.ts';
import { emailOf, problemsOf, type VerificationWorld } from '../support/verification-world.ts';

const ANN_EMAIL = emailOf(ANN);

let scene: VerificationScene;
let world: VerificationWorld;

beforeAll(async () => {
  scene = await startVerificationScene();
  ({ world } = scene);
});
beforeEach(() => scene.fill());
afterEach(() => scene.databases.recover());
afterAll(() => scene.stop());

const FIGURES = {
  users: 4,
  emailsConfirmed: 4,
  emailsReserved: 1,
  emailsReleased: 1,
  ordersPlain: 3,
  ordersLocked: 1,
  ordersPending: 1,
  ordersMoved: 2,
  ordersVisible: 4,
  visibleCents: '366',
  sagasUnfinished: 1,
  sagasEnded: 1,
  ledgerRows: 3,
  ledgerWithoutJournal: 1,
  oldCopies: 0,
  unfinishedCopies: 0,
  bucketsFenced: 0,
  bucketsMoving: 0,
  lookedAtAgain: 0,
};

const CHECKED = { ownership: 1024, rows: 23, emails: 10, orders: 11, sagas: 5 };

describe('a cluster in which all is well', () => {
  test('is green, with the right figures, also while sagas are in flight', async () => {
    const result = await world.run();
    expect(problemsOf(result)).toEqual([]);
    expect(result).toMatchObject({ status: 'completed', ok: true });
    expect(result.figures).toEqual(FIGURES);
    expect(result.progress).toEqual({ chunksDone: 24, chunks: 24 });
    expect(Object.fromEntries(result.checks.map(({ name, checked }) => [name, checked]))).toEqual(
      CHECKED,
    );
  });

  test('is the same in pages of ten rows, pieces of one page and work delivered twice', async () => {
    const random = createRandom();
    for (let user = 20_000; user < 20_040; user += 1) await world.user(String(user));
    let pieces = 0;
    const result = await world.run({
      settings: { VERIFY_PAGE_ROWS: '10', VERIFY_ACTIVITY_MS: '100', VERIFY_CHUNK_BUCKETS: '1024' },
      redeliver: 0.3,
      random: () => random.next(),
      before: async (activity) => {
        if (activity === checkPiece.name) pieces += 1;
        return Promise.resolve();
      },
    });
    expect(pieces).toBeGreaterThanOrEqual(3);
    expect(problemsOf(result), `seed ${random.seed}`).toEqual([]);
    expect(result.figures).toEqual({ ...FIGURES, users: 44, emailsConfirmed: 44 });
    expect(result.progress).toEqual({ chunksDone: 3, chunks: 3 });
  });

  test('copies of moved buckets are counted and nothing else', async () => {
    const bucket = bucketOf(BOB);
    await world.move(bucket, (world.owner(bucket) + 1) % 3);
    const result = await world.run();
    expect(problemsOf(result)).toEqual([]);
    expect(result.figures).toEqual({ ...FIGURES, oldCopies: 4 });
  });

  test('a bucket that moves while it runs gives no alarm, and its orders count once', async () => {
    const random = createRandom();
    const moved = [ANN, BOB, CID, DEE, emailOf(ANN), emailOf(DEE)].map(bucketOf);
    const result = await world.run({
      random: () => random.next(),
      before: async (activity) => {
        if (activity !== checkPiece.name && activity !== lookAgain.name) return;
        const bucket = moved.pop();
        if (bucket !== undefined) {
          await world.move(bucket, (world.owner(bucket) + 1 + random.below(2)) % 3);
        }
      },
    });
    expect(moved).toEqual([]);
    expect(problemsOf(result), `seed ${random.seed}`).toEqual([]);
    const { ordersVisible, visibleCents } = FIGURES;
    expect(result.figures).toMatchObject({ ordersVisible, visibleCents });
  });
});

describe('what is only on its way is no violation', () => {
  test('a mismatch that heals in the grace period', async () => {
    const bucket = bucketOf(ANN_EMAIL);
    await world.atOwner(bucket, `DELETE FROM email_directory WHERE bucket = ${bucket}`);
    let looks = 0;
    const result = await world.run({
      before: async (activity) => {
        if (activity !== lookAgain.name) return;
        looks += 1;
        if (looks === 2) await world.directory(ANN_EMAIL, { userId: ANN });
      },
    });
    expect(looks).toBe(2);
    expect(problemsOf(result)).toEqual([]);
    expect(result.ok).toBe(true);
    expect(result.figures?.lookedAtAgain).toBe(1);
  });

  test('an email reserved for its user, whose registration is past its pivot', async () => {
    const bucket = bucketOf(ANN_EMAIL);
    const text = `UPDATE email_directory SET state = 'reserved' WHERE bucket = ${bucket}`;
    await world.atOwner(bucket, text);
    expect(problemsOf(await world.run())).toEqual([]);
  });

  test('an old email that a running change is about to free', async () => {
    await world.directory('old@example.com', { userId: ANN });
    const input = { userId: ANN, email: { address: ANN_EMAIL, normalized: ANN_EMAIL } };
    await world.saga({ kind: 'change-email', status: 'running', input });
    expect(problemsOf(await world.run())).toEqual([]);
  });

  test('a moved order that is still pending at its target', async () => {
    const where = 'WHERE order_id = 4';
    await world.atOwner(bucketOf(DEE), `UPDATE orders SET state = 3 ${where}`);
    await world.atOwner(bucketOf(DEE), `UPDATE order_transfers SET state = 3 ${where}`);
    const result = await world.run();
    expect(problemsOf(result)).toEqual([]);
    expect(result.figures).toMatchObject({ ordersVisible: 3, visibleCents: '357' });
  });

  test('a trace of a moved order whose next trace was purged before it', async () => {
    await world.atOwner(bucketOf(CID), 'DELETE FROM orders WHERE order_id = 3');
    const old =
      'UPDATE order_transfers SET updated_at = NOW(3) - INTERVAL 8 DAY WHERE order_id = 3';
    await world.atOwner(bucketOf(ANN), old);
    await world.atOwner(bucketOf(BOB), old);
    expect(problemsOf(await world.run())).toEqual([]);
  });
});

test('each page is a range of a primary key, read without a sort', async () => {
  const bucket = bucketOf(ANN);
  const rows = Array.from(
    { length: 3_000 },
    (_, id) => `(${bucket}, ${id + 100}, ${ANN}, 1, NOW(3))`,
  );
  await world.atOwner(
    bucket,
    `INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at) VALUES ${rows.join(', ')}`,
  );
  const explain = scene.databases.engine === 'mysql' ? 'EXPLAIN FORMAT=TRADITIONAL' : 'EXPLAIN';
  for (const text of [readUsers, readDirectory, readOrders, readTransfers, readSagas, readLedger]) {
    const key = text === readLedger ? ['1', '1', bucket, '1'] : ['1'];
    const plan = await scene.instance.database.onShard(
      world.owner(bucket) as ShardId,
      (shard) => shard.query(`${explain} ${text(false)}`, [bucket, ...key, bucket, 1023, 500]),
      { deadlineMs: 10_000 },
    );
    const told = plan.map((row) => `${String(row['type'])} ${String(row['Extra'])}`);
    expect(told[0]).toMatch(/^range /);
    expect(told.slice(1).filter((line) => !line.startsWith('eq_ref'))).toEqual([]);
    expect(told.join('; ')).not.toContain('filesort');
  }
});

test('a shard that is away fails the run, and is named', async () => {
  await scene.databases.stack.stopShard(1, 'kill');
  const result = await world.run({ settings: { VERIFY_DEADLINE_MS: '300' } });
  expect(result).toMatchObject({
    status: 'failed',
    ok: false,
    failure: { code: 'shard-unavailable' },
  });
  expect(result.failure?.message).toContain('shard 1 ');
  expect(result.figures).toBeUndefined();
});
