import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { deploymentProblems, PROFILES } from '../../../tools/deploy/profile-checks.ts';
import { readFunctions, readSkus } from '../../../tools/plan/skus.ts';

const facts = { skus: readSkus(), functions: readFunctions() };
const problems = (env: Record<string, string> = {}) => deploymentProblems(env, facts);
const main = readFileSync('infra/main.bicep', 'utf8');

describe.each(['dev', 'prod'] as const)('the profile %s', (name) => {
  test('fits as it stands', () => {
    expect(problems({ PROFILE: name })).toEqual([]);
  });

  test('says the same in Bicep and in the check before provisioning', () => {
    const block = new RegExp(`\\n  ${name}: \\{([^}]*)\\}`).exec(main)?.[1] ?? '';
    const value = (key: string): string | undefined =>
      new RegExp(`\\b${key}: '?(\\w+)`).exec(block)?.[1];
    const inBicep = Object.keys(PROFILES[name]).map((key) => [key, value(key)]);
    expect(inBicep).toEqual(Object.entries(PROFILES[name]).map(([key, is]) => [key, String(is)]));
  });
});

describe('a deployment is refused', () => {
  test.each([
    [
      { MAX_INSTANCES: '200' },
      /^Connections: \(4 scaling groups x 200 instances \+ \d+\) x 5 connections/,
    ],
    [{ MYSQL_SKU: 'Standard_X' }, /"Standard_X" is none of Standard_B1ms/],
    [{ MYSQL_MAX_CONNECTIONS: '500' }, /more than the 341 that Standard_B1ms takes/],
    [{ MYSQL_HIGH_AVAILABILITY: 'ZoneRedundant' }, /not to be had on Standard_B1ms/],
    [{ PROFILE: 'prod', ALWAYS_READY: '1' }, /at least 2/],
    [{ PROFILE: 'test' }, /^PROFILE: /],
    [{ SHARD_COUNT: '65' }, /^SHARD_COUNT: /],
    [{ CLIENT_IP_ADDRESS: 'here' }, /IPv4/],
    [{ APP_PASSWORD: 'short' }, /^APP_PASSWORD: it has 5 characters; 16 to 128/],
    [
      { APP_PASSWORD: 'long-enough-to-be-one', MYSQL_ENTRA_ONLY: 'true' },
      /^APP_PASSWORD: with MYSQL_ENTRA_ONLY/,
    ],
  ])('%j', (env, words) => {
    expect(problems(env)).toEqual([expect.stringMatching(words)]);
  });
});

test('a secret that azd does not have arrives as its own name, and counts as not set', () => {
  expect(problems({ APP_PASSWORD: 'APP_PASSWORD', MYSQL_ENTRA_ONLY: 'true' })).toEqual([]);
  expect(() => problems({ APP_PASSWORD: 'akvs://a/b/c' })).toThrow(/reference to a secret/);
});

test('variables that a pipeline hands on empty count as not set', () => {
  expect(
    problems({ PROFILE: '', MAX_INSTANCES: '', CLIENT_IP_ADDRESS: '', MYSQL_SKU: '' }),
  ).toEqual([]);
});

test('the arithmetic is the same sentence in Bicep', () => {
  const sentence = readFileSync('infra/app/budget.bicep', 'utf8');
  expect(sentence).toContain('lower MAX_INSTANCES or the pool sizes, or take a larger MYSQL_SKU');
  expect(sentence).toContain('var wanted = instances * connectionsPerInstance');
  expect(sentence).toContain('var allowed = maxConnections * sharePercent / 100');
});
