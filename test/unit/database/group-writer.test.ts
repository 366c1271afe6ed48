import { describe, expect, it } from 'vitest';
import { DatabaseError } from '../../../src/database/database-error.ts';
import { GroupWriter } from '../../../src/database/group-writer.ts';
import { RetryableError } from '../../../src/kernel/errors.ts';

interface Call {
  readonly items: readonly string[];
  readonly finish: (written?: readonly string[]) => void;
  readonly fail: (error: unknown) => void;
}

/** A writer whose statements end when the test says so. */
function setUp(overrides: { patienceMs?: number; maxWaiting?: number; maxItems?: number } = {}) {
  const calls: Call[] = [];
  const writer = new GroupWriter<string>({
    statementsAtOnce: 1,
    maxItems: 4,
    patienceMs: 60_000,
    maxWaiting: 10,
    refusal: () => RetryableError.tooManyRequests('full'),
    ...overrides,
  });
  const send = <T>(items: readonly string[], made: (written: readonly string[]) => T): Promise<T> =>
    new Promise((resolve, reject) => {
      calls.push({
        items,
        finish: (written = items) => resolve(made(written)),
        fail: reject,
      });
    });
  const write = (item: string): Promise<string> =>
    writer.run(
      item,
      (items) => send(items, (written) => new Set(written)),
      () => send([item], () => `alone ${item}`),
    );
  return { calls, write };
}

/** Lets everything that can go on go on. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a writer of writes', () => {
  it('sends a write at once, alone, when nothing is under way', async () => {
    const { calls, write } = setUp();
    const a = write('a');
    expect(calls.map((call) => call.items)).toEqual([['a']]);
    calls[0]?.finish();
    expect(await a).toBe('alone a');
    const b = write('b');
    expect(calls.map((call) => call.items)).toEqual([['a'], ['b']]);
    calls[1]?.finish();
    expect(await b).toBe('alone b');
  });

  it('sends those that came meanwhile as one, in their order, up to the most that go together', async () => {
    const { calls, write } = setUp();
    const all = ['a', 'b', 'c', 'd', 'e', 'f'].map(write);
    calls[0]?.finish();
    await settle();
    expect(calls[1]?.items).toEqual(['b', 'c', 'd', 'e']);
    calls[1]?.finish();
    await settle();
    expect(calls[2]?.items).toEqual(['f']);
    calls[2]?.finish();
    expect(await Promise.all(all)).toEqual([
      'alone a',
      'written',
      'written',
      'written',
      'written',
      'alone f',
    ]);
  });

  it('leaves those alone that the group did not write, its first caller too', async () => {
    const { calls, write } = setUp();
    const all = ['a', 'b', 'c', 'd'].map(write);
    calls[0]?.finish();
    await settle();
    calls[1]?.finish(['c']);
    await settle();
    expect(new Set(calls.slice(2).map(({ items }) => items[0]))).toEqual(new Set(['b', 'd']));
    for (const call of calls.slice(2)) call.finish();
    expect(await Promise.all(all)).toEqual(['alone a', 'alone b', 'written', 'alone d']);
  });

  it('gives a failure of the statement to all of the group, and goes on', async () => {
    const { calls, write } = setUp();
    const a = write('a');
    const group = Promise.allSettled(['b', 'c'].map(write));
    calls[0]?.finish();
    await a;
    await settle();
    calls[1]?.fail(new DatabaseError('lost'));
    const failed = { status: 'rejected', reason: { failure: 'lost' } };
    expect(await group).toMatchObject([failed, failed]);
    const d = write('d');
    calls[2]?.finish();
    expect(await d).toBe('alone d');
  });

  it('keeps trouble that is the first caller’s own from the others', async () => {
    const { calls, write } = setUp();
    const a = write('a');
    const b = write('b');
    const c = write('c');
    calls[0]?.finish();
    await a;
    await settle();
    calls[1]?.fail(RetryableError.shardUnavailable(0, { details: { reason: 'deadline passed' } }));
    await expect(b).rejects.toMatchObject({ code: 'shard-unavailable' });
    await settle();
    expect(calls[2]?.items).toEqual(['c']);
    calls[2]?.finish();
    expect(await c).toBe('alone c');
  });

  it('does not have others wait behind a statement that hangs', async () => {
    const { calls, write } = setUp({ patienceMs: 5 });
    const a = write('a');
    const rest = ['b', 'c'].map(write);
    await expect.poll(() => calls.length).toBe(2);
    expect(calls[1]?.items).toEqual(['b', 'c']);
    calls[1]?.finish();
    expect(await Promise.all(rest)).toEqual(['written', 'written']);
    calls[0]?.finish();
    expect(await a).toBe('alone a');
    // The one that hung gave its place back once, not twice.
    const d = write('d');
    const e = write('e');
    expect(calls.map((call) => call.items).slice(2)).toEqual([['d']]);
    calls[2]?.finish();
    await settle();
    calls[3]?.finish();
    expect(await Promise.all([d, e])).toEqual(['alone d', 'alone e']);
  });

  it('refuses when too many wait', async () => {
    const { calls, write } = setUp({ maxWaiting: 1 });
    const first = ['a', 'b'].map(write);
    await expect(write('c')).rejects.toMatchObject({ code: 'too-many-requests' });
    calls[0]?.finish();
    await settle();
    calls[1]?.finish();
    expect(await Promise.all(first)).toEqual(['alone a', 'alone b']);
  });
});
