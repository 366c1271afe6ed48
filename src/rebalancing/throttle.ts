import { overload, readLoad } from '../database/shard-load.ts';
import type { LoadLimits } from '../database/shard-load.ts';
import { RetryableError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { Throttled } from './run-model.ts';

/** Thrown by a throttle whose shard stays under load: the work is to be put off. */
export class ThrottledError extends RetryableError {
  readonly throttled: Throttled;

  constructor(throttled: Throttled) {
    super('too-many-requests', `Shard ${throttled.shard} is under load: ${throttled.reason}.`);
    this.throttled = throttled;
  }
}

/** A shard is looked at this often at most; a chunk takes as long. */
const FRESH_MS = 500;
const BETWEEN_LOOKS_MS = 250;
/** Waited for inside an activity; then the run waits, which shows in its status. */
const PATIENCE_MS = 2_000;
const DEADLINE_MS = 5_000;

export type ThrottleServices = Pick<Services, 'database' | 'clock' | 'config'>;

/**
 * A function that waits while one of the shards is under load; for use before each chunk. Throws {@link ThrottledError}
 * when that takes long. What a server does not tell, by its version or for want of a privilege, limits nothing.
 */
export function createThrottle(
  services: ThrottleServices,
  shards: readonly ShardId[],
): () => Promise<void> {
  const { clock, config } = services;
  const limits: LoadLimits = {
    threadsRunning: config.REBALANCE_MAX_THREADS_RUNNING,
    probeMs: config.REBALANCE_MAX_PROBE_MS,
    history: config.REBALANCE_MAX_HISTORY,
  };
  let freshUntilMs = Number.NEGATIVE_INFINITY;
  const look = async (): Promise<Throttled | undefined> => {
    for (const shard of shards) {
      const load = await services.database.onShard(shard, (on) => readLoad(on, clock), {
        deadlineMs: DEADLINE_MS,
      });
      const reason = overload(load, limits, 'REBALANCE');
      if (reason !== undefined) return { shard, reason };
    }
    return undefined;
  };
  return async () => {
    if (clock.monotonicMs() < freshUntilMs) return;
    const endMs = clock.monotonicMs() + PATIENCE_MS;
    for (;;) {
      const throttled = await look();
      if (throttled === undefined) break;
      if (clock.monotonicMs() >= endMs) throw new ThrottledError(throttled);
      await clock.sleep(BETWEEN_LOOKS_MS);
    }
    freshUntilMs = clock.monotonicMs() + FRESH_MS;
  };
}
