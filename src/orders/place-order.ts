import type { Attempt, Shard, SqlRunner } from '../database/contracts.ts';
import { createWriteMemory, type WriteMemory } from '../database/outcome.ts';
import { FENCE_LIFTED } from '../database/refusals.ts';
import { claimKey, type Claimed } from '../idempotency/claims.ts';
import { keyHash, requestHash } from '../idempotency/keys.ts';
import { BugError } from '../kernel/errors.ts';
import type { OrderId } from '../kernel/ids.ts';
import { timestampOf } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import type { NewOrder, Order } from './model.ts';
import { measurePlacing } from './order-telemetry.ts';
import { orderGroup } from './order-group.ts';
import { insertOrder, readPlacedOrder, type BucketOrder } from './store.ts';

export interface PlaceOrder extends NewOrder {
  readonly idempotencyKey?: string | undefined;
}

/** `replayed`: the order was there already, placed by an earlier request with the same content. */
export interface Placed {
  readonly kind: 'created' | 'replayed';
  readonly order: Order;
}

/**
 * Places one order on the shard that owns its user's bucket. Safe to repeat with an order id or a key. Throws
 * `user-not-found`, `order-conflict`, `idempotency-conflict` (permanent) and `shard-unavailable` (retryable).
 */
export async function placeOrder(services: Services, command: PlaceOrder): Promise<Placed> {
  return services.telemetry.enabled
    ? await measurePlacing(services, () => place(services, command))
    : await place(services, command);
}

async function place(services: Services, command: PlaceOrder): Promise<Placed> {
  const attempt = await prepareAttempt(services, command);
  let tries = 0;
  return await services.database.onOwner(
    attempt.order.bucket,
    (shard) =>
      attempt.memory.watch(async () => {
        await services.probe.reach('orders.beforeInsert');
        tries += 1;
        const answer = await tryOn(shard, attempt, tries === 1);
        await services.probe.reach('orders.afterInsert');
        return answer;
      }),
    { deadlineMs: services.config.REQUEST_DEADLINE_MS },
  );
}

/** What stays the same over all tries: id and time are chosen once, so that a repeated try names the same order. */
interface PlacingAttempt {
  readonly order: BucketOrder;
  readonly idMade: boolean;
  readonly key: { readonly hash: string; readonly request: string } | undefined;
  readonly memory: WriteMemory;
}

async function prepareAttempt(services: Services, command: PlaceOrder): Promise<PlacingAttempt> {
  const { userId, amountCents, orderId, createdAt, idempotencyKey } = command;
  const time = createdAt ?? timestampOf(services.clock.nowMs());
  if (time === undefined) throw new BugError('the clock is outside 1970 … 9999');
  return {
    order: {
      bucket: bucketOf(userId),
      orderId: orderId ?? (await services.ids.nextOrderId()),
      userId,
      amountCents,
      createdAt: time,
      timeMade: createdAt === undefined,
    },
    idMade: orderId === undefined,
    key:
      idempotencyKey === undefined
        ? undefined
        : {
            // Keys are kept apart by user: each user's requests have keys of their own.
            hash: keyHash(userId, idempotencyKey),
            request: requestHash([userId, amountCents, orderId ?? null, createdAt ?? null]),
          },
    memory: createWriteMemory(),
  };
}

/**
 * Without a key one statement does it, for many callers at once when the shard is busy; with one, the claim and the order
 * are one transaction. What had to be tried again goes alone: it is not to trouble others twice.
 */
async function tryOn(
  shard: Shard,
  attempt: PlacingAttempt,
  isFirst: boolean,
): Promise<Attempt<Placed>> {
  if (attempt.key !== undefined) return shard.transaction((tx) => claimAndInsert(tx, attempt));
  if (!isFirst) return insert(shard, attempt);
  const answer = await shard.grouped(orderGroup, attempt.order, () => insert(shard, attempt));
  return answer === 'written' ? created(attempt.order) : answer;
}

async function insert(runner: SqlRunner, attempt: PlacingAttempt): Promise<Attempt<Placed>> {
  const { order } = attempt;
  const inserted = await insertOrder(runner, order);
  if (inserted.kind === 'refused') return inserted;
  if (inserted.value === 'new') return created(order);
  if (!order.timeMade) return attempt.idMade ? created(order) : replayed(order);
  const stored = await readPlacedOrder(runner, order);
  if (stored.kind === 'refused') return stored;
  // It had moved to another user, long ago, and what was left of it was purged just now: look again.
  if (stored.value === undefined) return FENCE_LIFTED;
  return isOurs(attempt, stored.value) ? created(stored.value) : replayed(stored.value);
}

async function claimAndInsert(tx: SqlRunner, attempt: PlacingAttempt): Promise<Attempt<Placed>> {
  const { order, key } = attempt;
  if (key === undefined) throw new BugError('no key to claim');
  const claimed = await claimKey(tx, {
    bucket: order.bucket,
    scope: 'orders',
    keyHash: key.hash,
    requestHash: key.request,
    resourceId: order.orderId,
    createdAt: order.createdAt,
  });
  if (claimed.kind === 'refused') return claimed;
  return claimed.isNew ? await insert(tx, attempt) : await replayClaim(tx, attempt, claimed);
}

/** The first answer again. The record alone can tell it, should the order have left this user long ago. */
async function replayClaim(
  tx: SqlRunner,
  attempt: PlacingAttempt,
  claimed: Claimed,
): Promise<Attempt<Placed>> {
  const orderId = claimed.resourceId as OrderId;
  const found = await readPlacedOrder(tx, { ...attempt.order, orderId });
  if (found.kind === 'refused') return found;
  const { userId, amountCents, createdAt, timeMade } = attempt.order;
  const first = found.value ?? {
    orderId,
    userId,
    amountCents,
    createdAt: timeMade ? claimed.createdAt : createdAt,
  };
  return isOurs(attempt, first) ? created(first) : replayed(first);
}

/**
 * True when the stored order was written by an earlier try of this same request, whose answer was lost on the way:
 * a made id is nobody else's; otherwise a try must have been lost, and the order must carry our own time stamp.
 */
function isOurs({ order, idMade, memory }: PlacingAttempt, stored: Order): boolean {
  if (stored.orderId !== order.orderId) return false;
  return (
    idMade || (memory.mayHaveWritten && order.timeMade && stored.createdAt === order.createdAt)
  );
}

function created(order: Order): Attempt<Placed> {
  return { kind: 'answered', value: { kind: 'created', order: plain(order) } };
}

function replayed(order: Order): Attempt<Placed> {
  return { kind: 'answered', value: { kind: 'replayed', order: plain(order) } };
}

function plain({ orderId, userId, amountCents, createdAt }: Order): Order {
  return { orderId, userId, amountCents, createdAt };
}
