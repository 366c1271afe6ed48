import { AppError, PermanentError } from '../kernel/errors.ts';
import type { Telemetry } from '../kernel/telemetry.ts';
import {
  ATTRIBUTES,
  INGESTION_TARGET_MS,
  METRICS,
  ORDER_WRITE_TARGET_MS,
} from '../kernel/telemetry-names.ts';
import type { Services } from '../services.ts';
import type { Placed } from './place-order.ts';

type OrderOutcome = 'created' | 'replayed' | 'refused' | 'unavailable' | 'failed';
type OrderSource = 'http' | 'queue' | 'batch';

const A = ATTRIBUTES;

/** Places one order over HTTP, and tells how that went and whether it was in time. */
export async function measurePlacing(
  { telemetry, clock }: Pick<Services, 'telemetry' | 'clock'>,
  place: () => Promise<Placed>,
): Promise<Placed> {
  const startedMs = clock.monotonicMs();
  let outcome: OrderOutcome = 'failed';
  try {
    const placed = await place();
    outcome = placed.kind;
    return placed;
  } catch (error) {
    outcome = outcomeOfError(error);
    throw error;
  } finally {
    const ms = clock.monotonicMs() - startedMs;
    const attributes = { [A.source]: 'http', [A.outcome]: outcome };
    telemetry.histogram(METRICS.orderWriteDuration).record(ms, attributes);
    const inTime = ms <= ORDER_WRITE_TARGET_MS;
    telemetry.counter(METRICS.orderWrites).add(1, { ...attributes, [A.inTime]: inTime });
  }
}

/** A refusal is the right answer to a wrong request; everything else is ours. */
export function outcomeOfError(error: unknown): OrderOutcome {
  if (error instanceof PermanentError && error.code !== 'internal') return 'refused';
  return error instanceof AppError && error.retryable ? 'unavailable' : 'failed';
}

/** What became of orders that came in many at once. */
export interface OrderCounts {
  readonly created: number;
  readonly replayed: number;
  readonly refused: number;
  readonly unavailable: number;
}

/** Tells what became of orders that did not come one by one; a redelivery is counted again. */
export function countOrders(
  telemetry: Telemetry,
  source: Exclude<OrderSource, 'http'>,
  counts: OrderCounts,
): void {
  if (!telemetry.enabled) return;
  const writes = telemetry.counter(METRICS.orderWrites);
  for (const [outcome, orders] of Object.entries(counts) as [string, number][]) {
    if (orders > 0) writes.add(orders, { [A.source]: source, [A.outcome]: outcome });
  }
}

/** Tells how long queue orders waited, from when their message first came. */
export function tellIngestionDelay(
  telemetry: Telemetry,
  { orders, delayMs }: { readonly orders: number; readonly delayMs: number },
): void {
  if (!telemetry.enabled || orders === 0) return;
  telemetry.histogram(METRICS.ingestionDelay).record(delayMs);
  const inTime = delayMs <= INGESTION_TARGET_MS;
  telemetry.counter(METRICS.ingestedOrders).add(orders, { [A.inTime]: inTime });
}
