import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { loadConfig, SETTING_NAMES } from '../../src/config.ts';

const sample = z
  .object({ Values: z.record(z.string(), z.string()) })
  .parse(JSON.parse(readFileSync('local.settings.sample.json', 'utf8'))).Values;

/** What only a deployment has, such as a managed identity instead of a connection string: the sample is the local form. */
const AZURE_SETTINGS = /^(?:AzureWebJobsStorage__|APPLICATIONINSIGHTS_|AZURE_CLIENT_ID$)/;

test('the sample settings are usable as they stand', () => {
  expect(() => loadConfig(sample)).not.toThrow();
});

test('the sample shows every setting, and none that the app does not read', () => {
  const known = SETTING_NAMES.filter((name) => !AZURE_SETTINGS.test(name));
  const shown = Object.keys(sample).filter((name) => name !== 'FUNCTIONS_WORKER_RUNTIME');
  expect(shown.toSorted()).toEqual(known.toSorted());
});

test('the sample shows the defaults', () => {
  const required = { SHARDS: sample['SHARDS'], AzureWebJobsStorage: sample['AzureWebJobsStorage'] };
  expect(loadConfig(sample)).toEqual(loadConfig(required));
});
