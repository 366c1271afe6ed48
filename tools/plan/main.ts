import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readPlanArguments } from './arguments.ts';
import { monthlyCost, pricesSchema } from './cost.ts';
import { makePlan } from './plan.ts';
import { describePlan, HELP } from './report.ts';
import { readFunctions, readSkus } from './skus.ts';

/** `npm run plan`. Exit code: 0 it fits, 1 it does not, 2 it cannot be worked out. */
function run(args: readonly string[]): number {
  const asked = readPlanArguments(args);
  if (asked === undefined) {
    console.log(HELP);
    return 0;
  }
  const functions = readFunctions();
  const skus = readSkus();
  const plan = makePlan(asked.input, {
    skus,
    queueFunctions: functions.queues.length,
    timerFunctions: functions.timers.length,
  });
  const prices = pricesSchema.parse(
    JSON.parse(readFileSync(path.join(import.meta.dirname, 'prices.json'), 'utf8')),
  );
  const sku = skus[plan.skuName];
  if (sku === undefined) throw new RangeError(`--sku: "${plan.skuName}" is not known`);
  const costs = monthlyCost(asked.input, plan, { sku, prices });
  console.log(
    asked.json
      ? JSON.stringify({ input: asked.input, plan, costs, currency: prices.currency }, null, 2)
      : describePlan(asked.input, plan, { costs, prices }),
  );
  return plan.problems.length === 0 ? 0 : 1;
}

try {
  process.exitCode = run(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
