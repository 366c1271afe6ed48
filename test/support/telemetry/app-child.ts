import { writeFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { app } from '@azure/functions';
import { composeApp } from '../../../src/compose.ts';
import { createOpenTelemetry } from '../../../src/telemetry/open-telemetry.ts';
import { FOLDER, REPORT_FILE } from './report.ts';

/**
 * Entry of the app for tests of telemetry: the product from its sources, with exporters that keep everything in memory. A
 * request to `/api/test-telemetry` has what there is written down, in whole.
 */
const folder = process.env[FOLDER];
if (folder === undefined) throw new Error(`${FOLDER} is not set`);

const spans = new InMemorySpanExporter();
const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const metricReader = new PeriodicExportingMetricReader({
  exporter: metrics,
  exportIntervalMillis: 3_600_000,
  exportTimeoutMillis: 5_000,
});

await composeApp({
  telemetry: createOpenTelemetry({
    spanProcessor: new SimpleSpanProcessor({ exporter: spans }),
    metricReader,
    samplePercent: 100,
    closeTimeoutMs: 1_000,
    serviceInstance: 'test',
    hostReportsRequests: false,
  }),
});

app.http('test-telemetry', {
  methods: ['GET'],
  route: 'test-telemetry',
  authLevel: 'anonymous',
  handler: async () => {
    metrics.reset();
    await metricReader.forceFlush();
    const report = {
      spans: spans.getFinishedSpans().map((span) => ({
        name: span.name,
        kind: span.kind,
        traceId: span.spanContext().traceId,
        spanId: span.spanContext().spanId,
        parentSpanId: span.parentSpanContext?.spanId ?? null,
        links: span.links.map(({ context }) => context.traceId),
        status: span.status.code,
        events: span.events.length,
        attributes: span.attributes,
      })),
      metrics: metrics.getMetrics().flatMap(({ scopeMetrics }) =>
        scopeMetrics.flatMap((scope) =>
          scope.metrics.flatMap(({ descriptor, dataPoints }) =>
            dataPoints.map(({ attributes, value }) => ({
              name: descriptor.name,
              unit: descriptor.unit,
              attributes,
              value: typeof value === 'number' ? value : (value as { count: number }).count,
            })),
          ),
        ),
      ),
    };
    const draft = path.join(folder, `${REPORT_FILE}.draft`);
    writeFileSync(draft, JSON.stringify(report));
    renameSync(draft, path.join(folder, REPORT_FILE));
    return { status: 204 };
  },
});
