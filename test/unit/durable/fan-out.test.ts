import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineActivity, defineOrchestration } from '../../../src/durable/contract.ts';
import { fanOut, fanOutSubs } from '../../../src/durable/fan-out.ts';
import { implement, implementOrchestration } from '../../../src/durable/implement.ts';
import { PermanentError } from '../../../src/kernel/errors.ts';
import { driveOrchestrator } from '../../support/drive-orchestrator.ts';

const retry = { firstIntervalMs: 100, backoff: 2, maxIntervalMs: 1000, maxAttempts: 2 };
const work = defineActivity({ name: 'work', input: z.int(), output: z.int(), retry });
const outcomes = z.array(z.string());
const many = defineOrchestration({
  name: 'many',
  input: z.object({ items: z.array(z.int()), width: z.int() }),
  output: outcomes,
});
const child = defineOrchestration({ name: 'child', input: z.int(), output: z.int() });
const parents = defineOrchestration({
  name: 'parents',
  input: z.object({ items: z.array(z.int()), width: z.int() }),
  output: outcomes,
});

type Fate = 'fine' | 'refused' | 'broken' | 'once-broken';
const fateOf = (item: number): Fate =>
  (['fine', 'refused', 'broken', 'once-broken'] as const)[item % 4] ?? 'fine';

/** What the fan-out must give, whatever the order of events. */
const model = (items: readonly number[]): string[] =>
  items.map((item) => {
    const fate = fateOf(item);
    return fate === 'fine' || fate === 'once-broken' ? String(item * 2) : fate;
  });

function activities() {
  const calls = new Map<number, number>();
  const running = { now: 0, most: 0 };
  const bound = implement(work, () => async (item) => {
    running.most = Math.max(running.most, ++running.now);
    await Promise.resolve();
    running.now--;
    calls.set(item, (calls.get(item) ?? 0) + 1);
    const fate = fateOf(item);
    if (fate === 'refused') throw new PermanentError('conflict', 'refused');
    if (fate === 'broken') throw new Error('broken');
    if (fate === 'once-broken' && calls.get(item) === 1) throw new Error('broken');
    return item * 2;
  }).bind(undefined);
  return { bound, calls, running };
}

const describeOutcome = (outcome: { ok: boolean; value?: number; error?: Error }): string => {
  if (outcome.ok) return String(outcome.value);
  return outcome.error instanceof PermanentError ? 'refused' : 'broken';
};

const orchestrations = [
  implementOrchestration(many, function* (ctx, { items, width }) {
    return (yield* fanOut(ctx, work, items, { width })).map(describeOutcome);
  }),
  implementOrchestration(child, function* (ctx, item) {
    const [outcome] = yield* fanOut(ctx, work, [item], { width: 1 });
    if (outcome?.ok === true) return outcome.value;
    throw outcome?.error ?? new Error('nothing');
  }),
  implementOrchestration(parents, function* (ctx, { items, width }) {
    const starts = items.map((input, index) => ({ input, instanceId: `child-${index}` }));
    return (yield* fanOutSubs(ctx, child, starts, { width })).map(describeOutcome);
  }),
];

const plans = fc.record({
  items: fc.uniqueArray(fc.integer({ min: 0, max: 400 }), { maxLength: 12 }),
  width: fc.integer({ min: 1, max: 5 }),
  seed: fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 50 }),
});

const randomOf = (seed: readonly number[]) => {
  let next = 0;
  return () => seed[next++ % seed.length] ?? 0;
};

describe('fanOut', () => {
  it(
    'gives one outcome per input, in order, whatever fails and in whatever order answers come',
    { timeout: 60_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(plans, async ({ items, width, seed }) => {
          for (const name of ['many', 'parents']) {
            const { bound } = activities();
            const result = await driveOrchestrator(
              name,
              { items, width },
              { orchestrations, activities: { work: bound }, random: randomOf(seed) },
            );
            expect(result.output).toEqual({ ok: true, value: model(items) });
          }
        }),
        { numRuns: 25 },
      );
    },
  );

  it('schedules each input once: failures and replays add no work', async () => {
    const { bound, calls } = activities();
    const result = await driveOrchestrator(
      'many',
      { items: [0, 4, 1, 8, 12, 2], width: 6 },
      { orchestrations, activities: { work: bound } },
    );
    expect(result.state).toBe('completed');
    expect(Object.fromEntries(calls)).toEqual({ 0: 1, 4: 1, 1: 1, 8: 1, 12: 1, 2: 2 });
    expect(result.actions).toBe(6);
  });

  it('refuses a width below one', async () => {
    const { bound } = activities();
    const result = await driveOrchestrator(
      'many',
      { items: [0], width: 0 },
      { orchestrations, activities: { work: bound } },
    );
    expect(result.state).toBe('failed');
    expect(result.error).toContain('width');
  });
});
