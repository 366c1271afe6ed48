import { describe, expect, test } from 'vitest';
import { Background, mapBounded, within } from '../../../src/kernel/bounded.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';

describe('mapBounded', () => {
  test('keeps the order and the limit', async () => {
    let running = 0;
    let most = 0;
    const doubled = await mapBounded([5, 1, 4, 2, 3], 2, async (item) => {
      running += 1;
      most = Math.max(most, running);
      for (let turn = 0; turn < item; turn += 1) await settle();
      running -= 1;
      return item * 2;
    });
    expect(doubled).toEqual([10, 2, 8, 4, 6]);
    expect(most).toBe(2);
  });

  test('begins nothing more after a throw, and lets what runs end', async () => {
    const begun: number[] = [];
    const ended: number[] = [];
    const work = mapBounded([1, 2, 3, 4], 2, async (item) => {
      begun.push(item);
      await settle();
      if (item === 1) throw new Error('first');
      await settle();
      ended.push(item);
    });
    await expect(work).rejects.toThrow('first');
    expect(begun).toEqual([1, 2]);
    expect(ended).toEqual([2]);
  });

  test('nothing to do is done', async () => {
    expect(await mapBounded([], 4, () => Promise.reject(new Error('never')))).toEqual([]);
  });
});

describe('Background', () => {
  test('lets its caller go on until the limit is reached, and ends when all has', async () => {
    const background = new Background(2);
    const ends: (() => void)[] = [];
    const begin = (): Promise<void> =>
      background.begin(() => new Promise((resolve) => void ends.push(resolve)));
    await begin();
    await begin();
    let begun = false;
    const third = begin().then(() => {
      begun = true;
    });
    await settle();
    expect([ends.length, begun]).toEqual([2, false]);
    ends[1]?.();
    await third;
    expect(ends.length).toBe(3);
    let ended = false;
    const end = background.end().then(() => {
      ended = true;
    });
    ends[0]?.();
    await settle();
    expect(ended).toBe(false);
    ends[2]?.();
    await end;
  });

  test('tells the first failure, and begins nothing after it', async () => {
    const background = new Background(2);
    await background.begin(() => Promise.reject(new Error('first')));
    await settle();
    let begun = false;
    const after = background.begin(() => {
      begun = true;
      return Promise.resolve();
    });
    await expect(after).rejects.toThrow('first');
    expect(begun).toBe(false);
    await expect(background.end()).rejects.toThrow('first');
  });
});

describe('within', () => {
  test('gives what comes in time, and leaves no timer behind', async () => {
    const clock = createFakeClock();
    expect(await within(clock, { limitMs: 10, late: 'late' }, Promise.resolve(1))).toBe(1);
    await settle();
    expect(clock.waiting()).toBe(0);
  });

  test('gives up on what does not', async () => {
    const clock = createFakeClock();
    const answer = within(clock, { limitMs: 10, late: 'late' }, new Promise(() => undefined));
    await clock.advance(10);
    expect(await answer).toBe('late');
  });

  test('passes a throw on; a late one disturbs nobody', async () => {
    const clock = createFakeClock();
    const limit = { limitMs: 10, late: 'late' };
    await expect(within(clock, limit, Promise.reject(new Error('no')))).rejects.toThrow('no');
    let fail: (error: Error) => void = () => undefined;
    const work = new Promise<never>((_, reject) => {
      fail = reject;
    });
    const answer = within(clock, limit, work);
    await clock.advance(10);
    fail(new Error('too late'));
    expect(await answer).toBe('late');
    await settle();
  });
});
