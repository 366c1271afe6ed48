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
function setUp(
  overrides: {
    patienceMs?: number;
    maxWaiting?: number;
    maxItems?: number;
    statementsAtOnce?: number;
  } = {},
) {
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

/** Lets everything that can go on go on: a statement's end, and what is sent at the end of that turn. */
const settle = (): Promise<void> =>
  new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

/** A write of which nobody else knows, under way. */
async function begin({ calls, write }: ReturnType<typeof setUp>, item: string) {
  const result = write(item);
  await settle();
  expect(calls.at(-1)?.items).toEqual([item]);
  return { result, call: calls.at(-1) };
}

describe('a writer of writes', () => {
  it('sends a write in the same turn, alone, when nothing is under way', async () => {
    const { calls, write } = setUp();
    const a = write('a');
    await settle();
    expect(calls.map((call) => call.items)).toEqual([['a']]);
    calls[0]?.finish();
    expect(await a).toBe('alone a');
    const b = write('b');
    await settle();
    expect(calls.map((call) => call.items)).toEqual([['a'], ['b']]);
    calls[1]?.finish();
    expect(await b).toBe('alone b');
  });

  it('sends those that come in one turn as one', async () => {
    const { calls, write } = setUp();
    const all = ['a', 'b', 'c'].map(write);
    expect(calls).toEqual([]);
    await settle();
    expect(calls.map((call) => call.items)).toEqual([['a', 'b', 'c']]);
    calls[0]?.finish();
    expect(await Promise.all(all)).toEqual(['written', 'written', 'written']);
  });

  it('sends more than may go together as several, when as many may be under way', async () => {
    const { calls, write } = setUp({ statementsAtOnce: 2, maxItems: 2 });
    const all = ['a', 'b', 'c', 'd', 'e'].map(write);
    await settle();
    expect(calls.map((call) => call.items)).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
    calls[0]?.finish();
    await settle();
    expect(calls[2]?.items).toEqual(['e']);
    for (const call of calls.slice(1)) call.finish();
    expect(await Promise.all(all)).toEqual([...Array(4).fill('written'), 'alone e']);
  });

  it('sends those that came meanwhile as one, in their order, up to the most that go together', async () => {
    const writer = setUp();
    const { calls, write } = writer;
    const a = await begin(writer, 'a');
    const all = ['b', 'c', 'd', 'e', 'f'].map(write);
    await settle();
    expect(calls.length).toBe(1);
    a.call?.finish();
    await settle();
    expect(calls[1]?.items).toEqual(['b', 'c', 'd', 'e']);
    calls[1]?.finish();
    await settle();
    expect(calls[2]?.items).toEqual(['f']);
    calls[2]?.finish();
    expect(await a.result).toBe('alone a');
    expect(await Promise.all(all)).toEqual([...Array(4).fill('written'), 'alone f']);
  });

  it('leaves those alone that the group did not write, its first caller too', async () => {
    const { calls, write } = setUp();
    const all = ['b', 'c', 'd'].map(write);
    await settle();
    calls[0]?.finish(['c']);
    await settle();
    expect(new Set(calls.slice(1).map(({ items }) => items[0]))).toEqual(new Set(['b', 'd']));
    for (const call of calls.slice(1)) call.finish();
    expect(await Promise.all(all)).toEqual(['alone b', 'written', 'alone d']);
  });

  it('gives a failure of the statement to all of the group, and goes on', async () => {
    const writer = setUp();
    const group = Promise.allSettled(['b', 'c'].map(writer.write));
    await settle();
    writer.calls[0]?.fail(new DatabaseError('lost'));
    const failed = { status: 'rejected', reason: { failure: 'lost' } };
    expect(await group).toMatchObject([failed, failed]);
    const d = await begin(writer, 'd');
    d.call?.finish();
    expect(await d.result).toBe('alone d');
  });

  it('keeps trouble that is the first caller’s own from the others', async () => {
    const { calls, write } = setUp();
    const b = write('b');
    const c = write('c');
    await settle();
    calls[0]?.fail(RetryableError.shardUnavailable(0, { details: { reason: 'deadline passed' } }));
    await expect(b).rejects.toMatchObject({ code: 'shard-unavailable' });
    await settle();
    expect(calls[1]?.items).toEqual(['c']);
    calls[1]?.finish();
    expect(await c).toBe('alone c');
  });

  it('does not have others wait behind a statement that hangs', async () => {
    const writer = setUp({ patienceMs: 5 });
    const { calls, write } = writer;
    const a = await begin(writer, 'a');
    const rest = ['b', 'c'].map(write);
    await expect.poll(() => calls.length).toBe(2);
    expect(calls[1]?.items).toEqual(['b', 'c']);
    calls[1]?.finish();
    expect(await Promise.all(rest)).toEqual(['written', 'written']);
    a.call?.finish();
    expect(await a.result).toBe('alone a');
    // The one that hung gave its place back once, not twice.
    const d = await begin(writer, 'd');
    const e = write('e');
    d.call?.finish();
    await settle();
    expect(calls.map((call) => call.items).slice(2)).toEqual([['d'], ['e']]);
    calls[3]?.finish();
    expect(await Promise.all([d.result, e])).toEqual(['alone d', 'alone e']);
  });

  it('refuses when too many wait', async () => {
    const writer = setUp({ maxWaiting: 1 });
    const a = await begin(writer, 'a');
    const b = writer.write('b');
    await expect(writer.write('c')).rejects.toMatchObject({ code: 'too-many-requests' });
    a.call?.finish();
    await settle();
    writer.calls[1]?.finish();
    expect(await Promise.all([a.result, b])).toEqual(['alone a', 'alone b']);
  });
});
