import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { DatabaseError } from '../../src/database/database-error.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { createRandom } from '../support/random.ts';
import { startSliceApp, userIdsOnShard, type SliceApp } from '../support/slice-app.ts';

/** Orders of many callers at once go to their shard together; each caller gets the answer it would have had alone. */
const NOON = '2026-03-01T12:00:00.000Z';
const CALLERS = 120;

let app: SliceApp;
let users: readonly string[];
beforeAll(async () => {
  app = await startSliceApp({ REQUEST_DEADLINE_MS: '8000' });
  users = userIdsOnShard(0, 20, 1_000);
  for (const userId of users) await app.register(userId);
});
afterEach(() => {
  app.onProbe = () => undefined;
});
afterAll(() => app.stop());

const someUser = (n: number): string => users[n % users.length] as string;

async function statementsSent(): Promise<number> {
  const rows = await app.rows(0, `SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'`);
  return Number(rows[0]?.['Value']);
}

async function amountsStored(from: number): Promise<number[]> {
  const rows = await app.rows(
    0,
    'SELECT amount_cents FROM orders WHERE amount_cents BETWEEN ? AND ? ORDER BY amount_cents',
    [from, from + 999],
  );
  return rows.map((row) => Number(row['amount_cents']) - from);
}

const all = Array.from({ length: CALLERS }, (_, n) => n);

test('orders at once share statements, and each caller is told of its own', async () => {
  const before = await statementsSent();
  const replies = await Promise.all(
    all.map((n) => app.place(someUser(n), { amountCents: 10_000 + n })),
  );
  const sent = (await statementsSent()) - before;
  console.log(`${CALLERS} orders in ${sent} statements`);
  expect(sent).toBeLessThan(CALLERS / 2);
  for (const [n, reply] of replies.entries()) {
    expect([reply.status, reply.json['amountCents'], reply.json['userId']]).toEqual([
      201,
      10_000 + n,
      someUser(n),
    ]);
  }
  expect(await amountsStored(10_000)).toEqual(all);
  const ids = replies.map((reply) => reply.json['orderId']);
  const stored = await app.rows(
    0,
    'SELECT order_id, bucket, user_id FROM orders WHERE amount_cents BETWEEN 10000 AND 10999 ORDER BY amount_cents',
  );
  expect(stored.map((row) => String(row['order_id']))).toEqual(ids);
  expect(stored.filter((row) => row['bucket'] !== bucketOf(String(row['user_id'])))).toEqual([]);
});

test('bad orders among good ones: each gets its own answer, in any mixture', async () => {
  const random = createRandom();
  console.log(`seed ${random.seed}`);
  for (let round = 0; round < 5; round++) {
    const from = 20_000 + round * 1_000;
    const taken = `${7_000_000 + round}`;
    await app.place(someUser(0), { orderId: taken, amountCents: 1, createdAt: NOON });
    const kinds = all.map(
      () => ['good', 'good', 'good', 'nobody', 'same', 'taken'][random.below(6)],
    );
    const replies = await Promise.all(
      kinds.map((kind, n) => {
        if (kind === 'nobody') return app.place('999999999', { amountCents: from + n });
        if (kind === 'same') {
          return app.place(someUser(0), { orderId: taken, amountCents: 1, createdAt: NOON });
        }
        if (kind === 'taken') {
          return app.place(someUser(0), { orderId: taken, amountCents: 2, createdAt: NOON });
        }
        return app.place(someUser(n), { amountCents: from + n });
      }),
    );
    const expected = { good: 201, nobody: 404, same: 200, taken: 409 };
    expect(replies.map((reply) => reply.status)).toEqual(
      kinds.map((kind) => expected[kind as keyof typeof expected]),
    );
    expect(await amountsStored(from)).toEqual(all.filter((n) => kinds[n] === 'good'));
  }
});

