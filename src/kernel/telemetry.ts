import type { Logger } from './logger.ts';
import type { MetricDefinition } from './telemetry-names.ts';

export type AttributeValue = string | number | boolean;
/** Keys are those of `telemetry-names.ts`. No secrets, no personal data, no values of statements. */
export type Attributes = Readonly<Record<string, AttributeValue>>;

export interface Counter {
  add(value: number, attributes?: Attributes): void;
}

export interface Histogram {
  record(value: number, attributes?: Attributes): void;
}

/** The span that runs now. Does nothing when its trace was not sampled. */
export interface Span {
  set(name: string, value: AttributeValue): void;
  /** Marks the span as failed, for work that tells a failure by its result. `type` is a stable code. */
  fail(type: string): void;
}

export interface SpanOptions {
  /** Default `internal`: a part of this process's own work. */
  readonly kind?: 'server' | 'consumer' | 'client' | 'internal';
  readonly attributes?: Attributes;
  /** Carried by this span and by all spans below it in this process. */
  readonly inherited?: Attributes;
  /** The span starts afresh below this W3C `traceparent`, or as the root of a new trace when it is not valid. */
  readonly parent?: { readonly traceparent: string | undefined };
}

export interface SpanIds {
  readonly traceId: string;
  readonly spanId: string;
}

/**
 * Traces and metrics, as the app's code sees them. No call throws or waits for an exporter, and nothing here changes what
 * the app does.
 */
export interface Telemetry {
  /** False: nothing is recorded. Hot paths look here first, so that what is off costs a comparison. */
  readonly enabled: boolean;
  /**
   * Runs `work` in a span. What it throws passes unchanged; the span then carries its code, and counts as failed
   * unless it is a `PermanentError`, which is an answer. Messages are never recorded: a driver's may quote values.
   */
  span<T>(name: string, options: SpanOptions, work: (span: Span) => Promise<T>): Promise<T>;
  /** Ids of the span that runs now, for logs. */
  ids(): SpanIds | undefined;
  /** The W3C `traceparent` of the span that runs now, for envelopes of our own. */
  traceparent(): string | undefined;
  /** Links the span that runs now to another trace; what is not a `traceparent` is ignored. */
  link(traceparent: string): void;
  counter(metric: MetricDefinition): Counter;
  histogram(metric: MetricDefinition): Histogram;
  /** Has `read` called at each export; it must be quick. */
  gauge(
    metric: MetricDefinition,
    read: (report: (value: number, attributes: Attributes) => void) => void,
  ): void;
  /** Sends what is left, within the time limit of an export, and stops. Never throws. */
  close(): Promise<void>;
}

const noSpan: Span = { set: () => undefined, fail: () => undefined };
const noCounter: Counter = { add: () => undefined };
const noHistogram: Histogram = { record: () => undefined };

/** Records nothing. */
export const noopTelemetry: Telemetry = {
  enabled: false,
  span: (_name, _options, work) => work(noSpan),
  ids: () => undefined,
  traceparent: () => undefined,
  link: () => undefined,
  counter: () => noCounter,
  histogram: () => noHistogram,
  gauge: () => undefined,
  close: () => Promise.resolve(),
};

/** `logger`, whose lines carry the ids of the span that they are written in. */
export function withTraceIds(logger: Logger, telemetry: Pick<Telemetry, 'ids'>): Logger {
  return {
    log: (level, event, fields) => {
      const ids = telemetry.ids();
      logger.log(level, event, ids === undefined ? fields : { ...fields, ...ids });
    },
    with: (fields) => withTraceIds(logger.with(fields), telemetry),
  };
}
