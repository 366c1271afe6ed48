import type { StepError } from '../durable/saga/step.ts';
import type { SagaOutcome, SagaStatus, StepView } from '../durable/saga/view.ts';
import { PermanentError, RetryableError, type AppError, type ErrorCode } from '../kernel/errors.ts';
import type { Timestamp } from '../kernel/time.ts';
import type { SagaId } from './saga-id.ts';

/**
 * The name under which a saga's local transaction stands in the ledger and in its steps. No step of a table may have it.
 */
export const LOCAL_STEP = 'local';

/** A saga's row in the journal. */
export interface SagaRecord {
  readonly sagaId: SagaId;
  readonly kind: string;
  readonly status: SagaStatus;
  readonly attention: boolean;
  readonly input: unknown;
  /** As last written down; undefined until the saga first does so. While it runs its custom status knows more. */
  readonly steps: readonly StepView[] | undefined;
  /** Present when it has ended. */
  readonly outcome: SagaOutcome | undefined;
  readonly createdAt: Timestamp;
  readonly updatedAt: Timestamp;
  readonly finishedAt: Timestamp | undefined;
}

/** A saga's row once it has ended: it never changes again. */
export type EndedRecord = SagaRecord & { readonly outcome: SagaOutcome };

export function isEnded(record: SagaRecord): record is EndedRecord {
  return record.outcome !== undefined;
}

/** JSON with the fields of objects in order: equal texts for equal values. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** A failure as it may travel: what a caller may see of it. */
export function stepErrorOf(error: AppError): StepError {
  const { code, message, problems } = error;
  return { code, message, ...(problems.length > 0 && { problems: [...problems] }) };
}

/** Codes after which the same request, as a new saga, may succeed. */
const TRY_LATER: ReadonlySet<string> = new Set<ErrorCode>([
  'shard-unavailable',
  'storage-unavailable',
  'too-many-requests',
]);

/** Tells the caller again to wait so long before a new try, seconds. */
const RETRY_AFTER_SECONDS = 2;

/** The error that a recorded failure stands for: retryable by its code. */
export function errorOfRecord(recorded: StepError): PermanentError | RetryableError {
  const { message, problems = [] } = recorded;
  const code = recorded.code as ErrorCode;
  return TRY_LATER.has(code)
    ? new RetryableError(code, message, { retryAfterSeconds: RETRY_AFTER_SECONDS })
    : new PermanentError(code, message, { problems });
}
