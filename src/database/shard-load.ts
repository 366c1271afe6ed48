import type { Clock } from '../kernel/clock.ts';
import { isRetryable } from '../kernel/errors.ts';
import type { Shard } from './contracts.ts';
import {
  PROBE,
  READ_HISTORY_METRIC,
  READ_HISTORY_STATUS,
  READ_THREADS_RUNNING,
} from './statements.ts';

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

/** Why work in the background should pause, in words, or undefined. `settings` begins the names of the limits. Pure. */
export function overload(
  load: ShardLoad,
  limits: LoadLimits,
  settings: 'REBALANCE' | 'MAINTENANCE',
): string | undefined {
  if (load.threadsRunning !== null && load.threadsRunning > limits.threadsRunning) {
    return `${load.threadsRunning} statements run at once (${settings}_MAX_THREADS_RUNNING ${limits.threadsRunning})`;
  }
  if (load.probeMs > limits.probeMs) {
    return `SELECT 1 took ${Math.round(load.probeMs)} ms (${settings}_MAX_PROBE_MS ${limits.probeMs})`;
  }
  if (load.history !== null && load.history > limits.history) {
    return `${load.history} old row versions wait for the server's purge (${settings}_MAX_HISTORY ${limits.history})`;
  }
  return undefined;
}

/** Reads the load of a shard. */
export async function readLoad(
  shard: Shard,
  clock: Pick<Clock, 'monotonicMs'>,
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
