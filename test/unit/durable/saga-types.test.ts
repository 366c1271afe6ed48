import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { DEFAULT_LIMITS, defineSaga } from '../../../src/durable/saga/definition.ts';
import { defineCompensatableStep, defineStep } from '../../../src/durable/saga/step.ts';
import { BugError, PermanentError } from '../../../src/kernel/errors.ts';

const take = defineCompensatableStep({
  name: 'types-take',
  input: z.object({ item: z.string() }),
  output: z.object({ held: z.int() }),
});
const pay = defineStep({
  name: 'types-pay',
  input: z.object({ cents: z.int() }),
  output: z.object({ receipt: z.string() }),
});
const send = defineStep({
  name: 'types-send',
  input: z.object({ receipt: z.string() }),
  output: z.object({ parcel: z.string() }),
});
const note = defineStep({
  name: 'types-note',
  input: z.object({ text: z.string() }),
  output: z.null(),
});

const begin = (limits = DEFAULT_LIMITS) =>
  defineSaga({
    kind: 'buy',
    input: z.object({ item: z.string() }),
    output: z.object({ receipt: z.string() }),
    limits,
  });
const taken = () => begin().compensatable('take', take, ({ input }) => ({ item: input.item }));
const paid = () => taken().pivot('pay', pay, ({ results }) => ({ cents: results.take.held }));

/** What must not compile; checked by the type check of the tests, never run. */
export const wrong = (): void => {
  const code = (): Promise<{ held: number }> => Promise.resolve({ held: 1 });
  // @ts-expect-error wrong order: nothing comes after the pivot that could be taken back
  paid().compensatable('again', take, ({ input }) => input);
  // @ts-expect-error wrong order: two pivots
  paid().pivot('again', pay, () => ({ cents: 1 }));
  // @ts-expect-error wrong order: a retriable step before the pivot
  taken().retriable('send', send, () => ({ receipt: '' }));
  // @ts-expect-error no pivot
  taken().returns(() => ({ receipt: '' }));
  // @ts-expect-error missing compensation: a step before the pivot must have one
  begin().compensatable('pay', pay, () => ({ cents: 1 }));
  // @ts-expect-error a step that would be taken back is no pivot
  taken().pivot('again', take, ({ input }) => input);
  // @ts-expect-error a step without contract
  begin().compensatable('take', { name: 'types-take' }, () => ({}));
  // @ts-expect-error a step without contract: code is none
  begin().compensatable('take', code, () => ({ item: '' }));
  // @ts-expect-error wrong input: the step takes cents
  taken().pivot('pay', pay, ({ input }) => ({ item: input.item }));
  // @ts-expect-error wrong input type
  taken().pivot('pay', pay, () => ({ cents: '1' }));
  // @ts-expect-error the result of a later step
  begin().compensatable('take', take, ({ results }) => ({ item: results.pay.receipt }));
  // @ts-expect-error the step's own result
  taken().pivot('pay', pay, ({ results }) => ({ cents: results.pay.cents }));
  // @ts-expect-error two steps of one name
  taken().pivot('take', pay, () => ({ cents: 1 }));
  // @ts-expect-error two steps of one name, after the pivot
  paid().retriable('pay', send, ({ results }) => ({ receipt: results.pay.receipt }));
  const sent = paid().retriable('send', send, ({ results }) => ({ receipt: results.pay.receipt }));
  // @ts-expect-error a retriable step may be skipped, and has no result then
  sent.retriable('note', note, ({ results }) => ({ text: results.send.parcel }));
  // @ts-expect-error wrong answer of the saga
  sent.returns(({ results }) => results.take);
};

describe('the table of a saga', () => {
  it('types what is right, step by step', () => {
    const saga = paid()
      .retriable('send', send, ({ results }) => ({ receipt: results.pay.receipt }))
      .retriable('note', note, ({ results }) => ({ text: results.send?.parcel ?? 'not sent' }))
      .returns(({ results }) => results.pay);
    expect(saga.steps.map(({ name, role }) => `${role} ${name}`)).toEqual([
      'compensatable take',
      'pivot pay',
      'retriable send',
      'retriable note',
    ]);
    expect(saga.orchestration.name).toBe('saga-buy');
  });

  it('may be a pivot alone', () => {
    const saga = begin()
      .pivot('pay', pay, () => ({ cents: 1 }))
      .returns(({ results }) => results.pay);
    expect(saga.steps).toHaveLength(1);
  });

  it.each(['', 'Take', 'a b', 'a'.repeat(65), '1st', 'local'])(
    'refuses the step name %j',
    (name) => {
      expect(() => begin().pivot(name, pay, () => ({ cents: 1 }))).toThrow(BugError);
    },
  );

  it('refuses two steps of one name, also where the compiler is not asked', () => {
    const name: string = 'take';
    expect(() => taken().pivot(name as 'other', pay, () => ({ cents: 1 }))).toThrow(BugError);
  });

  it('refuses kinds, limits and lengths that cannot work', () => {
    const facts = { input: z.null(), output: z.null() };
    expect(() => defineSaga({ kind: 'x'.repeat(33), ...facts })).toThrow(BugError);
    expect(() => begin({ ...DEFAULT_LIMITS, maxAttempts: 0 })).toThrow(BugError);
    const backoff = { firstMs: 10, factor: 2, maxMs: 5 };
    expect(() => begin({ ...DEFAULT_LIMITS, backoff })).toThrow(BugError);
    let tail = paid();
    const add = (at: number) => {
      tail = tail.retriable(`s${at}` as 'x', send, () => ({ receipt: '' })) as typeof tail;
    };
    for (let at = 0; at < 18; at++) add(at);
    expect(() => add(18)).toThrow(BugError);
  });

  it('refuses a step whose activity the host would not take', () => {
    expect(() => defineStep({ name: 'a b', input: z.null(), output: z.null() })).toThrow(
      PermanentError,
    );
  });
});
