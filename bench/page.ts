import { listOrders } from '../src/orders/queries.ts';
import type { AmountCents } from '../src/kernel/money.ts';
import { placeOrder } from '../src/orders/place-order.ts';
import { drive, inRounds } from './drive.ts';
import { atLeast, type Line, lineOf } from './lines.ts';
import type { BenchOptions } from './options.ts';
import { someUser } from './orders.ts';
import { PLAIN_PAGE } from './statements.ts';
import type { World } from './world.ts';

const READERS = 8;
const ORDERS_OF_EACH = 150;
const USERS = 20;

/** A user's 100 newest orders, beside the plain SELECT of as many through the driver, by 8 readers. */
export async function benchPage(world: World, options: BenchOptions): Promise<readonly Line[]> {
  const { services } = world;
  const { random, roundMs } = options;
  const users = world.users.slice(0, USERS);
  for (const userId of users) {
    const amountCents = 100 as AmountCents;
    await Promise.all(
      Array.from({ length: ORDERS_OF_EACH }, () => placeOrder(services, { userId, amountCents })),
    );
  }
  const pool = world.plain(READERS);
  const { product, limit } = await inRounds(options, {
    product: () =>
      drive(READERS, roundMs, () =>
        listOrders(services, { userId: someUser(users, random), limit: 100, cursor: undefined }),
      ),
    limit: () => drive(READERS, roundMs, () => pool.query(PLAIN_PAGE, [someUser(users, random)])),
  });
  return [
    lineOf({
      what: 'a user’s 100 newest orders: throughput',
      limit: 'plain SELECT of them',
      ratios: product.map(
        (driven, round) => driven.perSecond / (limit[round]?.perSecond ?? Number.NaN),
      ),
      target: atLeast(0.85),
      note: `${product[0]?.perSecond.toFixed(0)} and ${limit[0]?.perSecond.toFixed(0)} per s, ${READERS} readers`,
    }),
  ];
}
