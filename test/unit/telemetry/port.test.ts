import { expect, test } from 'vitest';
import { loadConfig } from '../../../src/config.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import { noopTelemetry, withTraceIds } from '../../../src/kernel/telemetry.ts';
import { DatabaseError } from '../../../src/database/database-error.ts';
import { errorTypeOf, isAnswer } from '../../../src/telemetry/error-type.ts';
import { startTelemetry } from '../../../src/telemetry/start.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

const required = {
  SHARDS: JSON.stringify([{ name: 'one', host: 'db.invalid', user: 'app', database: 'app' }]),
  AzureWebJobsStorage: 'UseDevelopmentStorage=true',
};
const target = { APPLICATIONINSIGHTS_CONNECTION_STRING: 'InstrumentationKey=0' };

test('telemetry is off unless something says where it goes', async () => {
  const config = loadConfig(required);
  expect(config.TELEMETRY).toBe('off');
  const logger = createRecordingLogger();
  expect(await startTelemetry({ config, logger, clock: systemClock })).toBe(noopTelemetry);
  expect(loadConfig({ ...required, ...target }).TELEMETRY).toBe('azure-monitor');
  expect(loadConfig({ ...required, ...target, TELEMETRY: 'off' }).TELEMETRY).toBe('off');
});

test('a target that is missing or no address stops the app', () => {
  const of = (settings: Record<string, string>) => () => loadConfig({ ...required, ...settings });
  expect(of({ TELEMETRY: 'azure-monitor' })).toThrow(PermanentError);
  expect(of({ TELEMETRY: 'everywhere' })).toThrow(PermanentError);
  expect(of({ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector' })).toThrow(PermanentError);
  expect(of({ TELEMETRY_SAMPLE_PERCENT: '101' })).toThrow(PermanentError);
});

test('off: work runs, its answer and error pass, nothing is named', async () => {
  expect(await noopTelemetry.span('x', {}, () => Promise.resolve(7))).toBe(7);
  const error = new Error('as it was');
  await expect(noopTelemetry.span('x', {}, () => Promise.reject(error))).rejects.toBe(error);
  expect(noopTelemetry.ids()).toBeUndefined();
  expect(noopTelemetry.traceparent()).toBeUndefined();
  await noopTelemetry.close();
});

test('log lines carry the ids of their span, also below `with`', () => {
  const logger = createRecordingLogger();
  const ids = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) };
  let current: typeof ids | undefined = ids;
  const traced = withTraceIds(logger, { ids: () => current }).with({ shardId: 1 });
  traced.log('info', 'one');
  current = undefined;
  traced.log('info', 'two');
  expect(logger.events.map(({ fields }) => fields)).toEqual([
    { shardId: 1, ...ids },
    { shardId: 1 },
  ]);
});

test('an error is told by a stable word', () => {
  expect(errorTypeOf(new DatabaseError('contention'))).toBe('contention');
  expect(errorTypeOf(RetryableError.storageUnavailable({}))).toBe('storage-unavailable');
  expect(errorTypeOf(new TypeError('ada@example.com'))).toBe('TypeError');
  expect(errorTypeOf('text')).toBe('string');
  expect(isAnswer(new PermanentError('user-not-found', 'x'))).toBe(true);
  expect(isAnswer(new PermanentError('internal', 'x'))).toBe(false);
});
