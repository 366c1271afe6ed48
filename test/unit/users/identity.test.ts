import { describe, expect, test } from 'vitest';
import type { BucketId, ShardId, UserId } from '../../../src/kernel/ids.ts';
import type { Services } from '../../../src/services.ts';
import { bucketOf } from '../../../src/sharding/hash.ts';
import type { Route } from '../../../src/sharding/router.ts';
import { parseEmail, type Email } from '../../../src/users/email.ts';
import { newIdentity } from '../../../src/users/identity.ts';
import { createFakeServices } from '../../support/fake-services.ts';

const EMAIL = parseEmail('Ada@Example.com') as Email;

/** Services over so many shards, `shardOf` deciding; ids count up from 1. */
function servicesOver(shards: number, shardOf: (bucket: BucketId) => number) {
  let made = 0;
  const services = createFakeServices({
    database: {
      route: (bucket: BucketId) =>
        Promise.resolve({ bucket, shard: shardOf(bucket) as ShardId } as Route),
      shardIds: () => Array.from({ length: shards }, (_, shard) => shard as ShardId),
    } as unknown as Services['database'],
    ids: {
      nextUserId: () => Promise.resolve(String((made += 1)) as UserId),
      nextOrderId: () => Promise.reject(new Error('no order')),
    },
  });
  return { services, made: () => made };
}

describe('newIdentity', () => {
  test('takes an id whose bucket is on the shard of the email', async () => {
    const { services, made } = servicesOver(5, (bucket) => bucket % 5);
    for (let n = 0; n < 50; n += 1) {
      const { userId } = await newIdentity(services, { email: EMAIL });
      expect(bucketOf(userId) % 5).toBe(bucketOf(EMAIL.normalized) % 5);
    }
    expect(made()).toBeGreaterThan(50);
  });

  test.each([
    [3, 24],
    [200, 512],
  ])('over %i shards it makes at most %i ids, and takes the last', async (shards, most) => {
    const nowhere = (bucket: BucketId): number => (bucket === bucketOf(EMAIL.normalized) ? 0 : 1);
    const { services, made } = servicesOver(shards, nowhere);
    const { userId } = await newIdentity(services, { email: EMAIL });
    expect([made(), userId]).toEqual([most, String(most)]);
  });

  test('leaves an id that was given as it is', async () => {
    const { services, made } = servicesOver(3, (bucket) => bucket % 3);
    const given = '1001' as UserId;
    expect((await newIdentity(services, { email: EMAIL, userId: given })).userId).toBe(given);
    expect(made()).toBe(0);
  });
});
