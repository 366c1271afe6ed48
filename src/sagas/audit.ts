import type { SqlRow, SqlRunner } from '../database/contracts.ts';
import { lockOwned } from '../database/statements.ts';
import { sqlNow } from '../database/ownership.ts';
import { refusalAfterNothing, refusalInRow } from '../database/refusals.ts';
import type { OperatorVerb } from '../durable/saga/record.ts';
import { fromSqlDatetime, type Timestamp } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { INSERT_ENTRY, READ_ENTRIES, SETTLE_ENTRY } from './audit-statements.ts';
import { homeBucketOf, type SagaId } from './saga-id.ts';

/** Entries shown of one saga: operators act by hand. */
export const MAX_ENTRIES_SHOWN = 200;

export type EntryState = 'requested' | 'applied' | 'refused';

/** What an operator asks of a saga. */
export interface AuditRequest {
  readonly sagaId: SagaId;
  /** Unique in the saga; decimal text. */
  readonly entry: string;
  readonly verb: OperatorVerb;
  /** The step that is meant, or that it was at when it was asked; null when not known. */
  readonly step: string | null;
  readonly reason: string;
  readonly requestedBy: string | null;
  readonly requestId: string;
  readonly requestedAtMs: number;
}

/** An entry as it stands. */
export interface AuditEntry {
  readonly entry: string;
  readonly verb: string;
  readonly step: string | null;
  readonly reason: string;
  readonly requestedBy: string | null;
  readonly requestId: string;
  readonly requestedAt: Timestamp;
  readonly state: EntryState;
  readonly settledAt: Timestamp | null;
}

/** Writes down what was asked, in the saga's home bucket. Idempotent by saga and entry. */
export async function recordRequest(services: Services, request: AuditRequest): Promise<void> {
  const bucket = homeBucketOf(request.sagaId);
  const { sagaId, entry, verb, step, reason, requestedBy, requestId, requestedAtMs } = request;
  await services.database.onOwner<true>(
    bucket,
    async (shard) => {
      const { affectedRows } = await shard.execute(INSERT_ENTRY, [
        sagaId,
        entry,
        verb,
        step,
        reason,
        requestedBy,
        requestId,
        sqlNow(requestedAtMs),
        bucket,
      ]);
      if (affectedRows === 0) return await refusalAfterNothing(shard, bucket);
      return { kind: 'answered', value: true };
    },
    { deadlineMs: services.config.REQUEST_DEADLINE_MS },
  );
}

/** Notes what became of an entry. An entry that was settled before stays as it is. */
export async function settleRequest(
  services: Services,
  settled: {
    readonly sagaId: SagaId;
    readonly entry: string;
    readonly state: Exclude<EntryState, 'requested'>;
  },
): Promise<void> {
  const bucket = homeBucketOf(settled.sagaId);
  await services.database.onOwner<true>(
    bucket,
    (shard) =>
      shard.transaction(async (tx) => {
        const owned = await tx.query(lockOwned(1), [bucket]);
        if (owned.length === 0) return await refusalAfterNothing(tx, bucket);
        const now = sqlNow(services.clock.nowMs());
        const { sagaId, entry, state } = settled;
        await tx.execute(SETTLE_ENTRY, [state, now, bucket, sagaId, entry]);
        return { kind: 'answered', value: true };
      }),
    { deadlineMs: services.config.REQUEST_DEADLINE_MS },
  );
}

/** What operators asked of a saga, newest first, at most {@link MAX_ENTRIES_SHOWN}. */
export async function readEntries(
  services: Services,
  sagaId: SagaId,
): Promise<readonly AuditEntry[]> {
  const bucket = homeBucketOf(sagaId);
  return await services.database.onOwner(
    bucket,
    async (shard: SqlRunner) => {
      const rows = await shard.query(READ_ENTRIES, [sagaId, bucket, MAX_ENTRIES_SHOWN]);
      const refusal = refusalInRow(rows[0]);
      if (refusal !== undefined) return refusal;
      const entries = rows.filter((row) => row['entry'] !== null).map(entryInRow);
      return { kind: 'answered', value: entries };
    },
    { deadlineMs: services.config.REQUEST_DEADLINE_MS },
  );
}

function entryInRow(row: SqlRow): AuditEntry {
  const settledAt = row['settled_at'];
  const text = (name: string): string | null => {
    const value = row[name];
    return value === null || value === undefined ? null : String(value);
  };
  return {
    entry: String(row['entry']),
    verb: String(row['verb']),
    step: text('step'),
    reason: String(row['reason']),
    requestedBy: text('requested_by'),
    requestId: String(row['request_id']),
    requestedAt: fromSqlDatetime(String(row['requested_at'])),
    state: row['entry_state'] as EntryState,
    settledAt: typeof settledAt === 'string' ? fromSqlDatetime(settledAt) : null,
  };
}
