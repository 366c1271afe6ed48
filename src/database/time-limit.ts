import type { Clock } from '../kernel/clock.ts';

const notYet = Symbol('not yet');
/** Loses against work that is done, however it ended. */
const NOT_YET: Promise<typeof notYet> = Promise.resolve(notYet);

/**
 * Waits for `work` until a monotonic time; then throws what `late` makes, and the work goes on unheard. For shared work
 * that one caller's deadline must not end.
 */
export async function withinDeadline<T>(
  work: Promise<T>,
  deadlineAtMs: number,
  clock: Pick<Clock, 'monotonicMs' | 'sleep'>,
  late: () => Error,
): Promise<T> {
  // Nearly always it is done already. A timer, its abortion and the error of that cost more than all the rest of a call.
  const first = await Promise.race([work, NOT_YET]);
  if (first !== notYet) return first;
  const leave = new AbortController();
  const timeUp = clock.sleep(Math.max(0, deadlineAtMs - clock.monotonicMs()), leave.signal).then(
    (): never => {
      throw late();
    },
    () => work, // Aborted below: the race is over.
  );
  // Whichever loses the race may fail later, with nobody to hear it.
  timeUp.catch(() => undefined);
  work.catch(() => undefined);
  try {
    return await Promise.race([work, timeUp]);
  } finally {
    leave.abort();
  }
}
