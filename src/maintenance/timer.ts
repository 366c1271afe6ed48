import type { Timer, TimerFunctionOptions } from '@azure/functions';
import { durableClientInput, orchestrationClient } from '../durable/client.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import { requestSchema } from './run-model.ts';
import { startRun, windowMsOf } from './runs.ts';

/** The part of `app` of `@azure/functions` that is used. */
export interface TimerApp {
  timer(name: string, options: TimerFunctionOptions): void;
}

/**
 * Registers the timer of the nightly run. It only starts the run. A night on which one runs already (yesterday's, or an
 * operator's) has that one; the storage account's absence is waited out for some minutes.
 */
export function registerMaintenanceTimer(app: TimerApp, services: Services): void {
  app.timer('maintenance-nightly', {
    schedule: services.config.MAINTENANCE_SCHEDULE,
    extraInputs: [durableClientInput],
    retry: { strategy: 'fixedDelay', maxRetryCount: 10, delayInterval: { seconds: 60 } },
    handler: async (timer, context) => {
      const { clock, logger } = services;
      const nowMs = clock.nowMs();
      const windowEndsAtMs = windowEnd(timer, nowMs, windowMsOf(services));
      if (windowEndsAtMs <= nowMs) {
        logger.log('warn', 'maintenance.night_missed', { lateMs: nowMs - windowEndsAtMs });
        return;
      }
      try {
        const request = requestSchema.parse({});
        await startRun(services, orchestrationClient(context), {
          by: 'timer',
          request,
          windowEndsAtMs,
        });
      } catch (error) {
        if (!(error instanceof PermanentError) || error.code !== 'conflict') throw error;
        logger.log('warn', 'maintenance.night_taken', { reason: error.message });
      }
    },
  });
}

/**
 * When the window of a timer's run is over. Pure. A timer that was missed (nothing ran at that hour) fires when the app is
 * there again, which may be at noon: its window is that of the night it was meant for.
 */
export function windowEnd(
  timer: Pick<Timer, 'isPastDue'> & { readonly scheduleStatus?: { readonly next?: string } | null },
  nowMs: number,
  windowMs: number,
): number {
  const meantForMs = timer.isPastDue ? Date.parse(timer.scheduleStatus?.next ?? '') : nowMs;
  return (Number.isNaN(meantForMs) ? nowMs : Math.min(meantForMs, nowMs)) + windowMs;
}
