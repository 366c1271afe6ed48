import { mapBounded } from '../../src/kernel/bounded.ts';
import type { UserId } from '../../src/kernel/ids.ts';
import type { AmountCents } from '../../src/kernel/money.ts';
import { placeOrder } from '../../src/orders/place-order.ts';
import { routeKey } from '../../src/sharding/router.ts';
import type { Random } from '../../test/support/random.ts';
import { createKeys, SHARDS } from '../../test/support/sagas/placement.ts';
import { AT } from '../orders.ts';
import type { Registration, TransferOf } from './bare-sagas.ts';
import type { HostWorld } from './world.ts';

const AMOUNT = 4_999 as AmountCents;
const PLACED_AT_ONCE = 64;

/** Data of its own for each saga, placed so that it needs two shards. */
export interface SagaStock {
  registration(): Registration;
  /** An order that nobody has transferred yet. Throws when {@link fill} has laid in too few. */
  transfer(): TransferOf;
  /** Lays orders in until there are so many. */
  fill(orders: number): Promise<void>;
}

export function createSagaStock(world: HostWorld, random: Random): SagaStock {
  const keys = createKeys(1_000_000 + random.below(1_000_000));
  const usersOf = Array.from({ length: SHARDS }, (_, shard) =>
    world.users.filter((userId) => routeKey(world.map, userId).shard === shard),
  );
  const someOn = (shard: number): UserId => {
    const users = usersOf[shard] ?? [];
    return users[random.below(users.length)] as UserId;
  };
  const twoShards = (): [number, number] => {
    const first = random.below(SHARDS);
    return [first, (first + 1 + random.below(SHARDS - 1)) % SHARDS];
  };
  const transfers: TransferOf[] = [];
  return {
    registration: () => {
      const [user, email] = twoShards();
      return { userId: keys.userOn(user), email: keys.emailOn(email) };
    },
    transfer: () => {
      const next = transfers.pop();
      if (next === undefined) throw new Error('The stock of orders is used up.');
      return next;
    },
    fill: async (orders) => {
      const missing = Array.from({ length: Math.max(0, orders - transfers.length) }, twoShards);
      const filled = await mapBounded(missing, PLACED_AT_ONCE, async ([source, target]) => {
        const fromUserId = someOn(source);
        const placed = await placeOrder(world.services, {
          userId: fromUserId,
          amountCents: AMOUNT,
          createdAt: AT,
        });
        const { orderId } = placed.order;
        return { orderId, amountCents: AMOUNT, fromUserId, toUserId: someOn(target) };
      });
      transfers.push(...filled);
    },
  };
}
