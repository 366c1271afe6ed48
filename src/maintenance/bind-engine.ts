import { mapBounded } from '../kernel/bounded.ts';
import type { Services } from '../services.ts';
import { adviseShard } from './advice.ts';
import { purgeLog, readDurations } from './command-log.ts';
import type { MaintenanceEngine } from './engine.ts';
import { inspectShard } from './inspect.ts';
import { runUnit } from './unit.ts';

/** Point reads of the command log at once. */
const READS_AT_ONCE = 4;
/** Units whose past is read, the most needed first; the others are forecast by these. */
const MAX_READ = 200;

/** The engine over real shards. */
export function createMaintenanceEngine(services: Services): MaintenanceEngine {
  return {
    inspect: (shard, { tables, force, remember }) =>
      inspectShard(services, shard, { force, remember, ...(tables !== undefined && { tables }) }),
    advise: (shard) => adviseShard(services, shard),
    past: async (shard, units) => {
      const parts = await mapBounded(
        units.slice(0, MAX_READ),
        READS_AT_ONCE,
        async ({ table, action }) => {
          const durations = await readDurations(services, shard, table, action);
          return durations.map((duration) => ({ ...duration, table, action }));
        },
      );
      return parts.flat();
    },
    runUnit: (request) => runUnit(services, request),
    purgeLog: (shard) => purgeLog(services, shard),
  };
}
