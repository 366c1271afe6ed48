import type { CostLine, Prices } from './cost.ts';
import type { Plan, PlanInput } from './plan.ts';

export const HELP = `Plans the capacity of a deployment, before there is one.

  npm run plan -- --orders-per-second 20000 --instances 40

  --orders-per-second N     at the peak                                    (1000)
  --batch-percent P         of them in batches or lists                    (90)
  --queue-percent P         of the single orders through the queue         (50)
  --sagas-per-second N      transfers, registrations over two shards       (0)
  --instances N             on demand, of each scaling group               (20)
  --always-ready N          for HTTP, Durable and the orders queue each    (2)
  --memory MB               512, 2048 or 4096                              (2048)
  --pool N, --batch-pool N  connections of an instance to a shard          (8, 2)
  --share-percent P         of max_connections that the app may use        (80)
  --sku NAME                of infra/mysql-skus.json                       (Standard_D4ads_v5)
  --shards N                instead of as many as needed
  --storage GB              of each server                                 (128)
  --no-ha                   servers without a standby
  --singles-per-vcore N, --batch-rows-per-vcore N   what you measured      (250, 2500)
  --activities-per-saga N                                                  (4)
  --json

Prices: edit tools/plan/prices.json. Exit code: 0 it fits, 1 it does not, 2 bad input.`;

/** The plan in words, with every assumption. Pure. */
export function describePlan(
  input: PlanInput,
  plan: Plan,
  money: { readonly costs: readonly CostLine[]; readonly prices: Prices },
): string {
  const { budget } = plan;
  const total = money.costs.reduce((sum, line) => sum + line.perMonth, 0);
  const amount = (value: number): string => value.toFixed(0).padStart(9);
  return [
    `Servers          ${plan.shards} x ${plan.skuName}${input.highAvailability ? ', with a standby each' : ''} (${plan.neededShards} needed)`,
    `Connections      ${budget.wanted} per server, of ${budget.allowed} allowed (${input.sharePercent} % of max_connections ${plan.maxConnections})`,
    `Instances        ${budget.instances} at most, ${plan.cores} cores`,
    `Queue            ${plan.queueMessagesPerSecond} messages/s`,
    `Durable          ${plan.durableActionsPerSecond} actions/s; ${plan.taskScheduler === 'none' ? `storage account, partitionCount ${plan.partitions}` : `${plan.taskScheduler}${plan.taskSchedulerUnits > 0 ? `, ${plan.taskSchedulerUnits} units` : ''}`}`,
    '',
    `Cost per month, ${money.prices.currency}, rough`,
    ...money.costs.map((line) => `${amount(line.perMonth)}  ${line.what}`),
    `${amount(total)}  together, without logs, traffic, private endpoints and backups beyond the free share`,
    ...(plan.taskScheduler !== 'none' && money.prices.taskSchedulerPerUnitMonth === null
      ? ['           and the Durable Task Scheduler, whose price is not in the table']
      : []),
    '',
    'Assumed, not measured on Azure',
    `  ${input.singlesPerVCore} single orders/s or ${input.batchRowsPerVCore} orders/s in batches per vCore; ${(input.batchShare * 100).toFixed(0)} % of the orders in batches, ${(input.queueShare * 100).toFixed(0)} % of the others through the queue`,
    '  buckets spread evenly; batches come as lists of 500, chunks are of 2000 orders',
    `  ${input.activitiesPerSaga} activities per saga, one after the other`,
    `  ${money.prices.note}`,
    ...(plan.problems.length > 0
      ? ['', 'Does not fit', ...plan.problems.map((line) => `  ${line}`)]
      : []),
  ].join('\n');
}
