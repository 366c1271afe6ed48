import { AggregationTemporality, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import type { MetricReader, PushMetricExporter } from '@opentelemetry/sdk-metrics';
import {
  BatchSpanProcessor,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace';
import type { Config } from '../config.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLogExporters } from './log-exporters.ts';

export type ActiveMode = Exclude<Config['TELEMETRY'], 'off'>;

export interface Exporters {
  readonly spans: SpanExporter;
  readonly metrics: PushMetricExporter;
}

/**
 * Spans kept in memory while the exporter is slow or away; what comes beyond is dropped. With about 1 KB each this is
 * 2 MB.
 */
export const MAX_QUEUED_SPANS = 2_048;
const MAX_SPANS_PER_EXPORT = 512;
const SPAN_EXPORT_EVERY_MS = 2_000;
/** Exports under way at once per signal; each holds one batch. */
const MAX_EXPORTS_AT_ONCE = 2;

/** The exporters of a mode. Only those of the mode are loaded: the others would cost each cold start. */
export async function createExporters(
  mode: ActiveMode,
  config: Config,
  logger: Logger,
): Promise<Exporters> {
  switch (mode) {
    case 'console':
      return createLogExporters(logger);
    case 'otlp':
      return await otlpExporters(config);
    case 'azure-monitor':
      return await azureExporters(config);
  }
}

/** Batches in the background; neither waits for an exporter nor grows without a bound. */
export function inBackground(
  { spans, metrics }: Exporters,
  config: Config,
): { readonly spanProcessor: SpanProcessor; readonly metricReader: MetricReader } {
  const timeoutMs = config.TELEMETRY_EXPORT_TIMEOUT_MS;
  return {
    spanProcessor: new BatchSpanProcessor({
      exporter: spans,
      maxQueueSize: MAX_QUEUED_SPANS,
      maxExportBatchSize: MAX_SPANS_PER_EXPORT,
      scheduledDelayMillis: SPAN_EXPORT_EVERY_MS,
      exportTimeoutMillis: timeoutMs,
    }),
    metricReader: new PeriodicExportingMetricReader({
      exporter: metrics,
      exportIntervalMillis: config.TELEMETRY_METRIC_INTERVAL_MS,
      exportTimeoutMillis: Math.min(timeoutMs, config.TELEMETRY_METRIC_INTERVAL_MS),
    }),
  };
}

async function otlpExporters(config: Config): Promise<Exporters> {
  const [{ OTLPTraceExporter }, { OTLPMetricExporter }] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/exporter-metrics-otlp-http'),
  ]);
  const base = config.OTEL_EXPORTER_OTLP_ENDPOINT.replace(/\/+$/, '');
  const common = {
    timeoutMillis: config.TELEMETRY_EXPORT_TIMEOUT_MS,
    concurrencyLimit: MAX_EXPORTS_AT_ONCE,
  };
  return {
    spans: new OTLPTraceExporter({ ...common, url: `${base}/v1/traces` }),
    metrics: new OTLPMetricExporter({
      ...common,
      url: `${base}/v1/metrics`,
      // Histograms of what is looked at now and then must not repeat the last look for ever.
      temporalityPreference: AggregationTemporality.DELTA,
    }),
  };
}

async function azureExporters(config: Config): Promise<Exporters> {
  const { AzureMonitorMetricExporter, AzureMonitorTraceExporter } =
    await import('@azure/monitor-opentelemetry-exporter');
  const clientId = entraClientId(config.APPLICATIONINSIGHTS_AUTHENTICATION_STRING);
  const options = {
    connectionString: config.APPLICATIONINSIGHTS_CONNECTION_STRING ?? '',
    // What cannot be sent is dropped: an instance's disk is small and goes away with it.
    disableOfflineStorage: true,
    ...(clientId === undefined ? {} : { credential: await managedIdentity(clientId) }),
  };
  return {
    spans: new AzureMonitorTraceExporter(options),
    metrics: new AzureMonitorMetricExporter(options),
  };
}

/** The identity named in `ClientId=…;Authorization=AAD`; an empty text is the system's own. Undefined: none is asked for. */
export function entraClientId(text: string | undefined): string | undefined {
  const parts = new Map(
    (text ?? '').split(';').map((part) => {
      const [name = '', ...value] = part.split('=');
      return [name.trim().toLowerCase(), value.join('=').trim()] as const;
    }),
  );
  return parts.get('authorization')?.toUpperCase() === 'AAD'
    ? (parts.get('clientid') ?? '')
    : undefined;
}

async function managedIdentity(clientId: string) {
  const { ManagedIdentityCredential } = await import('@azure/identity');
  return clientId === ''
    ? new ManagedIdentityCredential()
    : new ManagedIdentityCredential({ clientId });
}
