import { type Budget, connectionBudget } from './budget.ts';
import * as limits from './limits.ts';
import type { Sku } from './skus.ts';

/** What the plan is for. All rates are per second, at the peak. */
export interface PlanInput {
  readonly ordersPerSecond: number;
  /** Share of the orders that come in batches or lists of up to 500; the others come one by one. */
  readonly batchShare: number;
  /** Share of the single orders that come through the queue; the others come over HTTP. */
  readonly queueShare: number;
  readonly sagasPerSecond: number;
  /** On-demand instances per scaling group. */
  readonly instances: number;
  readonly alwaysReady: number;
  readonly memoryMB: number;
  readonly poolSize: number;
  readonly batchPoolSize: number;
  readonly sharePercent: number;
  readonly skuName: string;
  /** 0: as many as the rate needs. */
  readonly shards: number;
  readonly highAvailability: boolean;
  readonly storageGB: number;
  /** Orders per second and vCore that one server is trusted with, single rows and rows in batches. */
  readonly singlesPerVCore: number;
  readonly batchRowsPerVCore: number;
  readonly activitiesPerSaga: number;
}

export interface Platform {
  readonly skus: Readonly<Record<string, Sku>>;
  readonly queueFunctions: number;
  readonly timerFunctions: number;
}

export interface Plan {
  readonly skuName: string;
  readonly shards: number;
  readonly neededShards: number;
  readonly budget: Budget;
  /** `max_connections` that the servers are given: the default, or as much as is needed and possible. */
  readonly maxConnections: number;
  readonly queueMessagesPerSecond: number;
  readonly durableActionsPerSecond: number;
  readonly partitions: number;
  readonly taskScheduler: 'dts-consumption' | 'dts-dedicated' | 'none';
  readonly taskSchedulerUnits: number;
  readonly cores: number;
  /** What does not fit, in words. */
  readonly problems: readonly string[];
}

/** Orders of a chunk that one activity of an ingestion writes (`INGEST_CHUNK_ROWS`). */
const CHUNK_ROWS = 2_000;
/** Groups that are kept ready: HTTP, Durable, the orders queue. */
const READY_GROUPS = 3;

/** Works out servers, connections and durable work. Pure. Throws `RangeError` for a SKU that is not known. */
export function makePlan(input: PlanInput, platform: Platform): Plan {
  const sku = Object.hasOwn(platform.skus, input.skuName)
    ? platform.skus[input.skuName]
    : undefined;
  if (sku === undefined) {
    throw new RangeError(
      `--sku: "${input.skuName}" is none of ${Object.keys(platform.skus).join(', ')}`,
    );
  }
  const problems: string[] = [];
  const neededShards = shardsFor(input, sku);
  const shards = input.shards === 0 ? neededShards : input.shards;
  if (shards < neededShards) {
    problems.push(
      `${shards} servers carry less than ${input.ordersPerSecond} orders/s: ${neededShards} are needed, or a larger --sku`,
    );
  }
  if (shards > limits.MAX_SHARDS) {
    problems.push(`the template makes ${limits.MAX_SHARDS} servers at most; take a larger --sku`);
  }
  if (sku.tier === 'Burstable' && input.highAvailability) {
    problems.push(`${input.skuName} is burstable: no high availability, not for production`);
  }
  const budget = budgetOf(input, platform, sku);
  if (!budget.fits) problems.push(`connections: ${budget.arithmetic}`);
  return {
    skuName: input.skuName,
    shards,
    neededShards,
    budget,
    maxConnections: budget.maxConnections,
    cores: coresOf(input, budget, problems),
    ...durableWork(input, problems),
    problems,
  };
}

function shardsFor(input: PlanInput, sku: Sku): number {
  const batched = input.ordersPerSecond * input.batchShare;
  const single = input.ordersPerSecond - batched;
  const load = single / input.singlesPerVCore + batched / input.batchRowsPerVCore;
  return Math.max(1, Math.ceil(load / sku.vCores));
}

function budgetOf(
  input: PlanInput,
  platform: Platform,
  sku: Sku,
): Budget & { readonly maxConnections: number } {
  const at = (maxConnections: number): Budget & { readonly maxConnections: number } => ({
    ...connectionBudget({
      scalingGroups: 2 + platform.queueFunctions,
      maxInstances: input.instances,
      extraInstances: input.alwaysReady * READY_GROUPS + platform.timerFunctions,
      connectionsPerInstance: input.poolSize + input.batchPoolSize,
      maxConnections,
      sharePercent: input.sharePercent,
    }),
    maxConnections,
  });
  const usual = at(sku.defaultConnections);
  if (usual.fits) return usual;
  const needed = Math.ceil((usual.wanted * 100) / input.sharePercent);
  return at(Math.min(sku.maxConnections, needed));
}

function coresOf(input: PlanInput, budget: Budget, problems: string[]): number {
  const cores = budget.instances * (limits.CORES_BY_MEMORY[input.memoryMB] ?? 0);
  if (cores > limits.REGIONAL_CORES) {
    problems.push(
      `${budget.instances} instances have ${cores} cores; a region's quota is ${limits.REGIONAL_CORES} by default, so ask for more or lower --instances`,
    );
  }
  return cores;
}

function durableWork(input: PlanInput, problems: string[]) {
  const batched = input.ordersPerSecond * input.batchShare;
  const queueMessagesPerSecond = Math.ceil(
    batched / limits.ORDERS_PER_MESSAGE + (input.ordersPerSecond - batched) * input.queueShare,
  );
  if (queueMessagesPerSecond > limits.QUEUE_MESSAGES_PER_SECOND) {
    problems.push(
      `${queueMessagesPerSecond} messages/s are more than the ${limits.QUEUE_MESSAGES_PER_SECOND} of one queue: send more in lists (--batch-percent), or single ones over HTTP (--queue-percent)`,
    );
  }
  const sagaActions =
    input.sagasPerSecond * limits.actionsPerOrchestration(input.activitiesPerSaga);
  const durableActionsPerSecond = Math.ceil(sagaActions + (2 * batched) / CHUNK_ROWS);
  const activities = input.sagasPerSecond * input.activitiesPerSaga;
  // A saga's activities run one after the other.
  const wantedPartitions = Math.ceil(activities / limits.SEQUENTIAL_ACTIVITIES_PER_INSTANCE);
  const onStorage = wantedPartitions <= limits.MAX_PARTITIONS;
  const units = Math.ceil(durableActionsPerSecond / limits.DTS_UNIT_ACTIONS);
  const taskScheduler = onStorage
    ? 'none'
    : durableActionsPerSecond <= limits.DTS_CONSUMPTION_ACTIONS
      ? 'dts-consumption'
      : 'dts-dedicated';
  if (taskScheduler === 'dts-dedicated' && units > limits.DTS_MAX_UNITS) {
    problems.push(
      `${durableActionsPerSecond} durable actions/s are more than the ${limits.DTS_MAX_UNITS * limits.DTS_UNIT_ACTIONS} of the largest Durable Task Scheduler`,
    );
  }
  return {
    queueMessagesPerSecond,
    durableActionsPerSecond,
    partitions: Math.min(limits.MAX_PARTITIONS, Math.max(4, wantedPartitions)),
    taskScheduler,
    taskSchedulerUnits: taskScheduler === 'dts-dedicated' ? units : 0,
  } as const;
}
