import type { Attempt, SqlRow, SqlRunner } from '../database/contracts.ts';
import { sqlNow } from '../database/ownership.ts';
import { checked } from '../durable/envelope.ts';
import type { StepContract } from '../durable/saga/step.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { BugError, isRetryable } from '../kernel/errors.ts';
import type { BucketId, OrderId, UserId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import { enterToSeal, enterToUndo, type LedgerEntry, type LedgerKey } from '../sagas/ledger.ts';
import {
  reportOf,
  type OrphanReport,
  type OrphanSettler,
  type OrphanWork,
  type Settled,
} from '../sagas/modules.ts';
import type { Services } from '../services.ts';
import {
  insertPending,
  lockSource,
  removeSource,
  type Crossing,
  type Transfer,
} from './contracts.ts';
import { ORDER_STATE } from './statements.ts';
import { removeFromTarget, sourceOf, targetOf, unlockSource } from './transfer-effects.ts';
import { FIND_HELD } from './transfer-statements.ts';
import { confirmNow, stepNameOf } from './transfer-steps.ts';

/** Rows settled at once: each is two short transactions. */
const AT_ONCE = 4;

/** A row that is locked at its source or pending at its target. */
interface Held {
  readonly transfer: Transfer;
  readonly isPending: boolean;
  readonly sagaId: string;
}

/**
 * Settles locked and pending orders whose saga is gone: closes the pivot at the source, so that it cannot come late, then
 * confirms a pending row when it was done, and takes the row's own step back when it was not. Idempotent.
 */
export const transferSettler: OrphanSettler = { name: 'order-transfers', settle };

async function settle(services: Services, work: OrphanWork): Promise<OrphanReport> {
  const rows = await services.database.onShard(
    work.shard,
    (shard) => shard.query(FIND_HELD, [sqlNow(work.olderThanMs), work.limit]),
    { deadlineMs: services.config.SAGA_STEP_DEADLINE_MS },
  );
  const settled = await mapBounded(rows, AT_ONCE, (row) => settleOne(services, work, heldIn(row)));
  return reportOf(settled);
}

function heldIn(row: SqlRow): Held {
  const isPending = Number(row['state']) === ORDER_STATE.pending;
  const userId = String(row['user_id']) as UserId;
  const peerUserId = String(row['peer_user_id']) as UserId;
  return {
    transfer: {
      orderId: String(row['order_id']) as OrderId,
      fromUserId: isPending ? peerUserId : userId,
      toUserId: isPending ? userId : peerUserId,
    },
    isPending,
    sagaId: String(row['saga_id']),
  };
}

async function settleOne(services: Services, { lifeOf }: OrphanWork, held: Held): Promise<Settled> {
  const { sagaId } = held;
  try {
    if ((await lifeOf(sagaId)) === 'alive') return 'left';
    const pivot = await closePivot(services, held);
    const isMoved = pivot !== 'closed';
    const isSettled = isMoved
      ? await confirm(services, held, pivot.crossing)
      : await takeBack(services, held);
    // Its own saga, or another run, was faster.
    if (!isSettled) return 'left';
    services.logger.log('warn', 'orders.transfer_settled', { sagaId, moved: isMoved });
    return isMoved ? 'confirmed' : 'released';
  } catch (error) {
    if (!isRetryable(error)) throw error;
    services.logger.log('warn', 'orders.transfer_left', { sagaId, ...errorFields(error) });
    return 'left';
  }
}

/** The pivot as it was done, when the order has left its source for good; else closed: it never runs from here on. */
type Pivot = 'closed' | { readonly crossing: Crossing | null };

function closePivot(services: Services, { transfer, sagaId }: Held): Promise<Pivot> {
  const { bucket } = sourceOf(transfer);
  return inBucket<Pivot>(services, bucket, async (tx, nowMs) => {
    const key = { bucket, sagaId, step: stepNameOf(removeSource) };
    const entry = await enterToSeal(tx, key, nowMs);
    if (entry.kind === 'refused') return entry;
    return answered(
      entry.kind === 'done' ? { crossing: resultOf(removeSource, key, entry) } : 'closed',
    );
  });
}

/** False when the row is not this saga's any more. */
async function confirm(
  services: Services,
  { transfer, isPending, sagaId }: Held,
  crossing: Crossing | null,
): Promise<boolean> {
  if (!isPending) return false;
  const { clock, config } = services;
  const deadlineMs = config.SAGA_STEP_DEADLINE_MS;
  const run = { sagaId, nowMs: clock.nowMs(), deadlineMs };
  return await confirmNow(services, { ...transfer, crossing }, run);
}

/** False when the row is not this saga's any more. */
function takeBack(services: Services, { transfer, isPending, sagaId }: Held): Promise<boolean> {
  const { bucket } = isPending ? targetOf(transfer) : sourceOf(transfer);
  const step = stepNameOf(isPending ? insertPending : lockSource);
  const key = { bucket, sagaId, step };
  return inBucket(services, bucket, async (tx, nowMs): Promise<Attempt<boolean>> => {
    const entry = await enterToUndo(tx, key, nowMs);
    if (entry.kind === 'refused') return entry;
    if (!isPending) return answered(await unlockSource(tx, transfer, { sagaId }));
    const { former } = resultOf(insertPending, key, entry);
    return answered(await removeFromTarget(tx, transfer, { former, sagaId, nowMs }));
  });
}

/** What the step recorded: also of one whose compensation an operator gave up. */
function resultOf<Output>(
  contract: Pick<StepContract<unknown, Output>, 'name' | 'output'>,
  { sagaId }: LedgerKey,
  entry: Exclude<LedgerEntry, { readonly kind: 'refused' }>,
): Output {
  if (entry.kind !== 'done' && entry.kind !== 'undone') {
    throw new BugError(`a row is held for ${sagaId}, whose ledger does not know of it`);
  }
  return checked(contract.name, 'output', contract.output, entry.result);
}

function answered<T>(value: T): Attempt<T> {
  return { kind: 'answered', value };
}

function inBucket<T>(
  services: Services,
  bucket: BucketId,
  run: (tx: SqlRunner, nowMs: number) => Promise<Attempt<T>>,
): Promise<T> {
  return services.database.onOwner<T>(
    bucket,
    (shard) => shard.transaction((tx) => run(tx, services.clock.nowMs())),
    { deadlineMs: services.config.SAGA_STEP_DEADLINE_MS },
  );
}
