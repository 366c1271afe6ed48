import { expect, test } from 'vitest';
import { startDeadline } from '../../../src/kernel/deadline.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

test('a deadline shrinks with time, whatever the wall clock does, and never reaches nothing', async () => {
  const clock = createFakeClock();
  const deadline = startDeadline(clock, 100);
  expect(deadline.remainingMs()).toBe(100);
  clock.stepWall(-1_000_000);
  await clock.advance(60);
  expect(deadline.remainingMs()).toBe(40);
  await clock.advance(60);
  expect(deadline.remainingMs()).toBe(1);
});
