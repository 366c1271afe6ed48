import type { Clock } from '../kernel/clock.ts';
import { PermanentError, RetryableError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { ShardFacts } from './shard-setup.ts';
import { withinDeadline } from './time-limit.ts';

/** A set-up that failed for good is tried again after this long: somebody may have put it right. */
const PERMANENT_RETRY_MS = 5_000;

/** Remembers that a shard was set up. */
export interface SetupMemo {
  /**
   * Resolves when the shard is set up; starts the set-up when nobody has. One set-up serves all callers and goes on
   * when a caller's deadline (monotonic milliseconds) passes, who is then told `shard-unavailable`. After a failure the
   * next caller starts it again, after a permanent one not at once.
   */
  ensure(deadlineAtMs: number): Promise<ShardFacts>;
}

export function createSetupMemo(
  shardId: ShardId,
  setUp: () => Promise<ShardFacts>,
  clock: Pick<Clock, 'monotonicMs' | 'sleep'>,
): SetupMemo {
  let current: Promise<ShardFacts> | undefined;
  let retryAtMs = 0;

  const start = (): Promise<ShardFacts> => {
    const running = setUp().catch((error: unknown) => {
      if (error instanceof PermanentError) retryAtMs = clock.monotonicMs() + PERMANENT_RETRY_MS;
      else if (current === running) current = undefined;
      throw error;
    });
    return running;
  };

  return {
    ensure: async (deadlineAtMs) => {
      if (retryAtMs > 0 && clock.monotonicMs() >= retryAtMs) {
        retryAtMs = 0;
        current = undefined;
      }
      current ??= start();
      return withinDeadline(current, deadlineAtMs, clock, () =>
        RetryableError.shardUnavailable(shardId, {
          details: { reason: 'the shard is still being set up' },
        }),
      );
    },
  };
}
