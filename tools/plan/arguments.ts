import { parseArgs } from 'node:util';
import { CORES_BY_MEMORY, MAX_INSTANCES, MAX_SHARDS } from './limits.ts';
import type { PlanInput } from './plan.ts';

/** Name of an option → default, least, most. Shares are percent. */
const NUMBERS = {
  'orders-per-second': [1_000, 1, 10_000_000],
  'batch-percent': [90, 0, 100],
  'queue-percent': [50, 0, 100],
  'sagas-per-second': [0, 0, 100_000],
  instances: [20, 1, MAX_INSTANCES],
  'always-ready': [2, 0, MAX_INSTANCES],
  memory: [2048, 512, 4096],
  pool: [8, 1, 200],
  'batch-pool': [2, 1, 32],
  'share-percent': [80, 1, 100],
  shards: [0, 0, MAX_SHARDS],
  storage: [128, 20, 16_384],
  'singles-per-vcore': [250, 1, 100_000],
  'batch-rows-per-vcore': [2_500, 1, 1_000_000],
  'activities-per-saga': [4, 1, 20],
} as const;

type NumberName = keyof typeof NUMBERS;

/** Reads the command line; undefined for `--help`. Throws a `RangeError` or `TypeError` that names the option. Pure. */
export function readPlanArguments(
  args: readonly string[],
): { readonly input: PlanInput; readonly json: boolean } | undefined {
  const names = Object.keys(NUMBERS) as NumberName[];
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...Object.fromEntries(names.map((name) => [name, { type: 'string' as const }])),
      sku: { type: 'string', default: 'Standard_D4ads_v5' },
      'no-ha': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help === true) return undefined;
  const given: Readonly<Record<string, unknown>> = values;
  const number = (name: NumberName): number => {
    const [fallback, min, max] = NUMBERS[name];
    const text = given[name];
    if (text === undefined) return fallback;
    const value = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) {
      throw new RangeError(
        `--${name} takes a whole number ${min} … ${max}, got ${JSON.stringify(text)}`,
      );
    }
    return value;
  };
  const memoryMB = number('memory');
  if (CORES_BY_MEMORY[memoryMB] === undefined) {
    throw new RangeError(`--memory takes 512, 2048 or 4096, got "${memoryMB}"`);
  }
  return {
    json: values.json === true,
    input: {
      ordersPerSecond: number('orders-per-second'),
      batchShare: number('batch-percent') / 100,
      queueShare: number('queue-percent') / 100,
      sagasPerSecond: number('sagas-per-second'),
      instances: number('instances'),
      alwaysReady: number('always-ready'),
      memoryMB,
      poolSize: number('pool'),
      batchPoolSize: number('batch-pool'),
      sharePercent: number('share-percent'),
      skuName: String(values.sku),
      shards: number('shards'),
      highAvailability: values['no-ha'] !== true,
      storageGB: number('storage'),
      singlesPerVCore: number('singles-per-vcore'),
      batchRowsPerVCore: number('batch-rows-per-vcore'),
      activitiesPerSaga: number('activities-per-saga'),
    },
  };
}
