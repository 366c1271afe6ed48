import type { TimerFunctionOptions } from '@azure/functions';
import {
  durableClientInput,
  orchestrationClient,
  type OrchestrationClient,
} from '../durable/client.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import { watchQueues } from '../storage/queue-watch.ts';
import { tellSweep } from './saga-telemetry.ts';
import { sweepSagas, type SweepParts } from './sweep.ts';

/** The part of `app` of `@azure/functions` that is used. */
export interface TimerApp {
  timer(name: string, options: TimerFunctionOptions): void;
}

/**
 * Starts again what was accepted and does not run: the process died before it could start it, or the runtime lost it; or
 * deletes what runs leave behind. Idempotent.
 */
export type RunKeeper = (services: Services, client: OrchestrationClient) => Promise<void>;

/** Keeps all runs going; one that fails is tried again by the next sweep, and stops no other. Never throws. */
export async function keepRuns(
  services: Services,
  client: OrchestrationClient,
  keepers: readonly RunKeeper[],
): Promise<void> {
  for (const keep of keepers) {
    await keep(services, client).catch((error: unknown) => {
      services.logger.log('warn', 'sagas.keep_failed', errorFields(error));
    });
  }
}

/**
 * Registers the timer of the sweep. One run at a time over all instances, by the host's own lock. The runs of other slices
 * are kept going by it as well: a timer of their own each would cost an instance for a read a minute.
 */
export function registerSagaSweep(
  app: TimerApp,
  services: Services,
  parts: SweepParts,
  keepers: readonly RunKeeper[] = [],
): void {
  app.timer('sagas-sweep', {
    schedule: services.config.SAGA_SWEEP_SCHEDULE,
    extraInputs: [durableClientInput],
    handler: async (_timer, context) => {
      const client = orchestrationClient(context);
      await watchQueues(services);
      await keepRuns(services, client, keepers);
      const run = { ...parts, nowMs: services.clock.nowMs() };
      tellSweep(services.telemetry, await sweepSagas(services, client, run));
    },
  });
}
