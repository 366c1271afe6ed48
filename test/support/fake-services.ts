import { loadConfig } from '../../src/config.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { noopProbe } from '../../src/kernel/probe.ts';
import { noopTelemetry } from '../../src/kernel/telemetry.ts';
import type { Services } from '../../src/services.ts';
import { createRecordingLogger, type RecordingLogger } from './recording-logger.ts';

export type FakeServices = Services & { readonly logger: RecordingLogger };

/** Services of which a test gives the parts it needs; any other part throws when it is used. */
export function createFakeServices(
  parts: Partial<Services> = {},
  settings: Readonly<Record<string, string>> = {},
): FakeServices {
  const config = loadConfig({
    SHARDS: JSON.stringify([{ name: 'one', host: 'db.invalid', user: 'app', database: 'app' }]),
    AzureWebJobsStorage: 'UseDevelopmentStorage=true',
    ...settings,
  });
  return {
    config,
    clock: systemClock,
    probe: noopProbe,
    telemetry: noopTelemetry,
    random: () => 0.5,
    bucketMap: missing('bucketMap'),
    bucketMapStore: missing('bucketMapStore'),
    database: missing('database'),
    blobs: missing('blobs'),
    control: missing('control'),
    queues: missing('queues'),
    ids: missing('ids'),
    close: () => Promise.resolve(),
    ...parts,
    logger: createRecordingLogger(),
  };
}

function missing<T extends object>(name: string): T {
  return new Proxy({} as T, {
    get: (_, member) => {
      throw new Error(`this test did not expect ${name}.${String(member)} to be used`);
    },
  });
}
