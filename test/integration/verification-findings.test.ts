import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bucketOf } from '../../src/sharding/hash.ts';
import {
  ANN,
  BOB,
  CID,
  DEE,
  startVerificationScene,
  type VerificationScene,
} from '../support/verification-scene.ts';
import {
  emailOf,
  keyOf,
  problemsOf,
  SAGA,
  type VerificationWorld,
} from '../support/verification-world.ts';

const HOUR_MS = 3_600_000;

let scene: VerificationScene;
let world: VerificationWorld;

beforeAll(async () => {
  scene = await startVerificationScene();
  ({ world } = scene);
});
beforeEach(() => scene.fill());
afterEach(() => scene.databases.recover());
afterAll(() => scene.stop());

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

/** Three chunks instead of 24: what is found is the same, and there are many runs. */
const SETTINGS = { VERIFY_CHUNK_BUCKETS: '1024' };

describe('what must not be is found, and nothing else', () => {
  test.each(PLANTS)('$name', async ({ plant, found }) => {
    await plant();
    const result = await world.run({ settings: SETTINGS });
    expect(problemsOf(result)).toEqual([...found]);
    expect(result).toMatchObject({ status: 'completed', ok: false });
    const counted = result.checks.reduce((sum, { violations }) => sum + violations, 0);
    expect(counted).toBe(found.length);
  });

  test('more than can be shown is counted', async () => {
    for (let id = 100; id < 130; id += 1) await world.order({ orderId: `${id}`, userId: '9999' });
    const orders = (await world.run({ settings: SETTINGS })).checks.find(
      ({ name }) => name === 'orders',
    );
    expect(orders).toMatchObject({ ok: false, violations: 30 });
    expect(orders?.examples).toHaveLength(20);
  });

  test('only by the checks that were asked for, and on the shards that were named', async () => {
    await world.order({ orderId: '50', userId: '9999' });
    const shard = world.owner(bucketOf('9999'));
    expect(await world.run({ settings: SETTINGS, checks: ['sagas', 'emails'] })).toMatchObject({
      ok: true,
      checks: [{ name: 'emails' }, { name: 'sagas' }],
    });
    expect(await world.run({ settings: SETTINGS, shards: [(shard + 1) % 3] })).toMatchObject({
      ok: true,
    });
    expect(await world.run({ settings: SETTINGS, shards: [shard] })).toMatchObject({ ok: false });
  });
});
