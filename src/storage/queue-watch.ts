import type { Logger } from '../kernel/logger.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Telemetry } from '../kernel/telemetry.ts';
import { ATTRIBUTES, METRICS } from '../kernel/telemetry-names.ts';
import type { QueueStore } from './contracts.ts';

/** The queues of the public contract. */
const QUEUES = ['orders', 'sagas'] as const;

/**
 * Tells the lengths of the queues and of their poison queues. Looked at by one instance at a time, on a timer: the
 * account's own figure is hourly. Never throws.
 */
export async function watchQueues(services: {
  readonly queues: Pick<QueueStore, 'length'>;
  readonly telemetry: Telemetry;
  readonly logger: Logger;
}): Promise<void> {
  const { queues, telemetry, logger } = services;
  if (!telemetry.enabled) return;
  const length = telemetry.histogram(METRICS.queueLength);
  for (const queue of QUEUES.flatMap((name) => [name, `${name}-poison`])) {
    try {
      length.record(await queues.length(queue), { [ATTRIBUTES.queue]: queue });
    } catch (error) {
      logger.log('warn', 'storage.queue_not_watched', { queue, ...errorFields(error) });
    }
  }
}
