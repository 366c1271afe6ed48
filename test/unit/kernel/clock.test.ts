import { expect, test } from 'vitest';
import { systemClock } from '../../../src/kernel/clock.ts';

test('a sleep ends at once when it is aborted, with the reason', async () => {
  const controller = new AbortController();
  const sleeping = systemClock.sleep(60_000, controller.signal);
  controller.abort(new Error('shutting down'));
  await expect(sleeping).rejects.toThrow('shutting down');
  await expect(systemClock.sleep(1, controller.signal)).rejects.toThrow('shutting down');
});
