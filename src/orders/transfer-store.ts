import type { SqlRow, SqlRunner } from '../database/contracts.ts';
import { sqlNow } from '../database/ownership.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import type { BucketId, OrderId, UserId } from '../kernel/ids.ts';
import type { AmountCents } from '../kernel/money.ts';
import { fromSqlDatetime, toSqlDatetime } from '../kernel/time.ts';
import { bucketOf } from '../sharding/hash.ts';
import {
  LOCAL_ARRIVAL_STEP,
  LOCAL_DEPARTURE_STEP,
  type Crossing,
  type FormerRow,
  type OrderContent,
  type Transfer,
} from './contracts.ts';
import { ORDER_STATE } from './statements.ts';
import { orderNotFound, userNotFound } from './store.ts';
import {
  DELETE_PENDING,
  DELETE_TRACE,
  GIVE_ROW,
  INSERT_RECEIVED,
  LOCK_ORDER,
  READ_TRACE,
  RECORD_CROSSING,
  RESTORE_MOVED,
  SET_STATE,
  USER_EXISTS,
  WRITE_TRACE,
} from './transfer-statements.ts';

/**
 * What transfers do to the rows of one bucket. All of it runs in a transaction behind the bucket's fence, locks the
 * order's row first, and touches only what its own saga holds: whatever was settled since, by whom ever, stays.
 */
export interface RowKey {
  readonly bucket: BucketId;
  readonly orderId: OrderId;
}

export interface OrderRow extends OrderContent {
  readonly userId: UserId;
  readonly placedFor: UserId | null;
  readonly state: number;
}

/** Who holds a row that is not plain, and against whom. */
interface Trace {
  readonly userId: UserId;
  readonly peerUserId: UserId;
  readonly state: number;
  readonly sagaId: string;
}

/** The order's row, locked until the transaction ends. */
export async function lockOrder(tx: SqlRunner, key: RowKey): Promise<OrderRow | undefined> {
  const [row] = await tx.select(LOCK_ORDER, [key.bucket, key.orderId]);
  if (row === undefined) return undefined;
  return {
    userId: String(row['user_id']) as UserId,
    placedFor: userIn(row, 'placed_for'),
    amountCents: Number(row['amount_cents']) as AmountCents,
    createdAt: fromSqlDatetime(String(row['created_at'])),
    state: Number(row['state']),
  };
}

/** The trace of an order that is locked. */
export async function readTrace(tx: SqlRunner, key: RowKey): Promise<Trace | undefined> {
  const [row] = await tx.select(READ_TRACE, [key.bucket, key.orderId]);
  if (row === undefined) return undefined;
  return {
    userId: String(row['user_id']) as UserId,
    peerUserId: String(row['peer_user_id']) as UserId,
    state: Number(row['state']),
    sagaId: String(row['saga_id']),
  };
}

/** Throws `user-not-found` (permanent). */
export async function requireUser(tx: SqlRunner, userId: UserId): Promise<void> {
  const [row] = await tx.select(USER_EXISTS, [bucketOf(userId), userId]);
  if (row === undefined) throw userNotFound(userId);
}

/**
 * The source's row, when the order is there to be taken. Throws `user-not-found`, `order-not-found`, and `order-conflict`
 * while another transfer has it, on its way from or to this user (all permanent).
 */
export async function requireSource(
  tx: SqlRunner,
  { orderId, fromUserId }: Transfer,
  row: OrderRow | undefined,
): Promise<OrderRow> {
  const isTheirs = row?.userId === fromUserId;
  if (isTheirs && row.state === ORDER_STATE.plain) return row;
  if (isTheirs && row.state !== ORDER_STATE.moved) {
    throw new PermanentError(
      'order-conflict',
      `Order ${orderId} is being transferred by another request. Look at the order, and try again.`,
    );
  }
  await requireUser(tx, fromUserId);
  throw orderNotFound(orderId);
}

/**
 * Whether the target's bucket can take the order in: `free`, or `former` where it was before and left its row. Throws
 * `order-conflict` (permanent) when another order has the id there.
 */
export function placeAtTarget(row: OrderRow | undefined, order: OrderContent): 'free' | 'former' {
  if (row === undefined) return 'free';
  const isSame = row.amountCents === order.amountCents && row.createdAt === order.createdAt;
  if (row.state === ORDER_STATE.moved && isSame) return 'former';
  throw idInUse();
}

/** The id is taken where the order would go: ids are unique within a bucket only (ADR 0004). */
function idInUse(): PermanentError {
  return new PermanentError(
    'order-conflict',
    'The user who is to get the order has another one of this id, or their data lies where the id is in use.',
  );
}

/** How a row is held, and when that began. */
interface Hold {
  readonly userId: UserId;
  readonly peerUserId: UserId;
  readonly sagaId: string;
  readonly nowMs: number;
}

