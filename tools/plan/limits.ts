/** Documented limits of the platform; each with where it is documented. */

/** Messages per second of one queue, 1 KiB each (Azure Storage scalability targets). */
export const QUEUE_MESSAGES_PER_SECOND = 2_000;
/** Orders that one message may carry (`docs/architecture.md`, queue `orders`). */
export const ORDERS_PER_MESSAGE = 500;
/** Activities per second of one instance, one after the other (Durable Functions, performance and scale). */
export const SEQUENTIAL_ACTIVITIES_PER_INSTANCE = 5;
/** Most partitions of a task hub on Azure Storage: instances that run orchestrators. */
export const MAX_PARTITIONS = 16;
/** Actions per second: Durable Task Scheduler, Consumption. */
export const DTS_CONSUMPTION_ACTIONS = 500;
/** Actions per second of one capacity unit: Durable Task Scheduler, Dedicated. */
export const DTS_UNIT_ACTIONS = 2_000;
/** Capacity units that a Dedicated scheduler may have. */
export const DTS_MAX_UNITS = 3;
/** Cores of all Flex apps in a region and subscription, by default. */
export const REGIONAL_CORES = 250;
/** Cores of an instance, by its memory in MB. */
export const CORES_BY_MEMORY: Readonly<Record<number, number>> = { 512: 0.25, 2048: 1, 4096: 2 };
/** Instances of one scaling group. */
export const MAX_INSTANCES = 1_000;
/** Shards that the template makes. */
export const MAX_SHARDS = 64;

/** Actions of one orchestration with so many activities: its start, and a call and an answer each. */
export function actionsPerOrchestration(activities: number): number {
  return 1 + 2 * activities;
}
