import type { TimerFunctionOptions } from '@azure/functions';
import { durableClientInput, orchestrationClient } from '../durable/client.ts';
import type { Services } from '../services.ts';
import { watchQueues } from '../storage/queue-watch.ts';
import { tellSweep } from './saga-telemetry.ts';
import { sweepSagas, type SweepParts } from './sweep.ts';

/** The part of `app` of `@azure/functions` that is used. */
export interface TimerApp {
  timer(name: string, options: TimerFunctionOptions): void;
}

/** Registers the timer of the sweep. One run at a time over all instances, by the host's own lock. */
export function registerSagaSweep(app: TimerApp, services: Services, parts: SweepParts): void {
  app.timer('sagas-sweep', {
    schedule: services.config.SAGA_SWEEP_SCHEDULE,
    extraInputs: [durableClientInput],
    handler: async (_timer, context) => {
      const client = orchestrationClient(context);
      await watchQueues(services);
      const run = { ...parts, nowMs: services.clock.nowMs() };
      tellSweep(services.telemetry, await sweepSagas(services, client, run));
    },
  });
}