/** Locks a plain order for a saga. */
export async function holdSource(tx: SqlRunner, key: RowKey, hold: Hold): Promise<void> {
  await setState(tx, key, ORDER_STATE.locked);
  await writeTrace(tx, key, ORDER_STATE.locked, hold);
}

/** Takes an order from its user; the row stays, unseen, against repeats of its placement. */
export async function moveAway(tx: SqlRunner, key: RowKey, hold: Hold): Promise<void> {
  await setState(tx, key, ORDER_STATE.moved);
  await writeTrace(tx, key, ORDER_STATE.moved, hold);
}

/** An order that comes to a bucket: `state` plain, or pending. Fails as a duplicate when the id is in use. */
export async function insertReceived(
  tx: SqlRunner,
  key: RowKey,
  order: OrderContent & { readonly userId: UserId; readonly state: 0 | 2 },
): Promise<void> {
  const { userId, amountCents, createdAt, state } = order;
  const time = toSqlDatetime(createdAt);
  await tx.execute(INSERT_RECEIVED, [key.bucket, key.orderId, userId, amountCents, time, state]);
}

/** Gives a row of this bucket to another user of it. */
export async function giveRow(
  tx: SqlRunner,
  key: RowKey,
  to: { readonly userId: UserId; readonly state: 0 | 2 },
): Promise<void> {
  await changed(tx, GIVE_ROW, [to.userId, to.state, key.bucket, key.orderId]);
}

export async function writePendingTrace(tx: SqlRunner, key: RowKey, hold: Hold): Promise<void> {
  await writeTrace(tx, key, ORDER_STATE.pending, hold);
}

/** The row is an order like any other from now on. */
export async function settlePlain(tx: SqlRunner, key: RowKey): Promise<void> {
  await setState(tx, key, ORDER_STATE.plain);
  await deleteTrace(tx, key);
}

/** Removes a pending row, or makes it again what it was before. */
export async function removePending(
  tx: SqlRunner,
  key: RowKey,
  { former, nowMs }: { readonly former: FormerRow | null; readonly nowMs: number },
): Promise<void> {
  if (former === null) {
    await changed(tx, DELETE_PENDING, [key.bucket, key.orderId]);
    await deleteTrace(tx, key);
    return;
  }
  const { userId, placedFor, peerUserId, sagaId } = former;
  await changed(tx, RESTORE_MOVED, [userId, placedFor, key.bucket, key.orderId]);
  await writeTrace(tx, key, ORDER_STATE.moved, { userId, peerUserId, sagaId, nowMs });
}

export async function deleteTrace(tx: SqlRunner, key: RowKey): Promise<void> {
  await tx.execute(DELETE_TRACE, [key.bucket, key.orderId]);
}

/** The row and its trace when this saga holds them in that state, else undefined: they were settled since. */
export async function lockHeld(
  tx: SqlRunner,
  key: RowKey,
  by: { readonly sagaId: string; readonly state: number },
): Promise<OrderRow | undefined> {
  const row = await lockOrder(tx, key);
  if (row?.state !== by.state) return undefined;
  const trace = await readTrace(tx, key);
  return trace?.sagaId === by.sagaId && trace.state === by.state ? row : undefined;
}

/** Writes into the ledger that an order goes over to another bucket in this transaction. */
export async function recordCrossing(
  tx: SqlRunner,
  crossing: Crossing,
  { sagaId, nowMs }: Pick<Hold, 'sagaId' | 'nowMs'>,
): Promise<void> {
  const { fromBucket, toBucket } = crossing;
  const [result, time] = [JSON.stringify(crossing), sqlNow(nowMs)];
  const departure = [fromBucket, sagaId, LOCAL_DEPARTURE_STEP, result, time];
  const arrival = [toBucket, sagaId, LOCAL_ARRIVAL_STEP, result, time];
  await tx.execute(RECORD_CROSSING, [...departure, ...arrival]);
}

async function setState(tx: SqlRunner, key: RowKey, state: number): Promise<void> {
  await changed(tx, SET_STATE, [state, key.bucket, key.orderId]);
}

async function writeTrace(
  tx: SqlRunner,
  { bucket, orderId }: RowKey,
  state: number,
  { userId, peerUserId, sagaId, nowMs }: Hold,
): Promise<void> {
  const values = [bucket, orderId, userId, peerUserId, state, sagaId, sqlNow(nowMs)];
  await tx.execute(WRITE_TRACE, values);
}

async function changed(
  tx: SqlRunner,
  statement: string,
  values: readonly (string | number | null)[],
): Promise<void> {
  const { affectedRows } = await tx.execute(statement, values);
  if (affectedRows !== 1) throw new BugError('an order vanished under its lock');
}

function userIn(row: SqlRow, column: string): UserId | null {
  const value = row[column];
  return value === null || value === undefined ? null : (String(value) as UserId);
}
