import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readPlanArguments } from '../../../tools/plan/arguments.ts';
import { connectionBudget } from '../../../tools/plan/budget.ts';
import { monthlyCost, pricesSchema } from '../../../tools/plan/cost.ts';
import {
  actionsPerOrchestration,
  DTS_CONSUMPTION_ACTIONS,
  DTS_UNIT_ACTIONS,
} from '../../../tools/plan/limits.ts';
import { makePlan, type PlanInput } from '../../../tools/plan/plan.ts';
import { describePlan } from '../../../tools/plan/report.ts';
import { readSkus } from '../../../tools/plan/skus.ts';

const skus = readSkus();
const platform = { skus, queueFunctions: 2, timerFunctions: 1 };

function input(...args: string[]): PlanInput {
  const read = readPlanArguments(args);
  if (read === undefined) throw new Error('help was asked for');
  return read.input;
}

const plan = (...args: string[]) => makePlan(input(...args), platform);

describe('limits of the platform', () => {
  // SKU, vCores, default and most max_connections, IOPS: the documented tables.
  test.each([
    ['Standard_B1ms', 1, 171, 341, 640],
    ['Standard_B2s', 2, 341, 683, 1280],
    ['Standard_D2ads_v5', 2, 683, 1365, 3200],
    ['Standard_D4ads_v5', 4, 1365, 2731, 6400],
    ['Standard_D8ads_v5', 8, 2731, 5461, 12_800],
    ['Standard_D16ads_v5', 16, 5461, 10_923, 20_000],
    ['Standard_E8ads_v5', 8, 5461, 10_923, 18_000],
    ['Standard_E32ads_v5', 32, 21_845, 43_691, 38_000],
  ])('%s', (name, vCores, defaultConnections, maxConnections, maxIops) => {
    expect(skus[name]).toMatchObject({ vCores, defaultConnections, maxConnections, maxIops });
  });

  test('five groups of 40 instances with ten connections are too many for a D4 as it comes', () => {
    const base = { scalingGroups: 5, maxInstances: 40, extraInstances: 0, sharePercent: 80 };
    const budget = connectionBudget({ ...base, connectionsPerInstance: 10, maxConnections: 1365 });
    expect(budget).toMatchObject({ wanted: 2000, allowed: 1092, fits: false });
    expect(budget.arithmetic).toContain(
      '(5 scaling groups x 40 instances + 0) x 10 connections = 2000, but 80 % of max_connections 1365 allows 1092',
    );
  });

  test('a saga of four activities takes nine actions', () => {
    expect(actionsPerOrchestration(4)).toBe(9);
    expect(Math.floor(DTS_CONSUMPTION_ACTIONS / 9)).toBe(55);
    expect(Math.floor(DTS_UNIT_ACTIONS / 9)).toBe(222);
  });

  test.each([
    [10, 'none', 0],
    [55, 'dts-consumption', 0],
    [57, 'dts-dedicated', 1],
    [223, 'dts-dedicated', 2],
  ])('%i sagas a second are kept by %s', (sagas, taskScheduler, taskSchedulerUnits) => {
    const made = plan('--sagas-per-second', String(sagas), '--batch-percent', '0');
    expect(made).toMatchObject({ taskScheduler, taskSchedulerUnits, problems: [] });
  });

  test('what is over a limit is told, with the figures', () => {
    expect(plan('--sagas-per-second', '700').problems.join()).toContain(
      'of the largest Durable Task Scheduler',
    );
    expect(plan('--orders-per-second', '30000', '--batch-percent', '80').problems.join()).toContain(
      'of one queue',
    );
    expect(plan('--instances', '500').problems.join()).toMatch(/connections: .*quota is 250/s);
    expect(plan('--orders-per-second', '50000', '--shards', '2').problems.join()).toContain(
      '2 servers carry less',
    );
    expect(plan('--sku', 'Standard_B2s').problems.join()).toContain('not for production');
  });
});

describe('makePlan', () => {
  test('the example of the issue fits', () => {
    const made = plan('--orders-per-second', '20000', '--instances', '40');
    expect(made).toMatchObject({ shards: 4, problems: [], queueMessagesPerSecond: 1036 });
    // (2 + 2 groups) x 40 + 3 x 2 ready + 1 timer = 167 instances, ten connections each.
    expect(made.budget).toMatchObject({ instances: 167, wanted: 1670 });
    expect(made.maxConnections).toBe(2088);
  });

  test('more orders never need fewer servers, nor larger ones more; connections stay within the share', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200_000 }),
        fc.integer({ min: 1, max: 50 }),
        (orders, instances) => {
          const args = ['--orders-per-second', String(orders), '--instances', String(instances)];
          const made = plan(...args);
          const more = plan(
            '--orders-per-second',
            String(orders + 1000),
            '--instances',
            String(instances),
          );
          const larger = plan(...args, '--sku', 'Standard_D8ads_v5');
          expect(more.neededShards).toBeGreaterThanOrEqual(made.neededShards);
          expect(larger.neededShards).toBeLessThanOrEqual(made.neededShards);
          expect(made.budget.fits).toBe(made.budget.wanted <= made.maxConnections * 0.8);
        },
      ),
    );
  });
});

describe('the command line', () => {
  test.each([
    [['--instances', 'many'], '--instances takes a whole number 1 … 1000, got "many"'],
    [['--instances', '0'], 'got "0"'],
    [['--memory', '1024'], '512, 2048 or 4096'],
    [['--orders', '1'], '--orders'],
  ])('refuses %j', (args, words) => {
    expect(() => readPlanArguments(args)).toThrow(words);
  });

  test('refuses a server that is not known, also one called like a property of every object', () => {
    expect(() => plan('--sku', 'constructor')).toThrow('is none of Standard_B1ms');
  });
});

test('the cost follows the price table', () => {
  const prices = pricesSchema.parse(JSON.parse(readFileSync('tools/plan/prices.json', 'utf8')));
  const asked = input('--orders-per-second', '20000', '--instances', '40');
  const made = makePlan(asked, platform);
  const sku = skus['Standard_D4ads_v5'];
  if (sku === undefined) throw new Error('the table has no D4');
  const servers = (factor: number): number => {
    const perVCore = { ...prices.mysqlPerVCoreHour, GeneralPurpose: 0.1 * factor };
    const table = { ...prices, mysqlPerVCoreHour: perVCore };
    return monthlyCost(asked, made, { sku, prices: table })[0]?.perMonth ?? 0;
  };
  // Four servers, a standby each, four vCores, 730 hours.
  expect(servers(1)).toBeCloseTo(4 * 2 * 4 * 0.1 * 730, 6);
  expect(servers(3)).toBeCloseTo(3 * servers(1), 6);
  const costs = monthlyCost(asked, made, { sku, prices });
  expect(describePlan(asked, made, { costs, prices })).toContain('4 x Standard_D4ads_v5');
});
