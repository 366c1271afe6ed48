import { bucketOf } from '../../src/sharding/hash.ts';
import { createBlobStore } from '../../src/storage/blob-store.ts';
import { createTestDatabases, type TestDatabases } from './cluster.ts';
import { createTestStorage } from './storage.ts';
import { createTestInstance, type TestInstance } from './test-database.ts';
import { createVerificationWorld, type VerificationWorld } from './verification-world.ts';

/** Users on shards 0, 0, 2 and 1: buckets 195, 930, 56, 235. */
export const [ANN, BOB, CID, DEE] = ['1001', '2002', '3003', '4004'] as const;

/** Four users with orders, transfers and sagas of every state in which nothing is wrong. */
export interface VerificationScene {
  readonly databases: TestDatabases;
  readonly instance: TestInstance;
  readonly world: VerificationWorld;
  /** Empties the shards and writes the rows of these users. */
  fill(): Promise<void>;
  stop(): Promise<void>;
}

export async function startVerificationScene(): Promise<VerificationScene> {
  const databases = await createTestDatabases();
  const instance = createTestInstance(databases);
  await instance.database.prewarm();
  const blobs = createBlobStore(createTestStorage(databases));
  const world = createVerificationWorld(databases, instance, blobs);
  return {
    databases,
    instance,
    world,
    fill: async () => {
      await world.reset();
      await fill(world);
    },
    stop: async () => {
      await instance.database.close();
      await databases.drop();
    },
  };
}

async function fill(world: VerificationWorld): Promise<void> {
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
}
