import { describe, expect, it, vi } from 'vitest';
import { createCircuitBreaker } from '../../../src/database/circuit-breaker.ts';
import { DatabaseError } from '../../../src/database/database-error.ts';
import { GIVE_UP_AFTER_MS, guardedCall } from '../../../src/database/guarded-call.ts';
import type { FailureKind } from '../../../src/database/mysql-errors.ts';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

const SHARD = 2 as ShardId;

function setUp(options: { readonly deadlineMs?: number; readonly failures?: number } = {}) {
  const clock = createFakeClock({ autoSleep: true });
  const breaker = createCircuitBreaker(
    { failures: options.failures ?? 100, openMs: 1_000 },
    clock,
    () => undefined,
  );
  const logger = createRecordingLogger();
  const startedAtMs = clock.monotonicMs();
  const guard = {
    shardId: SHARD,
    breaker,
    clock,
    random: () => 0.5,
    logger,
    deadlineAtMs: startedAtMs + (options.deadlineMs ?? 60_000),
  };
  const probe = vi.fn<() => Promise<void>>(() => Promise.resolve());
  return {
    breaker,
    clock,
    logger,
    probe,
    passedMs: () => clock.monotonicMs() - startedAtMs,
    run: <T>(call: () => Promise<T>): Promise<T> => guardedCall(guard, call, probe),
  };
}

/** Fails with these kinds, one after the other, then answers. */
function failing(...kinds: readonly FailureKind[]) {
  let calls = 0;
  return vi.fn<() => Promise<string>>(() => {
    const kind = kinds[calls];
    calls += 1;
    return kind === undefined ? Promise.resolve('answer') : Promise.reject(new DatabaseError(kind));
  });
}

const always = (kind: FailureKind) =>
  vi.fn<() => Promise<never>>(() => Promise.reject(new DatabaseError(kind)));

describe('guardedCall', () => {
  it.each([
    'contention',
    'hindered',
    'unreachable',
    'crowded',
    'lost',
    'timeout',
    'read-only',
  ] as const)('tries again after %s', async (kind) => {
    const { run } = setUp();
    const call = failing(kind, kind);
    expect(await run(call)).toBe('answer');
    expect(call).toHaveBeenCalledTimes(3);
  });

  it.each(['misconfigured', 'duplicate', 'assertion', 'too-large', 'rejected'] as const)(
    'passes %s on at once',
    async (kind) => {
      const { run } = setUp();
      const call = failing(kind);
      await expect(run(call)).rejects.toMatchObject({ failure: kind });
      expect(call).toHaveBeenCalledTimes(1);
    },
  );

  it('passes errors of the caller on, also retryable ones', async () => {
    for (const error of [
      new PermanentError('user-not-found', 'no'),
      RetryableError.tooManyRequests('full'),
      new TypeError('slip'),
    ]) {
      const call = vi.fn<() => Promise<never>>(() => Promise.reject(error));
      await expect(setUp().run(call)).rejects.toBe(error);
      expect(call).toHaveBeenCalledTimes(1);
    }
  });

  it.each(['unreachable', 'lost', 'read-only', 'hindered'] as const)(
    'gives up on %s soon, long before a late deadline',
    async (kind) => {
      const { run, passedMs, logger } = setUp();
      await expect(run(always(kind))).rejects.toMatchObject({
        code: 'shard-unavailable',
        retryable: true,
        details: { shardId: SHARD, failure: kind },
        cause: { failure: kind },
      });
      expect(passedMs()).toBeLessThanOrEqual(GIVE_UP_AFTER_MS);
      expect(passedMs()).toBeGreaterThan(GIVE_UP_AFTER_MS / 2);
      expect(logger.events.at(-1)).toMatchObject({
        level: 'warn',
        event: 'database.attempts_given_up',
      });
    },
  );

  it('goes on through contention until the deadline', async () => {
    const { run, passedMs } = setUp({ deadlineMs: 5_000 });
    await expect(run(always('contention'))).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(passedMs()).toBeGreaterThan(4_500);
    expect(passedMs()).toBeLessThanOrEqual(5_000);
  });

  it('does not add contention to the time the server was away', async () => {
    const { run } = setUp();
    const kinds = Array.from({ length: 40 }, (_, index) =>
      index % 2 === 0 ? ('lost' as const) : ('contention' as const),
    );
    expect(await run(failing(...kinds))).toBe('answer');
  });

  it('turns callers away at once while the circuit is open, and says when to come back', async () => {
    const { run, breaker, passedMs } = setUp({ failures: 3 });
    await expect(run(always('unreachable'))).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(breaker.state()).toBe('open');
    const before = passedMs();
    const call = failing();
    await expect(run(call)).rejects.toMatchObject({
      code: 'shard-unavailable',
      retryAfterSeconds: 1,
      details: { reason: 'circuit open' },
    });
    expect(call).not.toHaveBeenCalled();
    expect(passedMs()).toBe(before);
  });

  it('asks a short question before the call when the circuit was open', async () => {
    const { run, probe, clock, breaker } = setUp({ failures: 1 });
    await expect(run(always('timeout'))).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(probe).not.toHaveBeenCalled();
    await clock.sleep(1_000);
    probe.mockRejectedValueOnce(new DatabaseError('timeout'));
    const call = failing();
    await expect(run(call)).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(call).not.toHaveBeenCalled();
    await clock.sleep(1_000);
    expect(await run(call)).toBe('answer');
    expect(breaker.state()).toBe('closed');
    expect(probe).toHaveBeenCalledTimes(2);
  });

  it('counts only failures to talk to the server', async () => {
    const { run, breaker } = setUp({ failures: 1, deadlineMs: 100 });
    for (const kind of ['contention', 'duplicate', 'rejected', 'read-only', 'deadline'] as const) {
      await expect(run(always(kind))).rejects.toMatchObject({ details: { failure: kind } });
      expect(breaker.state()).toBe('closed');
    }
  });
});
