import type { OrderId, UserId } from '../src/kernel/ids.ts';
import type { AmountCents } from '../src/kernel/money.ts';
import type { Timestamp } from '../src/kernel/time.ts';
import { insertOrder } from '../src/orders/store.ts';
import { placeOrder } from '../src/orders/place-order.ts';
import { bucketOf } from '../src/sharding/hash.ts';
import type { Random } from '../test/support/random.ts';
import { drive, type Driven, type DrivenCalls, inRounds, pooledP95Ms } from './drive.ts';
import { atLeast, atMost, type Line, lineOf } from './lines.ts';
import { type BenchOptions, scaled } from './options.ts';
import { PLAIN_INSERT } from './statements.ts';
import type { World } from './world.ts';

const CALLERS = [1, 8, 32, 64];
/**
 * Before anything is measured, as in a process that has been up for a while: the first thousands of calls run in code that is not
 * compiled yet, and one caller makes few. Two callers never group.
 */
const WARM_UP_CALLERS = [64, 2];
const WARM_UP_MS = 3_000;
/** Where the groups of a busy instance are looked at on their own. */
const BUSY = 64;
/** The line that tells how many orders one shard takes. */
export const GROUPED_ORDERS = `orders in groups, ${BUSY} at once: throughput`;

export const AT = '2026-01-01T00:00:00.123Z' as Timestamp;
export const SQL_AT = '2026-01-01 00:00:00.123';

/** Ids as they are made in production: the time above, growing. */
export function createOrderIds(): () => OrderId {
  let last = BigInt(Date.now()) << 22n;
  return () => String((last += 1n)) as OrderId;
}

export function someUser(users: readonly UserId[], random: Random): UserId {
  return users[random.below(users.length)] as UserId;
}

/**
 * One order through the product (fenced, idempotent, user checked), as the HTTP handler calls it, and by its statement
 * alone, beside the plain prepared INSERT of the same row through the driver with as many connections as callers.
 */
export async function benchOrders(world: World, options: BenchOptions): Promise<readonly Line[]> {
  for (const callers of WARM_UP_CALLERS) {
    const ms = scaled(options, WARM_UP_MS, options.roundMs);
    for (const work of Object.values(worksOf(world, options, callers))) {
      await drive(callers, ms, work);
    }
  }
  const lines: Line[] = [];
  for (const callers of CALLERS) lines.push(...(await measure(world, options, callers)));
  return lines;
}

async function measure(
  world: World,
  options: BenchOptions,
  callers: number,
): Promise<readonly Line[]> {
  const { plain, statement, product } = worksOf(world, options, callers);
  const driven = (work: Work) => () => drive(callers, options.roundMs, work);
  const results = await inRounds(options, {
    plain: driven(plain),
    statement: driven(statement),
    product: driven(product),
  });
  return linesOf(callers, results);
}

type Work = () => Promise<unknown>;

/** Each places one order of some user. */
function worksOf(
  world: World,
  { random }: BenchOptions,
  callers: number,
): Readonly<Record<'plain' | 'statement' | 'product', Work>> {
  const { services, users, shard } = world;
  const nextId = createOrderIds();
  const pool = world.plain(callers);
  const amountCents = 4_999 as AmountCents;
  return {
    plain: () => {
      const userId = someUser(users, random);
      return pool.execute(PLAIN_INSERT, [bucketOf(userId), nextId(), userId, amountCents, SQL_AT]);
    },
    statement: () => {
      const userId = someUser(users, random);
      const order = { bucket: bucketOf(userId), orderId: nextId(), userId, amountCents };
      return services.database.onShard(
        shard,
        (on) => insertOrder(on, { ...order, createdAt: AT, timeMade: false }),
        { deadlineMs: 30_000 },
      );
    },
    product: () =>
      placeOrder(services, { userId: someUser(users, random), amountCents, createdAt: AT }),
  };
}

function linesOf(
  callers: number,
  results: Readonly<Record<'plain' | 'statement' | 'product', readonly DrivenCalls[]>>,
): readonly Line[] {
  const { plain, statement, product } = results;
  const by = (values: readonly Driven[], of: (driven: Driven) => number): number[] =>
    values.map((value, round) => of(value) / of(plain[round] as Driven));
  const note = (values: readonly DrivenCalls[]): string =>
    `${median(values, 'perSecond').toFixed(0)} of ${median(plain, 'perSecond').toFixed(0)} per s; p95 ${pooledP95Ms(values).toFixed(1)} of ${pooledP95Ms(plain).toFixed(1)} ms`;
  const limit = 'plain prepared INSERT';
  // The statement alone, on fewer connections than the plain one, only tells where the product's time goes.
  const line = (what: string, values: readonly DrivenCalls[], hasTarget: boolean): Line[] => [
    lineOf({
      what: `${what}, ${callers} at once: throughput`,
      limit,
      ratios: by(values, (driven) => driven.perSecond),
      ...(hasTarget && { target: atLeast(0.85) }),
      note: note(values),
    }),
    lineOf({
      what: `${what}, ${callers} at once: p95`,
      limit,
      ratios: by(values, (driven) => driven.p95Ms),
      overall: pooledP95Ms(values) / pooledP95Ms(plain),
      ...(hasTarget && { target: atMost(1.15) }),
      note: note(values),
    }),
  ];
  const lines = [
    ...line('an order', product, true),
    ...line('its statement alone', statement, false),
  ];
  if (callers !== BUSY) return lines;
  const grouped = lineOf({
    what: GROUPED_ORDERS,
    limit,
    ratios: by(product, (driven) => driven.perSecond),
    target: atLeast(2),
    note: note(product),
    perSecond: median(product, 'perSecond'),
  });
  return [...lines, grouped];
}

function median(values: readonly Driven[], of: keyof Driven): number {
  return values.map((value) => value[of]).toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}
