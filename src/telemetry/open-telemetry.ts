import {
  context,
  createContextKey,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Context,
  type Span as OtelSpan,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, type MetricReader } from '@opentelemetry/sdk-metrics';
import { TracerProvider, type SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Attributes, Span, SpanIds, SpanOptions, Telemetry } from '../kernel/telemetry.ts';
import { ATTRIBUTES, type MetricDefinition } from '../kernel/telemetry-names.ts';
import { errorTypeOf, isAnswer } from './error-type.ts';
import { createSampler } from './sampler.ts';

export interface OpenTelemetryOptions {
  readonly spanProcessor: SpanProcessor;
  readonly metricReader: MetricReader;
  /** Of the traces that begin here or were sampled by whoever called. */
  readonly samplePercent: number;
  /** The longest that closing waits for the exporters, milliseconds. */
  readonly closeTimeoutMs: number;
  readonly serviceInstance: string;
  /**
   * The host reports each invocation as a request of its own (Application Insights): ours are then part of it instead of
   * a second one.
   */
  readonly hostReportsRequests: boolean;
}

const NAME = 'shardline';
const INHERITED = createContextKey('shardline inherited attributes');
const KINDS = {
  server: SpanKind.SERVER,
  consumer: SpanKind.CONSUMER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
} as const;
/** A stack of spans that never ends would be a bug; what one span carries stays small in any case. */
const SPAN_LIMITS = {
  attributeCountLimit: 32,
  attributeValueLengthLimit: 2_000,
  linkCountLimit: 8,
};

/**
 * {@link Telemetry} by OpenTelemetry. Becomes the process's own: the client of durable-functions takes the context of a
 * start from the one API of the process. To be called once.
 */
export function createOpenTelemetry(options: OpenTelemetryOptions): Telemetry {
  const resource = resourceFromAttributes({
    'service.name': NAME,
    'service.instance.id': options.serviceInstance,
  });
  const propagator = new W3CTraceContextPropagator();
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(propagator);
  const tracers = new TracerProvider({
    resource,
    sampler: createSampler(options.samplePercent),
    spanLimits: SPAN_LIMITS,
    spanProcessors: [options.spanProcessor],
  });
  const meters = new MeterProvider({ resource, readers: [options.metricReader] });
  const tracer = tracers.getTracer(NAME);
  const meter = meters.getMeter(NAME);
  const instrument = ({ unit, description }: { unit: string; description: string }) => ({
    unit,
    description,
  });

  // Making one again would be checked against the first each time.
  const counter = perName((metric) => meter.createCounter(metric.name, instrument(metric)));
  const histogram = perName((metric) => meter.createHistogram(metric.name, instrument(metric)));

  const gauge = perName((metric) => meter.createObservableGauge(metric.name, instrument(metric)));

  const parentOf = ({ parent }: SpanOptions): Context =>
    parent === undefined ? context.active() : remoteParent(propagator, parent.traceparent);

  const kindOf = ({ kind = 'internal' }: SpanOptions): SpanKind =>
    options.hostReportsRequests && kind !== 'client' ? SpanKind.INTERNAL : KINDS[kind];

  return {
    enabled: true,
    span: (name, spanOptions, work) => {
      const within = inherit(parentOf(spanOptions), spanOptions.inherited);
      const span = tracer.startSpan(name, { kind: kindOf(spanOptions) }, within);
      if (span.isRecording()) {
        span.setAttributes({
          ...(within.getValue(INHERITED) as Attributes | undefined),
          ...spanOptions.attributes,
        });
      }
      return context.with(trace.setSpan(within, span), () => finish(span, work));
    },
    ids: activeIds,
    traceparent: () => {
      const active = trace.getSpanContext(context.active());
      if (active === undefined) return undefined;
      const flags = (active.traceFlags & TraceFlags.SAMPLED) === 0 ? '00' : '01';
      return `00-${active.traceId}-${active.spanId}-${flags}`;
    },
    link: (traceparent) => {
      const other = trace.getSpanContext(remoteParent(propagator, traceparent));
      if (other !== undefined) trace.getActiveSpan()?.addLink({ context: other });
    },
    counter,
    histogram,
    gauge: (metric, read) => {
      gauge(metric).addCallback((result) => {
        read((value, attributes) => result.observe(value, attributes));
      });
    },
    close: async () => {
      const closing = Promise.allSettled([tracers.shutdown(), meters.shutdown()]);
      await orAfter(options.closeTimeoutMs, closing);
    },
  };
}

function perName<T>(make: (metric: MetricDefinition) => T): (metric: MetricDefinition) => T {
  const made = new Map<string, T>();
  return (metric) => {
    const known = made.get(metric.name);
    if (known !== undefined) return known;
    const fresh = make(metric);
    made.set(metric.name, fresh);
    return fresh;
  };
}

function activeIds(): SpanIds | undefined {
  const active = trace.getSpanContext(context.active());
  return active === undefined ? undefined : { traceId: active.traceId, spanId: active.spanId };
}

function remoteParent(
  propagator: W3CTraceContextPropagator,
  traceparent: string | undefined,
): Context {
  if (traceparent === undefined) return ROOT_CONTEXT;
  return propagator.extract(ROOT_CONTEXT, { traceparent }, HEADERS);
}

const HEADERS = {
  get: (carrier: unknown, key: string) => (carrier as Record<string, string>)[key],
  keys: (carrier: unknown) => Object.keys(carrier as object),
};

function inherit(within: Context, more: Attributes | undefined): Context {
  if (more === undefined) return within;
  const before = within.getValue(INHERITED) as Attributes | undefined;
  return within.setValue(INHERITED, { ...before, ...more });
}

async function finish<T>(span: OtelSpan, work: (span: Span) => Promise<T>): Promise<T> {
  try {
    return await work({
      set: (name, value) => void span.setAttribute(name, value),
      fail: (type) => markFailed(span, type),
    });
  } catch (error) {
    const type = errorTypeOf(error);
    if (isAnswer(error)) span.setAttribute(ATTRIBUTES.errorType, type);
    else markFailed(span, type);
    throw error;
  } finally {
    span.end();
  }
}

function markFailed(span: OtelSpan, type: string): void {
  span.setAttribute(ATTRIBUTES.errorType, type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

async function orAfter(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
