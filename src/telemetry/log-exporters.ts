import { ExportResultCode, hrTimeToMilliseconds, type ExportResult } from '@opentelemetry/core';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { Logger } from '../kernel/logger.ts';
import type { Exporters } from './exporters.ts';

const DONE: ExportResult = { code: ExportResultCode.SUCCESS };

/** One log line per span and per series of a metric, for reading on a developer's machine. */
export function createLogExporters(logger: Logger): Exporters {
  return {
    spans: {
      export: (spans, done) => {
        for (const span of spans) logger.log('info', 'telemetry.span', spanFields(span));
        done(DONE);
      },
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    },
    metrics: {
      export: (metrics, done) => {
        for (const fields of seriesOf(metrics)) logger.log('info', 'telemetry.metric', fields);
        done(DONE);
      },
      selectAggregationTemporality: () => AggregationTemporality.DELTA,
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    },
  };
}

function spanFields(span: ReadableSpan) {
  const { traceId, spanId } = span.spanContext();
  return {
    name: span.name,
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    durationMs: Math.round(hrTimeToMilliseconds(span.duration) * 100) / 100,
    attributes: span.attributes,
  };
}

function seriesOf({ scopeMetrics }: ResourceMetrics) {
  return scopeMetrics.flatMap(({ metrics }) =>
    metrics.flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => ({ name: descriptor.name, attributes, value })),
    ),
  );
}
