import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import { createBlobStore } from '../../src/storage/blob-store.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { checkPiece, lookAgain } from '../../src/verification/contracts.ts';
import {
  readDirectory,
  readLedger,
  readOrders,
  readSagas,
  readTransfers,
  readUsers,
} from '../../src/verification/statements.ts';
import { createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import { createRandom } from '../support/random.ts';
import { createTestStorage } from '../support/storage.ts';
import { createTestInstance, type TestInstance } from '../support/test-database.ts';
import {
  createVerificationWorld,
  emailOf,
  keyOf,
  problemsOf,
  SAGA,
  type VerificationWorld,
} from '../support/verification-world.ts';

const HOUR_MS = 3_600_000;
/** On shards 0, 1, 2 by bucket: 195, 930, 56, 235. */
const [ANN, BOB, CID, DEE] = ['1001', '2002', '3003', '4004'] as const;

let databases: TestDatabases;
let instance: TestInstance;
let world: VerificationWorld;

beforeAll(async () => {
  databases = await createTestDatabases();
  instance = createTestInstance(databases);
  await instance.database.prewarm();
  const blobs = createBlobStore(createTestStorage(databases));
  world = createVerificationWorld(databases, instance, blobs);
});
beforeEach(async () => {
  await world.reset();
  for (const user of [ANN, BOB, CID, DEE]) await world.user(user);
  await world.order({ orderId: '1', userId: ANN, amountCents: 100 });
  await world.order({ orderId: '2', userId: BOB, amountCents: 250 });
  // Order 3 went from Ann by Bob to Cid, order 4 is locked at Dee and pending at Ann.
  await world.order({ orderId: '3', userId: ANN, state: 3, amountCents: 7 });
  await world.transfer({ orderId: '3', userId: ANN, peerUserId: BOB, state: 3, sagaId: 's-a' });
  await world.order({ orderId: '3', userId: BOB, state: 3, amountCents: 7 });
  await world.transfer({ orderId: '3', userId: BOB, peerUserId: CID, state: 3, sagaId: 's-b' });
  await world.order({ orderId: '3', userId: CID, amountCents: 7 });
  await world.order({ orderId: '4', userId: DEE, state: 1, amountCents: 9 });
  await world.transfer({ orderId: '4', userId: DEE, peerUserId: ANN, state: 1, sagaId: 's-c' });
  await world.order({ orderId: '4', userId: ANN, state: 2, amountCents: 9 });
  await world.transfer({ orderId: '4', userId: ANN, peerUserId: DEE, state: 2, sagaId: 's-c' });
  await world.saga({ sagaId: 's-c', status: 'running' });
  await world.directory('reserved@example.com', { userId: '5005', state: 'reserved' });
  await world.directory('free@example.com', { userId: ANN, state: 'released' });
  await world.saga({
    sagaId: 's-a',
    input: { orderId: '3', fromUserId: ANN, toUserId: BOB },
  });
  await world.ledger(bucketOf(ANN), 's-a', 'remove-source');
  await world.ledger(bucketOf(ANN), 'forgotten', 'lock-source');
  await world.ledger(bucketOf(ANN), 'here', 'local');
});
afterEach(() => databases.recover());
afterAll(async () => {
  await instance.database.close();
  await databases.drop();
});

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

/** Changes one row of a user's bucket. */
function change(userId: string, text: string): () => Promise<void> {
  return () => world.atOwner(bucketOf(userId), text);
}

const at = (userId: string, id: string): string => `${bucketOf(userId)}/${id}`;
const emailAt = (email: string): string => `${bucketOf(email)}/${keyOf(email)}`;
const ANN_EMAIL = emailOf(ANN);

const PLANTS: readonly {
  readonly name: string;
  readonly plant: () => Promise<unknown>;
  readonly found: readonly string[];
}[] = [
  {
    name: 'a bucket nobody owns',
    plant: () => world.atOwner(1, 'DELETE FROM bucket_ownership WHERE bucket = 1'),
    found: ['ownership no-owner bucket 1'],
  },
  {
    name: 'a bucket two shards own',
    plant: () =>
      world.sql(
        2,
        "INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (1, 'owned', 2, NULL, NOW(3))",
      ),
    found: ['ownership several-owners bucket 1'],
  },
  {
    name: 'a former owner whose epoch is not lower',
    plant: () =>
      world.sql(
        2,
        "INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (1, 'gone', 2, 0, NOW(3))",
      ),
    found: ['ownership epoch-is-not-the-highest bucket 1'],
  },
  {
    name: 'an owner the map does not name',
    plant: async () => {
      await world.sql(1, "UPDATE bucket_ownership SET state = 'gone' WHERE bucket = 1");
      await world.sql(
        2,
        "INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (1, 'owned', 2, NULL, NOW(3))",
      );
    },
    found: ['ownership map-names-another-shard bucket 1'],
  },
  {
    name: 'an epoch the map does not name',
    plant: () => world.atOwner(1, 'UPDATE bucket_ownership SET epoch = 5 WHERE bucket = 1'),
    found: ['ownership map-names-another-epoch bucket 1'],
  },
  {
    name: 'rows on a shard that has no word on their bucket',
    plant: () =>
      world.sql(1, "INSERT INTO idempotency_keys VALUES (0, 'users', '', '', 1, NOW(3))"),
    found: ['rows no-owner idempotency_keys 0'],
  },
  {
    name: 'an order in a bucket that is not its user’s',
    plant: () => world.atOwner(0, `INSERT INTO orders VALUES (0, 77, ${ANN}, 5, NOW(3), 0, NULL)`),
    found: ['orders user-missing orders 0/77', 'rows bucket-is-not-the-hash orders 0/77'],
  },
  {
    name: 'a journal row away from home',
    plant: () => world.saga({ sagaId: 'away', bucket: 3 }),
    found: ['rows bucket-is-not-the-hash sagas 3/away'],
  },
  {
    name: 'a user whose email the directory does not have',
    plant: () =>
      world.atOwner(
        bucketOf(ANN_EMAIL),
        `DELETE FROM email_directory WHERE bucket = ${bucketOf(ANN_EMAIL)}`,
      ),
    found: [`emails email-not-in-directory users ${at(ANN, ANN)}`],
  },
  {
    name: 'a user whose email the directory has for somebody else',
    plant: () =>
      world.atOwner(
        bucketOf(ANN_EMAIL),
        `UPDATE email_directory SET user_id = ${BOB} WHERE bucket = ${bucketOf(ANN_EMAIL)}`,
      ),
    found: [
      `emails confirmed-but-user-has-another email_directory ${emailAt(ANN_EMAIL)}`,
      `emails email-not-held-for-user users ${at(ANN, ANN)}`,
    ],
  },
  {
    name: 'a user whose email is released',
    plant: () =>
      world.atOwner(
        bucketOf(ANN_EMAIL),
        `UPDATE email_directory SET state = 'released' WHERE bucket = ${bucketOf(ANN_EMAIL)}`,
      ),
    found: [`emails email-not-held-for-user users ${at(ANN, ANN)}`],
  },
  {
    name: 'a confirmed email without a user',
    plant: () => world.directory('ghost@example.com', { userId: '9999' }),
    found: [`emails confirmed-without-user email_directory ${emailAt('ghost@example.com')}`],
  },
  {
    name: 'a second confirmed email of a user',
    plant: () => world.directory('second@example.com', { userId: ANN }),
    found: [
      `emails confirmed-but-user-has-another email_directory ${emailAt('second@example.com')}`,
    ],
  },
  {
    name: 'an email that has been reserved for long',
    plant: () =>
      world.directory('old@example.com', { userId: '9999', state: 'reserved', ageMs: HOUR_MS }),
    found: [`emails reserved-too-long email_directory ${emailAt('old@example.com')}`],
  },
  {
    name: 'a key that is not the hash of the email',
    plant: () =>
      world.atOwner(
        bucketOf('free@example.com'),
        `UPDATE email_directory SET email_key = UNHEX('${'00'.repeat(32)}') WHERE state = 'released'`,
      ),
    found: [
      `emails email-key-is-not-the-hash email_directory ${bucketOf('free@example.com')}/${'00'.repeat(32)}`,
    ],
  },
  {
    name: 'a state of an email that does not exist',
    plant: () =>
      world.atOwner(
        bucketOf('free@example.com'),
        "UPDATE email_directory SET state = 'odd' WHERE state = 'released'",
      ),
    found: [`emails invalid-state email_directory ${emailAt('free@example.com')}`],
  },
  {
    name: 'an order of nobody',
    plant: () => world.order({ orderId: '50', userId: '9999' }),
    found: [`orders user-missing orders ${at('9999', '50')}`],
  },
  {
    name: 'a state of an order that does not exist',
    plant: change(ANN, 'UPDATE orders SET state = 9 WHERE order_id = 1'),
    found: [`orders invalid-state orders ${at(ANN, '1')}`],
  },
  {
    name: 'a locked order without a transfer',
    plant: change(ANN, 'UPDATE orders SET state = 1 WHERE order_id = 1'),
    found: [`orders transfer-missing orders ${at(ANN, '1')}`],
  },
  {
    name: 'a transfer that disagrees with its order',
    plant: change(ANN, 'UPDATE order_transfers SET state = 1 WHERE order_id = 4'),
    found: [`orders transfer-disagrees orders ${at(ANN, '4')}`],
  },
  {
    name: 'a transfer without an order',
    plant: () => world.transfer({ orderId: '60', userId: ANN, peerUserId: BOB, state: 2 }),
    found: [`orders order-missing order_transfers ${at(ANN, '60')}`],
  },
  {
    name: 'an order locked for long',
    plant: change(
      DEE,
      'UPDATE order_transfers SET updated_at = NOW(3) - INTERVAL 1 HOUR WHERE state = 1',
    ),
    found: [`orders locked-too-long order_transfers ${at(DEE, '4')}`],
  },
  {
    name: 'an order pending for long',
    plant: change(
      ANN,
      'UPDATE order_transfers SET updated_at = NOW(3) - INTERVAL 1 HOUR WHERE state = 2',
    ),
    found: [`orders pending-too-long order_transfers ${at(ANN, '4')}`],
  },
  {
    name: 'a moved order that arrived nowhere',
    plant: change(CID, 'DELETE FROM orders WHERE order_id = 3'),
    found: [
      `orders successor-missing order_transfers ${at(ANN, '3')}`,
      `orders successor-missing order_transfers ${at(BOB, '3')}`,
    ],
  },
  {
    name: 'a moved order that arrived with another amount',
    plant: change(CID, 'UPDATE orders SET amount_cents = 8 WHERE order_id = 3'),
    found: [
      `orders successor-differs order_transfers ${at(ANN, '3')}`,
      `orders successor-differs order_transfers ${at(BOB, '3')}`,
    ],
  },
  {
    name: 'an order that moved in a circle and is at no end of it',
    plant: async () => {
      await change(CID, 'UPDATE orders SET state = 3 WHERE order_id = 3')();
      await world.transfer({ orderId: '3', userId: CID, peerUserId: ANN, state: 3 });
    },
    found: [ANN, BOB, CID]
      .map((user) => `orders moved-in-a-circle order_transfers ${at(user, '3')}`)
      .toSorted(),
  },
  {
    name: 'an order visible at its target while it is locked at its source',
    plant: async () => {
      await change(ANN, 'UPDATE orders SET state = 0 WHERE order_id = 4')();
      await change(ANN, 'DELETE FROM order_transfers WHERE order_id = 4')();
    },
    found: [`orders visible-twice order_transfers ${at(DEE, '4')}`],
  },
  {
    name: 'an order visible at both ends of a finished transfer',
    plant: async () => {
      await world.order({ orderId: '70', userId: BOB });
      await world.order({ orderId: '70', userId: CID });
      const input = { orderId: '70', fromUserId: BOB, toUserId: CID };
      await world.saga({ sagaId: 'twice', input });
    },
    found: [`orders visible-twice orders ${at(BOB, '70')}`],
  },
  {
    name: 'a saga that does not end',
    plant: () => world.saga({ status: 'compensating', ageMs: HOUR_MS }),
    found: [`sagas unfinished-too-long sagas 7/${SAGA}`],
  },
  {
    name: 'an ended saga without an outcome',
    plant: () => world.saga({ status: 'compensated', outcome: null }),
    found: [`sagas outcome-missing sagas 7/${SAGA}`],
  },
  {
    name: 'an ended saga without its time',
    plant: () => world.saga({ finished: false }),
    found: [`sagas finish-time-missing sagas 7/${SAGA}`],
  },
  {
    name: 'a status of a saga that does not exist',
    plant: () => world.saga({ status: 'odd' }),
    found: [`sagas invalid-status sagas 7/${SAGA}`],
  },
  {
    name: 'a state of a step that does not exist',
    plant: () => world.ledger(7, SAGA, 'lock-source', 'odd'),
    found: [`sagas invalid-state saga_steps 7/${SAGA}/lock-source`],
  },
];

describe('what must not be is found, and nothing else', () => {
  test.each(PLANTS)('$name', async ({ plant, found }) => {
    await plant();
    const result = await world.run();
    expect(problemsOf(result)).toEqual([...found]);
    expect(result).toMatchObject({ status: 'completed', ok: false });
    const counted = result.checks.reduce((sum, { violations }) => sum + violations, 0);
    expect(counted).toBe(found.length);
  });

  test('more than can be shown is counted', async () => {
    for (let id = 100; id < 130; id += 1) await world.order({ orderId: `${id}`, userId: '9999' });
    const orders = (await world.run()).checks.find(({ name }) => name === 'orders');
    expect(orders).toMatchObject({ ok: false, violations: 30 });
    expect(orders?.examples).toHaveLength(20);
  });

  test('only by the checks that were asked for, and on the shards that were named', async () => {
    await world.order({ orderId: '50', userId: '9999' });
    const shard = world.owner(bucketOf('9999'));
    expect(await world.run({ checks: ['sagas', 'emails'] })).toMatchObject({
      ok: true,
      checks: [{ name: 'emails' }, { name: 'sagas' }],
    });
    expect(await world.run({ shards: [(shard + 1) % 3] })).toMatchObject({ ok: true });
    expect(await world.run({ shards: [shard] })).toMatchObject({ ok: false });
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
    await change(DEE, `UPDATE orders SET state = 3 ${where}`)();
    await change(DEE, `UPDATE order_transfers SET state = 3 ${where}`)();
    const result = await world.run();
    expect(problemsOf(result)).toEqual([]);
    expect(result.figures).toMatchObject({ ordersVisible: 3, visibleCents: '357' });
  });

  test('a trace of a moved order whose next trace was purged before it', async () => {
    await change(CID, 'DELETE FROM orders WHERE order_id = 3')();
    const old =
      'UPDATE order_transfers SET updated_at = NOW(3) - INTERVAL 8 DAY WHERE order_id = 3';
    await change(ANN, old)();
    await change(BOB, old)();
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
  const explain = databases.engine === 'mysql' ? 'EXPLAIN FORMAT=TRADITIONAL' : 'EXPLAIN';
  for (const text of [readUsers, readDirectory, readOrders, readTransfers, readSagas, readLedger]) {
    const key = text === readLedger ? ['1', '1', bucket, '1'] : ['1'];
    const plan = await instance.database.onShard(
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
  await databases.stack.stopShard(1, 'kill');
  const result = await world.run({ settings: { VERIFY_DEADLINE_MS: '300' } });
  expect(result).toMatchObject({
    status: 'failed',
    ok: false,
    failure: { code: 'shard-unavailable' },
  });
  expect(result.failure?.message).toContain('shard 1 ');
  expect(result.figures).toBeUndefined();
});
