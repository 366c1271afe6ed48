import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { activityFailure, resultText } from '../../../local/host/durable/activities.ts';
import type { Wakes } from '../../../local/host/durable/engine.ts';
import { formatEntityId, parseEntityId } from '../../../local/host/durable/entities/entity-id.ts';
import { neverBackwards } from '../../../local/host/durable/host-time.ts';
import { instanceIdProblem } from '../../../local/host/durable/instances/start-instance.ts';
import { createKeyedRunner } from '../../../local/host/durable/keyed-runner.ts';
import { createTransactions } from '../../../local/host/durable/store/transactions.ts';
import { createWorkQueue } from '../../../local/host/durable/work-queue.ts';

describe('the work queue', () => {
  it('keeps to its limit and lets a small lane pass a large one', async () => {
    const order: string[] = [];
    let running = 0;
    let most = 0;
    const queue = createWorkQueue<{ lane: string; n: number }>({
      limit: 3,
      laneOf: ({ lane }) => lane,
      async run({ lane, n }) {
        running += 1;
        most = Math.max(most, running);
        await delay(1);
        running -= 1;
        order.push(`${lane}${n}`);
      },
    });
    for (let n = 0; n < 50; n += 1) queue.push({ lane: 'big', n });
    queue.push({ lane: 'small', n: 0 });
    while (order.length < 51) await delay(5);
    expect(most).toBe(3);
    expect(order.indexOf('small0')).toBeLessThan(15);
    expect(order.filter((item) => item.startsWith('big'))[49]).toBe('big49');
    await queue.stop();
  });

  it('waits for running work when it stops, and starts nothing more', async () => {
    let started = 0;
    let ended = 0;
    const queue = createWorkQueue<number>({
      limit: 1,
      laneOf: () => '',
      async run() {
        started += 1;
        await delay(20);
        ended += 1;
      },
    });
    queue.push(1);
    queue.push(2);
    await delay(5);
    await queue.stop();
    expect([started, ended]).toEqual([1, 1]);
  });
});

describe('the keyed runner', () => {
  it('never runs a key twice at once and misses no wake-up', async () => {
    let running = 0;
    let most = 0;
    let runs = 0;
    const runner = createKeyedRunner({
      limit: 10,
      async run() {
        running += 1;
        most = Math.max(most, running);
        await delay(5);
        running -= 1;
        runs += 1;
        return { more: false, cooldownMs: runs === 1 ? 10 : 0 };
      },
    });
    runner.wake('a');
    await delay(2);
    runner.wake('a');
    runner.wake('a');
    while (runs < 2) await delay(2);
    await delay(15);
    expect([most, runs]).toEqual([1, 2]);
    await runner.stop();
  });
});

describe('transactions', () => {
  const probe = { reach: () => undefined };

  it('share a commit, without sharing failures, and dispatch only what was committed', async () => {
    const db = new DatabaseSync(':memory:');
    db.exec('CREATE TABLE t (n INTEGER)');
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    const dispatched: Wakes[] = [];
    const { commitSoon } = createTransactions(db, probe, (wakes) => dispatched.push(wakes));
    const results = await Promise.allSettled(
      [1, 2, 3].map((n) =>
        commitSoon((wakes) => {
          insert.run(n);
          wakes.instances.add(`i${n}`);
          if (n === 2) throw new Error('not this one');
          return n;
        }),
      ),
    );
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(db.prepare('SELECT n FROM t').all()).toEqual([{ n: 1 }, { n: 3 }]);
    expect(dispatched.map(({ instances }) => [...instances])).toEqual([['i1', 'i3']]);
  });

  it('reject everyone when the commit fails', async () => {
    const db = new DatabaseSync(':memory:');
    db.exec('CREATE TABLE t (n INTEGER)');
    const failing = {
      reach: (point: string) => {
        if (point === 'commit.before') throw new Error('disk full');
      },
    };
    const { commitSoon } = createTransactions(db, failing, () => {
      throw new Error('must not be dispatched');
    });
    const all = await Promise.allSettled([commitSoon(() => 1), commitSoon(() => 2)]);
    expect(all.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(db.isTransaction).toBe(false);
  });
});

describe('small rules', () => {
  it('time never runs backwards but always on', () => {
    const wall = [100, 110, 50, 60, 200, 10];
    const clock = neverBackwards(() => wall.shift() ?? 0);
    expect([clock(), clock(), clock(), clock(), clock()]).toEqual([100, 110, 110, 120, 260]);
    expect(clock()).toBe(260);
  });

  it('entity ids ignore the case of names, not of keys', () => {
    expect(formatEntityId({ name: 'Cart', key: 'A@b' })).toBe('@cart@A@b');
    expect(parseEntityId('@cart@A@b')).toEqual({ name: 'cart', key: 'A@b' });
    expect(parseEntityId('cart')).toBeNull();
  });

  it.each(['', '@x', 'a/b', 'a\\b', 'a#b', 'a?b', 'a\nb', 'x'.repeat(257)])(
    'refuses the instance id %j',
    (id) => {
      expect(instanceIdProblem(id)).not.toBeNull();
    },
  );

  it('accepts the ids the engine itself makes', () => {
    expect(instanceIdProblem('0af3:12')).toBeNull();
  });

  it('renders results of every type', () => {
    expect(resultText(null)).toBe('null');
    expect(resultText({})).toBe('null');
    expect(resultText({ string: 'a"b' })).toBe('"a\\"b"');
    expect(resultText({ json: '[1]' })).toBe('[1]');
    expect(resultText({ double: 1.5 })).toBe('1.5');
    expect(resultText({ bytes: Buffer.from('x') })).toBe('"eA=="');
  });

  it('reads failure details from the message of an exception properties provider', () => {
    const error = new Error(
      JSON.stringify({
        errorType: 'OutOfStock',
        errorMessage: 'none left',
        properties: { sku: 1 },
      }),
    );
    expect(activityFailure('reserve', error)).toMatchObject({
      Reason: "Activity function 'reserve' failed: none left",
      FailureDetails: { ErrorType: 'OutOfStock', Properties: { sku: 1 }, IsNonRetriable: false },
    });
    expect(activityFailure('reserve', new Error('{no json'))).not.toHaveProperty('FailureDetails');
    expect(activityFailure('reserve', 'text')).toMatchObject({ Details: '' });
  });
});