test('the same order by many callers at once is placed once', async () => {
  const replies = await Promise.all(
    all.map((n) => app.place(someUser(0), { orderId: `${8_000_000 + (n % 3)}`, amountCents: 5 })),
  );
  expect(replies.filter((reply) => reply.status === 201)).toHaveLength(3);
  expect(replies.filter((reply) => reply.status === 200)).toHaveLength(CALLERS - 3);
  expect(new Set(replies.map((reply) => reply.text)).size).toBe(3);
});

test('a fenced bucket holds up its own orders only', async () => {
  const [held = ''] = users;
  const free = users.filter((userId) => bucketOf(userId) !== bucketOf(held));
  await app.fence(bucketOf(held));
  const waiting = all.slice(0, 10).map((n) => app.place(held, { amountCents: 30_000 + n }));
  const others = await Promise.all(
    all.map((n) => app.place(free[n % free.length] as string, { amountCents: 31_000 + n })),
  );
  expect(others.filter((reply) => reply.status !== 201)).toEqual([]);
  expect(await amountsStored(30_000)).toEqual([]);
  await app.unfence(bucketOf(held));
  for (const reply of await Promise.all(waiting)) expect(reply.status).toBe(201);
  expect(await amountsStored(30_000)).toEqual(all.slice(0, 10));
  expect(await amountsStored(31_000)).toEqual(all);
});

test('a bucket that moved away is followed out of the group', async () => {
  const moved = users.at(-1) as string;
  await app.moveBucket(bucketOf(moved), 2);
  const replies = await Promise.all(
    all.map((n) => app.place(n % 2 === 0 ? moved : someUser(1), { amountCents: 40_000 + n })),
  );
  expect(replies.filter((reply) => reply.status !== 201)).toEqual([]);
  const there = await app.rows(2, 'SELECT COUNT(*) AS n FROM orders WHERE amount_cents >= 40000');
  expect(there).toEqual([{ n: String(CALLERS / 2) }]);
  expect(await amountsStored(40_000)).toEqual(all.filter((n) => n % 2 === 1));
});

test('a group whose answer is lost is told as written, and written once', async () => {
  let answers = 0;
  // One connection, one failure: it does not open the shard's circuit for all.
  const lost = new DatabaseError('lost');
  app.onProbe = (point) => {
    if (point === 'orders.afterInsert' && ++answers <= CALLERS) throw lost;
  };
  const replies = await Promise.all(
    all.map((n) =>
      app.place(someUser(n % 3), {
        amountCents: 50_000 + n,
        ...(n % 2 === 0 ? { orderId: `${9_000_000 + n}` } : {}),
      }),
    ),
  );
  expect(answers).toBe(2 * CALLERS);
  expect(replies.filter((reply) => reply.status !== 201)).toEqual([]);
  expect(await amountsStored(50_000)).toEqual(all);
});

test('connections that are killed under their groups lose and double nothing', async () => {
  let stop = false;
  const killing = (async () => {
    while (!stop) {
      const running = await app.rows(
        0,
        `SELECT ID AS id FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND COMMAND = 'Execute' LIMIT 1`,
      );
      for (const { id } of running) {
        // It may have ended by itself.
        await app.rows(0, `KILL ${Number(id)}`).catch(() => undefined);
      }
    }
  })();
  const replies = [];
  for (let round = 0; round < 8; round++) {
    const from = 60_000 + round * 1_000;
    const answered = await Promise.all(
      all.map((n) => app.place(someUser(n % 3), { amountCents: from + n })),
    );
    replies.push(answered.map((reply) => reply.status));
  }
  stop = true;
  await killing;
  for (const [round, statuses] of replies.entries()) {
    const stored = await amountsStored(60_000 + round * 1_000);
    const acknowledged = all.filter((n) => statuses[n] === 201);
    // None twice; all that were acknowledged; of the others (503) some may have been written.
    expect(new Set(stored).size).toBe(stored.length);
    expect(acknowledged.filter((n) => !stored.includes(n))).toEqual([]);
    expect(statuses.filter((status) => status !== 201 && status !== 503)).toEqual([]);
  }
});
