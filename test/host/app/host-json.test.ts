import { mkdtempSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readHostSettings } from '../../../local/host/app/host-json.ts';
import { parseTimeSpan } from '../../../local/host/app/time-span.ts';

function read(json: unknown, env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'shardline-host-json-'));
  writeFileSync(join(folder, 'host.json'), typeof json === 'string' ? json : JSON.stringify(json));
  return readHostSettings(folder, env);
}

describe('host.json', () => {
  test('defaults are those of Azure, except for the polling interval of development', () => {
    expect(read({ version: '2.0' })).toEqual({
      functionTimeoutMs: 1_800_000,
      functions: undefined,
      logLevels: {},
      http: {
        routePrefix: 'api',
        maxConcurrentRequests: -1,
        maxOutstandingRequests: -1,
        customHeaders: {},
      },
      queues: {
        batchSize: 16,
        newBatchThreshold: 8 * availableParallelism(),
        maxDequeueCount: 5,
        visibilityTimeoutMs: 0,
        maxPollingIntervalMs: 2000,
        messageEncoding: 'base64',
      },
      durable: {
        hubName: 'TestHubName',
        maxConcurrentActivityFunctions: 10 * availableParallelism(),
        maxConcurrentOrchestratorFunctions: 10 * availableParallelism(),
        maxConcurrentEntityFunctions: 10 * availableParallelism(),
        maxOrchestrationActions: 100_000,
        overridableExistingInstanceStates: 'NonRunningStates',
      },
    });
  });

  test('values are read, and the environment overrides them without regard to case', () => {
    const json = {
      functionTimeout: '-1',
      functions: ['a'],
      extensions: {
        http: { routePrefix: '/v1/' },
        queues: { batchSize: 4, visibilityTimeout: '00:00:05', maxPollingInterval: '00:01:00' },
        durableTask: { hubName: 'Mine', maxConcurrentActivityFunctions: 3 },
      },
    };
    const settings = read(json, {
      AzureFunctionsJobHost__extensions__queues__BATCHSIZE: '8',
      AzureFunctionsJobHost__extensions__durableTask__hubName: 'Other',
      AzureFunctionsJobHost__logging__logLevel__default: 'Debug',
    });
    expect(settings.functionTimeoutMs).toBeUndefined();
    expect(settings.functions).toEqual(new Set(['a']));
    expect(settings.http.routePrefix).toBe('v1');
    expect(settings.queues).toMatchObject({
      batchSize: 8,
      visibilityTimeoutMs: 5000,
      maxPollingIntervalMs: 2000,
    });
    expect(settings.durable).toMatchObject({ hubName: 'Other', maxConcurrentActivityFunctions: 3 });
    expect(settings.logLevels).toEqual({ default: 'Debug' });
  });

  test('all wrong values are told at once', () => {
    const queues = { batchSize: 33, visibilityTimeout: 'soon', messageEncoding: 'hex' };
    expect(() => read({ extensions: { queues } })).toThrow(
      /"batchSize" must be a whole number from 1 to 32, but is 33[\s\S]*"visibilityTimeout"[\s\S]*"messageEncoding" must be "base64" or "none"/,
    );
    expect(() => read('{ not json')).toThrow(/cannot be read/);
  });
});

test.each([
  ['00:00:01', 1000],
  ['01:02:03', 3_723_000],
  ['2.00:00:00', 172_800_000],
  ['00:00:00.25', 250],
  ['24:00:00', undefined],
  ['1:60:00', undefined],
  ['0 * * * * *', undefined],
  ['5', undefined],
])('the time span %s is %s ms', (text, expected) => {
  expect(parseTimeSpan(text)).toBe(expected);
});
