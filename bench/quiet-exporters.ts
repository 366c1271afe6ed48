import { ExportResultCode } from '@opentelemetry/core';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { loadConfig } from '../src/config.ts';
import type { Exporters } from '../src/telemetry/exporters.ts';

/** Take everything and send nothing. */
export const quietExporters: Exporters = {
  spans: {
    export: (_spans, done) => done({ code: ExportResultCode.SUCCESS }),
    shutdown: () => Promise.resolve(),
  },
  metrics: {
    export: (_metrics, done) => done({ code: ExportResultCode.SUCCESS }),
    selectAggregationTemporality: () => AggregationTemporality.DELTA,
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  },
};

export const benchSettings = loadConfig({
  SHARDS: JSON.stringify([{ name: 'bench', host: 'db.invalid', user: 'app', database: 'app' }]),
  AzureWebJobsStorage: 'UseDevelopmentStorage=true',
});
