import { describe, expect, it, vi } from 'vitest';
import { DatabaseError } from '../../../src/database/database-error.ts';
import { createSetupMemo } from '../../../src/database/setup-memo.ts';
import type { ShardFacts } from '../../../src/database/shard-setup.ts';
import { PermanentError } from '../../../src/kernel/errors.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const FACTS: ShardFacts = { serverVersion: '9.7.4' };

function setUp() {
  const clock = createFakeClock();
  const work = vi.fn<() => Promise<ShardFacts>>(() => Promise.resolve(FACTS));
  const memo = createSetupMemo(3 as ShardId, work, clock);
  return { clock, work, ask: () => memo.ensure(clock.monotonicMs() + 1_000) };
}

describe('the set-up of a shard', () => {
  it('is done once for all callers', async () => {
    const { work, ask, clock } = setUp();
    expect(await Promise.all([ask(), ask(), ask()])).toEqual([FACTS, FACTS, FACTS]);
    expect(await ask()).toEqual(FACTS);
    expect(work).toHaveBeenCalledTimes(1);
    expect(clock.waiting()).toBe(0);
  });

  it('is done again by the next caller after a failure that may pass', async () => {
    const { work, ask } = setUp();
    work.mockRejectedValueOnce(new DatabaseError('unreachable'));
    const failed = await Promise.allSettled([ask(), ask()]);
    expect(failed.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected']);
    expect(work).toHaveBeenCalledTimes(1);
    expect(await ask()).toEqual(FACTS);
  });

  it('is not done again at once after a failure that somebody must settle', async () => {
    const { work, ask, clock } = setUp();
    const wrong = new PermanentError('configuration-invalid', 'wrong cluster');
    work.mockRejectedValueOnce(wrong);
    await expect(ask()).rejects.toBe(wrong);
    await clock.advance(4_999);
    await expect(ask()).rejects.toBe(wrong);
    expect(work).toHaveBeenCalledTimes(1);
    await clock.advance(1);
    expect(await ask()).toEqual(FACTS);
  });

  it('keeps nobody past the deadline and goes on without them', async () => {
    const { work, ask, clock } = setUp();
    let finish = (_facts: ShardFacts): void => undefined;
    work.mockImplementationOnce(
      () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    );
    const late = ask().catch((error: unknown) => error);
    await clock.advance(1_000);
    expect(await late).toMatchObject({
      code: 'shard-unavailable',
      details: { shardId: 3, reason: expect.stringContaining('set up') },
    });
    finish(FACTS);
    expect(await ask()).toEqual(FACTS);
    expect(work).toHaveBeenCalledTimes(1);
  });
});
