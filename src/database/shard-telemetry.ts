import { AppError, PermanentError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Attributes, Telemetry } from '../kernel/telemetry.ts';
import { ATTRIBUTES, METRICS } from '../kernel/telemetry-names.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { DriverConnection, Protocol } from './connection.ts';
import type { OwnershipState } from './contracts.ts';
import { DatabaseError } from './database-error.ts';
import type { ShardPools } from './shard-pools.ts';
import { summaryOf } from './statement-summary.ts';

const A = ATTRIBUTES;
const CIRCUIT_VALUES = { closed: 0, 'half-open': 1, open: 2 } as const;

/** What is told of one shard. Made only when telemetry is on: where there is none, nothing is measured. */
export interface ShardTelemetry {
  /** A connection whose exchanges are spans and are measured; the values of statements are not looked at. */
  watch(connection: DriverConnection): DriverConnection;
  waited(pool: keyof ShardPools, ms: number): void;
  call<T>(work: () => Promise<T>): Promise<T>;
  attemptFailed(failure: string): void;
  redirected(): void;
  pausedForOwner(state: OwnershipState | 'absent', ms: number): void;
}

/** Undefined when telemetry is off. */
export function createShardTelemetry(
  telemetry: Telemetry,
  id: ShardId,
  parts: { readonly pools: ShardPools; readonly breaker: CircuitBreaker },
): ShardTelemetry | undefined {
  if (!telemetry.enabled) return undefined;
  const shard = { [A.shard]: id };
  const calls = telemetry.counter(METRICS.shardCalls);
  const failures = telemetry.counter(METRICS.shardFailures);
  const redirects = telemetry.counter(METRICS.redirects);
  const fenceWait = telemetry.histogram(METRICS.fenceWait);
  const poolWait = telemetry.histogram(METRICS.poolWait);
  const exchanges = createExchanges(telemetry, shard);
  observeShard(telemetry, shard, parts);
  return {
    watch: (connection) => new WatchedConnection(connection, exchanges),
    waited: (pool, ms) => poolWait.record(ms, { ...shard, [A.pool]: pool }),
    call: async (work) => {
      let outcome = 'ok';
      try {
        return await work();
      } catch (error) {
        outcome = outcomeOf(error);
        throw error;
      } finally {
        calls.add(1, { ...shard, [A.outcome]: outcome });
      }
    },
    attemptFailed: (failure) => failures.add(1, { ...shard, [A.errorType]: failure }),
    redirected: () => redirects.add(1, shard),
    pausedForOwner: (state, ms) => fenceWait.record(ms, { ...shard, [A.state]: state }),
  };
}

/** A refusal by the rules of the domain, or a full pool of ours, is no fault of the shard. */
function outcomeOf(error: unknown): 'ok' | 'unavailable' | 'error' {
  if (error instanceof AppError && error.code === 'shard-unavailable') return 'unavailable';
  if (error instanceof DatabaseError && error.retryable) return 'unavailable';
  return error instanceof PermanentError || (error instanceof AppError && error.retryable)
    ? 'ok'
    : 'error';
}

function observeShard(
  telemetry: Telemetry,
  shard: Attributes,
  { pools, breaker }: { readonly pools: ShardPools; readonly breaker: CircuitBreaker },
): void {
  telemetry.gauge(METRICS.circuit, (report) => report(CIRCUIT_VALUES[breaker.state()], shard));
  telemetry.gauge(METRICS.poolConnections, (report) => {
    for (const pool of ['single', 'batch'] as const) {
      for (const [state, value] of Object.entries(pools[pool].use())) {
        report(value, { ...shard, [A.pool]: pool, [A.state]: state });
      }
    }
  });
}

type Run = () => Promise<unknown>;
type Exchange = (protocol: Protocol, text: string, run: Run) => Promise<unknown>;

function createExchanges(telemetry: Telemetry, shard: Attributes): Exchange {
  const duration = telemetry.histogram(METRICS.statementDuration);
  const rowsWritten = telemetry.counter(METRICS.rowsWritten);
  return (protocol, text, run) => {
    const { operation, table, name } = summaryOf(text);
    const attributes = {
      ...shard,
      [A.dbSystem]: 'mysql',
      [A.dbOperation]: operation,
      ...(table === undefined ? {} : { [A.dbTable]: table }),
      // Prepared texts are fixed and have their values apart; others may hold some.
      ...(protocol === 'prepared' ? { [A.dbText]: text } : {}),
    };
    return telemetry.span(name, { kind: 'client', attributes }, async (span) => {
      const startedMs = performance.now();
      let outcome = 'ok';
      try {
        const result = await run();
        const rows = rowsOf(result);
        if (rows > 0) {
          span.set(A.rows, rows);
          rowsWritten.add(rows, shard);
        }
        return result;
      } catch (error) {
        outcome = error instanceof DatabaseError ? error.failure : 'error';
        throw error;
      } finally {
        const ms = performance.now() - startedMs;
        duration.record(ms, { ...shard, [A.operation]: operation, [A.outcome]: outcome });
      }
    });
  };
}

/** Affected rows of a write, or of all writes of a packet. */
function rowsOf(result: unknown): number {
  if (Array.isArray(result)) {
    return result.reduce<number>((sum, part) => sum + (isHeader(part) ? part.affectedRows : 0), 0);
  }
  return isHeader(result) ? result.affectedRows : 0;
}

function isHeader(value: unknown): value is { readonly affectedRows: number } {
  return typeof (value as { affectedRows?: unknown } | null)?.affectedRows === 'number';
}

class WatchedConnection implements DriverConnection {
  readonly #connection: DriverConnection;
  readonly #exchange: Exchange;

  constructor(connection: DriverConnection, exchange: Exchange) {
    this.#connection = connection;
    this.#exchange = exchange;
  }

  run(...[protocol, text, values, limitMs]: Parameters<DriverConnection['run']>): Promise<unknown> {
    return this.#exchange(protocol, text, () =>
      this.#connection.run(protocol, text, values, limitMs),
    );
  }

  get usable(): boolean {
    return this.#connection.usable;
  }

  destroy(): void {
    this.#connection.destroy();
  }

  end(): Promise<void> {
    return this.#connection.end();
  }
}
