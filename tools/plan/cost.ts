import { z } from 'zod';
import type { Plan, PlanInput } from './plan.ts';
import type { Sku } from './skus.ts';

const price = z.number().nonnegative();

/** The price table that a reader may edit: `tools/plan/prices.json`. */
export const pricesSchema = z.strictObject({
  currency: z.string(),
  note: z.string(),
  hoursPerMonth: z.number().positive(),
  mysqlPerVCoreHour: z.strictObject({
    Burstable: price,
    GeneralPurpose: price,
    MemoryOptimized: price,
  }),
  mysqlStoragePerGBMonth: price,
  flexOnDemandPerGBSecond: price,
  flexPerMillionExecutions: price,
  flexFreeGBSeconds: price,
  flexFreeExecutions: price,
  alwaysReadyBaselinePerGBSecond: price,
  alwaysReadyExecutionPerGBSecond: price,
  storagePerMillionQueueOperations: price,
  /** Null while it is not known. */
  taskSchedulerPerUnitMonth: price.nullable(),
});
export type Prices = z.infer<typeof pricesSchema>;

export interface CostLine {
  readonly what: string;
  readonly perMonth: number;
}

/** Share of the time that the app works at its peak; the rest it is idle. */
const BUSY = 0.25;
/** Receive and delete; the send is the caller's. */
const OPERATIONS_PER_MESSAGE = 2;

/** A rough monthly cost, line by line, in the table's currency. Pure. */
export function monthlyCost(
  input: PlanInput,
  plan: Plan,
  context: { readonly sku: Sku; readonly prices: Prices },
): readonly CostLine[] {
  const { sku, prices } = context;
  const seconds = prices.hoursPerMonth * 3600;
  const copies = input.highAvailability ? 2 : 1;
  const memoryGB = input.memoryMB / 1024;
  const ready = input.alwaysReady * 3;
  const onDemand = plan.budget.instances - ready;
  const overHttp = input.ordersPerSecond * (1 - input.batchShare) * (1 - input.queueShare);
  const messages = plan.queueMessagesPerSecond * seconds * BUSY;
  const executions = messages + overHttp * seconds * BUSY;
  const lines: CostLine[] = [
    {
      what: `${plan.shards} MySQL servers${copies === 2 ? ' with a standby each' : ''}`,
      perMonth:
        plan.shards *
        copies *
        sku.vCores *
        prices.mysqlPerVCoreHour[sku.tier] *
        prices.hoursPerMonth,
    },
    {
      what: `${input.storageGB} GB of storage each`,
      perMonth: plan.shards * copies * input.storageGB * prices.mysqlStoragePerGBMonth,
    },
    {
      what: `on-demand instances, all of them ${BUSY * 100} % of the time`,
      perMonth:
        Math.max(0, onDemand * memoryGB * seconds * BUSY - prices.flexFreeGBSeconds) *
        prices.flexOnDemandPerGBSecond,
    },
    {
      what: 'executions',
      perMonth:
        (Math.max(0, executions - prices.flexFreeExecutions) / 1e6) *
        prices.flexPerMillionExecutions,
    },
    {
      what: `${ready} always-ready instances`,
      perMonth:
        ready *
        memoryGB *
        seconds *
        (prices.alwaysReadyBaselinePerGBSecond + BUSY * prices.alwaysReadyExecutionPerGBSecond),
    },
    {
      what: 'queue operations',
      perMonth:
        ((messages * OPERATIONS_PER_MESSAGE) / 1e6) * prices.storagePerMillionQueueOperations,
    },
  ];
  if (plan.taskSchedulerUnits > 0 && prices.taskSchedulerPerUnitMonth !== null) {
    lines.push({
      what: `${plan.taskSchedulerUnits} units of the Durable Task Scheduler`,
      perMonth: plan.taskSchedulerUnits * prices.taskSchedulerPerUnitMonth,
    });
  }
  return lines;
}
