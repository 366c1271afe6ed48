import { AppError, PermanentError, RetryableError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import type { OrderRow } from './batch-statements.ts';
import { isMisconfigured, type BatchOutcome, type WriteOptions } from './batch-writer.ts';
import { orderGroup } from './order-group.ts';
import { insertOrder, type BucketOrder } from './store.ts';

const NOTHING: BatchOutcome = {
  inserted: 0,
  duplicates: 0,
  conflicts: [],
  missing: [],
  unsettled: [],
  reason: undefined,
};

/**
 * What `OrderBatchWriter.writeOrders` does, for one order, which then costs the server less: while the shard is busy it goes
 * together with the orders of others (ADR 0023). The same outcome, and as idempotent: what it finds of its own after a lost
 * answer is a duplicate. Throws only what a retry does not help.
 */
export async function writeOrder(
  services: Pick<Services, 'database' | 'probe'>,
  row: OrderRow,
  options: WriteOptions,
): Promise<BatchOutcome> {
  try {
    const written = await insertOnOwner(services, row, options);
    return written === 'new' ? { ...NOTHING, inserted: 1 } : { ...NOTHING, duplicates: 1 };
  } catch (error) {
    return await outcomeOfError(services, row, error);
  }
}

function insertOnOwner(
  { database, probe }: Pick<Services, 'database' | 'probe'>,
  row: OrderRow,
  options: WriteOptions,
): Promise<'new' | 'same'> {
  const order: BucketOrder = { ...row, timeMade: !row.createdAtGiven };
  let tries = 0;
  return database.onOwner(
    row.bucket,
    async (shard) => {
      await probe.reach('orders.beforeInsert');
      tries += 1;
      const alone = () => insertOrder(shard, order);
      // What had to be tried again goes alone: it is not to trouble others twice.
      const answer = tries === 1 ? await shard.grouped(orderGroup, order, alone) : await alone();
      await probe.reach('orders.afterInsert');
      return answer === 'written' ? { kind: 'answered', value: 'new' } : answer;
    },
    options,
  );
}

async function outcomeOfError(
  { database }: Pick<Services, 'database'>,
  row: OrderRow,
  error: unknown,
): Promise<BatchOutcome> {
  if (error instanceof PermanentError) {
    if (error.code === 'user-not-found') return { ...NOTHING, missing: [row] };
    if (error.code === 'order-conflict') return { ...NOTHING, conflicts: [row] };
  }
  if (error instanceof AppError && error.retryable) return unsettled(row, error);
  if (!isMisconfigured(error)) throw error;
  const { shard } = await database.route(row.bucket);
  return unsettled(row, RetryableError.shardUnavailable(shard, { cause: error }));
}

function unsettled(row: OrderRow, reason: AppError): BatchOutcome {
  return { ...NOTHING, unsettled: [row], reason };
}
