import { TracerProvider, type ReadableSpan } from '@opentelemetry/sdk-trace';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { expect, test } from 'vitest';
import { loadConfig } from '../../../src/config.ts';
import { entraClientId, inBackground, MAX_QUEUED_SPANS } from '../../../src/telemetry/exporters.ts';

const config = loadConfig({
  SHARDS: JSON.stringify([{ name: 'one', host: 'db.invalid', user: 'app', database: 'app' }]),
  AzureWebJobsStorage: 'UseDevelopmentStorage=true',
  TELEMETRY_EXPORT_TIMEOUT_MS: '100',
});

const noMetrics = {
  export: () => undefined,
  selectAggregationTemporality: () => AggregationTemporality.DELTA,
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

test('an exporter that hangs makes spans be dropped, not kept', async () => {
  const held: ReadableSpan[] = [];
  const { spanProcessor } = inBackground(
    {
      spans: {
        // Never says that it is done.
        export: (spans) => void held.push(...spans),
        shutdown: () => Promise.resolve(),
      },
      metrics: noMetrics,
    },
    config,
  );
  const tracer = new TracerProvider({ spanProcessors: [spanProcessor] }).getTracer('test');
  for (let n = 0; n < 20_000; n++) tracer.startSpan('x').end();
  await spanProcessor.shutdown().catch(() => undefined);
  expect(held.length).toBeLessThanOrEqual(2 * MAX_QUEUED_SPANS);
});

test.each([
  ['ClientId=abc-1;Authorization=AAD', 'abc-1'],
  ['authorization=aad;clientid=x', 'x'],
  ['Authorization=AAD', ''],
  ['ClientId=abc', undefined],
  [undefined, undefined],
])('the identity in %s is %s', (text, identity) => {
  expect(entraClientId(text)).toBe(identity);
});
