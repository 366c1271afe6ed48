import { AppError, PermanentError, isRetryable } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { OrderRow } from '../orders/batch-statements.ts';
import { createOrderBatchWriter, toOrderRow, type BatchOutcome } from '../orders/batch-writer.ts';
import { countOrders, tellIngestionDelay } from '../orders/order-telemetry.ts';
import { describeProblems, parseNewOrder, type NewOrder } from '../orders/model.ts';
import { writeOrder } from '../orders/write-order.ts';
import type { Services } from '../services.ts';
import { createOrderIdDeriver } from '../sharding/derived-ids.ts';
import { keepIdentity, putOff } from './defer.ts';
import type { Identity } from './queue-message.ts';

/** Problems told in one log line and error message. */
const SHOWN_PROBLEMS = 5;

export interface DirectMessage {
  readonly identity: Identity;
  /** The whole original message, for copies. */
  readonly message: unknown;
  readonly kind: 'single' | 'message';
  readonly orders: readonly unknown[];
}

/**
 * Writes the orders of one message, each on the shard of its user. What can be written is written; then
 *
 * - a shard that is away: the message is put off (see `defer.ts`) and the delivery completes;
 * - an order that is malformed, in conflict, or of no user: throws a `PermanentError` that names them, so that the
 *   message ends up in the poison queue, from where it may be sent back once the cause is mended.
 */
export async function writeMessage(
  services: Services,
  logger: Logger,
  direct: DirectMessage,
): Promise<void> {
  const { identity } = direct;
  const { rows, problems } = toRows(direct);
  const outcome = await write(services, rows);
  tell(services, direct, outcome, problems.length);
  if (outcome.reason !== undefined) {
    await putOff(services, identity, direct.message, outcome.reason);
    logger.log('warn', 'ingestion.message_deferred', {
      rows: outcome.unsettled.length,
      attempt: (identity.deferral?.attempt ?? 0) + 1,
      errorCode: outcome.reason.code,
    });
    return;
  }
  const refused = [...problems, ...describe(outcome)];
  if (refused.length === 0) {
    logger.log('debug', 'ingestion.message_written', { rows: rows.length });
    return;
  }
  if (needsIdentity(direct, outcome)) {
    await keepIdentity(services, identity, direct.message);
    logger.log('warn', 'ingestion.message_relabelled', { refused: refused.length });
    return;
  }
  throw refusal(outcome, refused);
}

/** One order goes with those of others where it can (ADR 0023); several are a packet of their own for each shard. */
function write(services: Services, rows: readonly OrderRow[]): Promise<BatchOutcome> {
  const options = { deadlineMs: services.config.REQUEST_DEADLINE_MS };
  const [first, ...others] = rows;
  return first !== undefined && others.length === 0
    ? writeOrder(services, first, options)
    : createOrderBatchWriter(services).writeOrders(rows, options);
}

function tell(
  { telemetry, clock }: Services,
  { identity }: DirectMessage,
  outcome: BatchOutcome,
  malformed: number,
): void {
  countOrders(telemetry, 'queue', {
    created: outcome.inserted,
    replayed: outcome.duplicates,
    refused: outcome.conflicts.length + outcome.missing.length + malformed,
    unavailable: outcome.unsettled.length,
  });
  const delayMs = Math.max(0, clock.nowMs() - Date.parse(identity.insertedAt));
  tellIngestionDelay(telemetry, { orders: outcome.inserted, delayMs });
}

/** Runs what may fail for a while only, and puts the message off when it does. */
export async function orPutOff(
  services: Services,
  logger: Logger,
  delivery: { readonly identity: Identity; readonly message: unknown },
  run: () => Promise<void>,
): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof AppError) || !isRetryable(error)) throw error;
    await putOff(services, delivery.identity, delivery.message, error);
    logger.log('warn', 'ingestion.message_deferred', { errorCode: error.code });
  }
}

function toRows(direct: DirectMessage): {
  readonly rows: readonly OrderRow[];
  readonly problems: readonly string[];
} {
  const { messageId, insertedAt } = direct.identity;
  const idOf = createOrderIdDeriver({ kind: direct.kind, source: messageId });
  const rows: OrderRow[] = [];
  const problems: string[] = [];
  direct.orders.forEach((value, ordinal) => {
    const parsed = parseNewOrder(value);
    if (parsed.kind === 'invalid') {
      problems.push(`order ${ordinal + 1}: ${describeProblems(parsed.problems)}`);
      return;
    }
    const order: NewOrder = parsed.order;
    rows.push(toOrderRow(order, { orderId: idOf(ordinal), createdAt: insertedAt }));
  });
  return { rows, problems };
}

function describe(outcome: BatchOutcome): string[] {
  return [
    ...outcome.missing.map((row) => `user ${row.userId} does not exist`),
    ...outcome.conflicts.map((row) => `order ${row.orderId} is there already with other content`),
  ];
}

/** Whether a copy sent back from the poison queue under a new message id could insert something twice. */
function needsIdentity(direct: DirectMessage, outcome: BatchOutcome): boolean {
  const wroteSome = outcome.inserted + outcome.duplicates > 0;
  return direct.kind === 'message' && wroteSome && direct.identity.deferral === undefined;
}

function refusal(outcome: BatchOutcome, refused: readonly string[]): PermanentError {
  const code =
    outcome.missing.length > 0
      ? 'user-not-found'
      : outcome.conflicts.length > 0
        ? 'order-conflict'
        : 'validation-failed';
  const shown = refused.slice(0, SHOWN_PROBLEMS).join('; ');
  const more =
    refused.length > SHOWN_PROBLEMS ? `; and ${refused.length - SHOWN_PROBLEMS} more` : '';
  return new PermanentError(code, `Refused of this message: ${shown}${more}.`, {
    details: { refused: refused.length },
  });
}
