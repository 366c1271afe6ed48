import type { Shard } from '../database/contracts.ts';
import { isRetryable, RetryableError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { Throttled } from './run-model.ts';
import {
  PROBE,
  READ_HISTORY_METRIC,
  READ_HISTORY_STATUS,
  READ_THREADS_RUNNING,
} from './size-statements.ts';

/** How busy a shard is; null: the server does not say. */
export interface ShardLoad {
  readonly threadsRunning: number | null;
  readonly probeMs: number;
  readonly history: number | null;
}

export interface LoadLimits {
  readonly threadsRunning: number;
  readonly probeMs: number;
  readonly history: number;
}

/** Why moves should pause, in words, or undefined. Pure. */
export function overload(load: ShardLoad, limits: LoadLimits): string | undefined {
  if (load.threadsRunning !== null && load.threadsRunning > limits.threadsRunning) {
    return `${load.threadsRunning} statements run at once (REBALANCE_MAX_THREADS_RUNNING ${limits.threadsRunning})`;
  }
  if (load.probeMs > limits.probeMs) {
    return `SELECT 1 took ${Math.round(load.probeMs)} ms (REBALANCE_MAX_PROBE_MS ${limits.probeMs})`;
  }
  if (load.history !== null && load.history > limits.history) {
    return `${load.history} old row versions wait for the server's purge (REBALANCE_MAX_HISTORY ${limits.history})`;
  }
  return undefined;
}

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
      const reason = overload(load, limits);
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

/** Reads the load of a shard. */
export async function readLoad(
  shard: Shard,
  clock: Pick<Services['clock'], 'monotonicMs'>,
): Promise<ShardLoad> {
  const startedMs = clock.monotonicMs();
  await shard.query(PROBE, []);
  const probeMs = clock.monotonicMs() - startedMs;
  return {
    probeMs,
    threadsRunning: await readNumber(shard, READ_THREADS_RUNNING),
    history:
      (await readNumber(shard, READ_HISTORY_STATUS)) ??
      (await readNumber(shard, READ_HISTORY_METRIC)),
  };
}

async function readNumber(shard: Shard, text: string): Promise<number | null> {
  try {
    const [row] = await shard.query(text, []);
    return row === undefined ? null : Number(row['Value']);
  } catch (error) {
    if (isRetryable(error)) throw error;
    return null;
  }
}
