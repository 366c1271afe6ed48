import { randomUUID } from 'node:crypto';
import type { Config } from '../config.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import { noopTelemetry, type Telemetry } from '../kernel/telemetry.ts';

/** One line tells that telemetry cannot be sent; more would only fill the log. */
const TELL_AGAIN_AFTER_MS = 60_000;

export interface StartOptions {
  readonly config: Config;
  readonly logger: Logger;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/**
 * Telemetry by the settings. OpenTelemetry is loaded only when something is to be recorded. Connects to nothing by
 * itself; an exporter that does not answer is logged and disturbs nobody. To be called once in a process.
 */
export async function startTelemetry({ config, logger, clock }: StartOptions): Promise<Telemetry> {
  const mode = config.TELEMETRY;
  if (mode === 'off') return noopTelemetry;
  const [{ createOpenTelemetry }, { createExporters, inBackground }, { onExportError }] =
    await Promise.all([
      import('./open-telemetry.ts'),
      import('./exporters.ts'),
      import('./export-errors.ts'),
    ]);
  onExportError(TELL_AGAIN_AFTER_MS, clock, (error) =>
    logger.log('warn', 'telemetry.export_failed', {
      errorName: error instanceof Error ? error.name : typeof error,
    }),
  );
  const exporters = await createExporters(mode, config, logger);
  return createOpenTelemetry({
    ...inBackground(exporters, config),
    samplePercent: config.TELEMETRY_SAMPLE_PERCENT,
    closeTimeoutMs: config.TELEMETRY_EXPORT_TIMEOUT_MS,
    serviceInstance: randomUUID(),
    hostReportsRequests: mode === 'azure-monitor',
  });
}
