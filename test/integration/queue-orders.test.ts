import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { DatabaseError } from '../../src/database/database-error.ts';
import { takeMessage } from '../../src/ingestion/queue.ts';
import type { AppError } from '../../src/kernel/errors.ts';
import type { OrderId, UserId } from '../../src/kernel/ids.ts';
import type { AmountCents } from '../../src/kernel/money.ts';
import { noopTelemetry, type Telemetry } from '../../src/kernel/telemetry.ts';
import { ATTRIBUTES, METRICS } from '../../src/kernel/telemetry-names.ts';
import type { Timestamp } from '../../src/kernel/time.ts';
import { createOrderBatchWriter, toOrderRow } from '../../src/orders/batch-writer.ts';
import { writeOrder } from '../../src/orders/write-order.ts';
import type { Services } from '../../src/services.ts';
import { createOrderIdDeriver } from '../../src/sharding/derived-ids.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { asAdmin } from '../support/cluster.ts';
import { silentLogger } from '../support/drive-orchestrator.ts';
import { createRandom } from '../support/random.ts';
import { startSliceApp, userIdsOnShard, type SliceApp } from '../support/slice-app.ts';
import { createTestInstance, testConfig } from '../support/test-database.ts';

/** Messages with one order each go to their shard together with the orders of callers; each ends as it would have alone. */
const SETTINGS = { REQUEST_DEADLINE_MS: '5000', CIRCUIT_OPEN_MS: '200' };
const SENT = '2026-05-01T00:00:00.000Z';
const NOON = '2026-03-01T12:00:00.000Z';
const NOBODY = '999999999';
const WRONG_AMOUNT =
  '/amountCents a whole number of cents from 1 to 2147483647 is expected, got another number';

let app: SliceApp;
let services: Services;
let users: readonly string[];
/** Texts of copies that were put off. */
let copies: string[] = [];
/** Orders from the queue by what became of them. */
let counted: Record<string, number> = {};

beforeAll(async () => {
  app = await startSliceApp(SETTINGS);
  services = listening(app.services);
  users = userIdsOnShard(0, 20, 1_000);
  for (const userId of users) await app.register(userId);
});
afterEach(() => {
  app.onProbe = () => undefined;
  copies = [];
  counted = {};
});
afterAll(() => app.stop());

const all = Array.from({ length: 90 }, (_, n) => n);
const someUser = (n: number): string => users[n % users.length] as string;

/** Services that keep what is put on the queue, and count what is told of orders from the queue. */
function listening(plain: Services): Services {
  const telemetry: Telemetry = {
    ...noopTelemetry,
    enabled: true,
    counter: ({ name }) => ({
      add: (value, attributes = {}) => {
        if (name !== METRICS.orderWrites.name || attributes[ATTRIBUTES.source] !== 'queue') return;
        const outcome = String(attributes[ATTRIBUTES.outcome]);
        counted[outcome] = (counted[outcome] ?? 0) + value;
      },
    }),
  };
  const send = (_queue: string, text: string): Promise<void> =>
    Promise.resolve(void copies.push(text));
  return { ...plain, telemetry, queues: { send } as unknown as Services['queues'] };
}

function deliver(message: unknown, id: string, to: Services = services): Promise<void> {
  return takeMessage(to, {
    message,
    metadata: { id, insertionTime: '2026-05-01T00:00:00+00:00', dequeueCount: 1 },
    client: () => {
      throw new Error('no orchestration is asked for');
    },
    logger: silentLogger,
  });
}

async function statementsSent(): Promise<number> {
  const rows = await app.rows(0, `SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'`);
  return Number(rows[0]?.['Value']);
}

interface Stored {
  readonly n: number;
  readonly orderId: string;
  readonly createdAt: string;
}

async function stored(from: number): Promise<Stored[]> {
  const rows = await app.allRows(
    `SELECT o.amount_cents, o.order_id, o.created_at FROM orders o
     JOIN bucket_ownership w ON w.bucket = o.bucket AND w.state = 'owned'
     WHERE o.amount_cents BETWEEN ? AND ?`,
    [from, from + 999],
  );
  const found = rows.map((row) => ({
    n: Number(row['amount_cents']) - from,
    orderId: String(row['order_id']),
    createdAt: String(row['created_at']),
  }));
  return found.sort((a, b) => a.n - b.n);
}

const numbers = async (from: number): Promise<number[]> => (await stored(from)).map(({ n }) => n);
const message = (from: number, n: number): unknown => ({
  userId: someUser(n),
  amountCents: from + n,
});

test('messages at once share statements; each order has the id and the time of its message', async () => {
  const before = await statementsSent();
  await Promise.all(all.map((n) => deliver(message(10_000, n), `a-${n}`)));
  const sent = (await statementsSent()) - before;
  console.log(`${all.length} messages in ${sent} statements`);
  expect(sent).toBeLessThan(all.length / 2);
  const idOf = (n: number): string => createOrderIdDeriver({ kind: 'single', source: `a-${n}` })(0);
  expect(await stored(10_000)).toEqual(
    all.map((n) => ({ n, orderId: idOf(n), createdAt: '2026-05-01 00:00:00.000' })),
  );
  expect(counted).toEqual({ created: all.length });
});

test('a message that comes again, also twice at once, inserts nothing', async () => {
  const twice = [...all, ...all.toReversed()];
  await Promise.all(twice.map((n) => deliver(message(11_000, n), `b-${n}`)));
  await Promise.all(all.map((n) => deliver(message(11_000, n), `b-${n}`)));
  expect(await numbers(11_000)).toEqual(all);
  expect(counted).toEqual({ created: all.length, replayed: 2 * all.length });
});

/** What becomes of each kind of message in a mixture: of another caller, done, or refused with this text. */
const ENDINGS: Readonly<Record<string, (n: number) => string>> = {
  http: () => '201',
  good: () => 'done',
  same: () => 'done',
  nobody: () => `user-not-found: Refused of this message: user ${NOBODY} does not exist.`,
  malformed: () => `validation-failed: Refused of this message: order 1: ${WRONG_AMOUNT}.`,
  taken: (n) => conflict(n),
  late: (n) => conflict(n),
};
const KINDS = [...Object.keys(ENDINGS), 'good', 'good', 'good'];

const takenId = (n: number): string => `${700 + (n % 3)}`;

function conflict(n: number): string {
  return `order-conflict: Refused of this message: order ${takenId(n)} is there already with other content.`;
}

function messageOf(kind: string, from: number, n: number): unknown {
  const taken = { userId: someUser(0), orderId: takenId(n), amountCents: 1 };
  switch (kind) {
    case 'nobody':
      return { userId: NOBODY, amountCents: from + n };
    case 'malformed':
      return { userId: someUser(n), amountCents: -1 };
    case 'taken':
      return { ...taken, amountCents: 2 };
    case 'late':
      return { ...taken, createdAt: SENT };
    // Without a time of its own an order is the same whatever the time of the one that is there.
    case 'same':
      return taken;
    default:
      return message(from, n);
  }
}

test('bad messages among good ones and among callers: each ends as it would alone', async () => {
  const random = createRandom();
  console.log(`seed ${random.seed}`);
  for (const n of [0, 1, 2]) {
    await app.place(someUser(0), { orderId: takenId(n), amountCents: 1, createdAt: NOON });
  }
  for (let round = 0; round < 4; round++) {
    counted = { created: 0, replayed: 0, refused: 0 };
    const from = 20_000 + round * 1_000;
    const kinds = all.map(() => KINDS[random.below(KINDS.length)] as string);
    const ended = await Promise.all(
      kinds.map((kind, n) =>
        kind === 'http'
          ? app.place(someUser(n), { amountCents: from + n }).then(({ status }) => `${status}`)
          : deliver(messageOf(kind, from, n), `c-${round}-${n}`).then(
              () => 'done',
              ({ code, message: text }: AppError) => `${code}: ${text}`,
            ),
      ),
    );
    expect(ended).toEqual(kinds.map((kind, n) => ENDINGS[kind]?.(n)));
    const count = (...wanted: string[]): number =>
      kinds.filter((kind) => wanted.includes(kind)).length;
    expect(counted).toEqual({
      created: count('good'),
      replayed: count('same'),
      refused: count('nobody', 'malformed', 'taken', 'late'),
    });
    expect(await numbers(from)).toEqual(all.filter((n) => /good|http/.test(kinds[n] as string)));
  }
  expect(copies).toEqual([]);
});

test('an order alone ends as in a batch of one, whatever was there', async () => {
  const random = createRandom();
  console.log(`seed ${random.seed}`);
  const writer = createOrderBatchWriter(services);
  const options = { deadlineMs: 5_000 };
  // Two users, each with the same story; the third is nobody, who is nobody for both.
  const [ours = '', theirs = ''] = users.slice(1, 3);
  for (let step = 0; step < 60; step++) {
    const orderId = `${800 + random.below(8)}` as OrderId;
    const createdAt = [NOON, SENT, undefined][random.below(3)] as Timestamp | undefined;
    const amountCents = (1 + random.below(2)) as AmountCents;
    const isNobody = random.below(8) === 0;
    const rowOf = (userId: string) =>
      toOrderRow(
        { userId: (isNobody ? NOBODY : userId) as UserId, amountCents, createdAt },
        { orderId, createdAt: '2026-04-01T00:00:00.000Z' as Timestamp },
      );
    const lengths = (outcome: Awaited<ReturnType<typeof writeOrder>>) => ({
      ...outcome,
      conflicts: outcome.conflicts.length,
      missing: outcome.missing.length,
      unsettled: outcome.unsettled.length,
    });
    const alone = await writeOrder(services, rowOf(ours), options);
    const inBatch = await writer.writeOrders([rowOf(theirs)], options);
    expect(lengths(alone), `step ${step}, SEED=${random.seed}`).toEqual(lengths(inBatch));
  }
  const told = (userId: string) =>
    app.rows(
      0,
      `SELECT order_id, amount_cents, created_at FROM orders
       WHERE user_id = ? AND order_id BETWEEN 800 AND 807 ORDER BY order_id`,
      [userId],
    );
  expect(await told(ours)).toEqual(await told(theirs));
});

test('a fenced bucket holds up its own messages only', async () => {
  const [held = ''] = users;
  const free = users.filter((userId) => bucketOf(userId) !== bucketOf(held));
  await app.fence(bucketOf(held));
  const waiting = all
    .slice(0, 10)
    .map((n) => deliver({ userId: held, amountCents: 30_000 + n }, `d-${n}`));
  await Promise.all(
    all.map((n) => deliver({ userId: free[n % free.length], amountCents: 31_000 + n }, `e-${n}`)),
  );
  expect(await numbers(30_000)).toEqual([]);
  expect(await numbers(31_000)).toEqual(all);
  await app.unfence(bucketOf(held));
  await Promise.all(waiting);
  expect(await numbers(30_000)).toEqual(all.slice(0, 10));
  expect(copies).toEqual([]);
});

test('a bucket that moved away is followed out of the group', async () => {
  const moved = users.at(-1) as string;
  await app.moveBucket(bucketOf(moved), 2);
  await Promise.all(
    all.map((n) =>
      deliver({ userId: n % 2 === 0 ? moved : someUser(1), amountCents: 40_000 + n }, `f-${n}`),
    ),
  );
  expect(await numbers(40_000)).toEqual(all);
  const there = await app.rows(2, 'SELECT COUNT(*) AS n FROM orders WHERE amount_cents >= 40000');
  expect(there).toEqual([{ n: String(all.length / 2) }]);
});

test('orders whose answers are lost are written once, and the messages are done', async () => {
  let answers = 0;
  // One connection, one failure: it does not open the shard's circuit for all.
  const lost = new DatabaseError('lost');
  app.onProbe = (point) => {
    if (point === 'orders.afterInsert' && ++answers <= all.length) throw lost;
  };
  await Promise.all(
    all.map((n) => deliver({ userId: someUser(n % 3), amountCents: 50_000 + n }, `g-${n}`)),
  );
  expect(answers).toBe(2 * all.length);
  expect(await numbers(50_000)).toEqual(all);
  expect(counted).toEqual({ replayed: all.length });
});

test('a server that refuses writes has its messages put off, and no others', async () => {
  const elsewhere = userIdsOnShard(1, 1, 1_000)[0] as string;
  await app.register(elsewhere);
  const some = all.slice(0, 30);
  const hasty = { ...services, config: { ...services.config, REQUEST_DEADLINE_MS: 600 } };
  await asAdmin(app.databases.stack, 0, ['SET GLOBAL read_only = ON']);
  try {
    await Promise.all([
      ...some.map((n) => deliver(message(60_000, n), `h-${n}`, hasty)),
      ...some.map((n) => deliver({ userId: elsewhere, amountCents: 61_000 + n }, `i-${n}`)),
    ]);
  } finally {
    await asAdmin(app.databases.stack, 0, ['SET GLOBAL read_only = OFF']);
  }
  expect(await numbers(60_000)).toEqual([]);
  expect(await numbers(61_000)).toEqual(some);
  expect(counted).toEqual({ created: some.length, unavailable: some.length });
  const found = copies.map((text) => JSON.parse(text) as { deferred: { messageId: string } });
  expect(found.map(({ deferred }) => deferred.messageId).toSorted()).toEqual(
    some.map((n) => `h-${n}`).toSorted(),
  );
  await new Promise((resolve) => setTimeout(resolve, 300));
  await Promise.all(found.map((copy, n) => deliver(copy, `j-${n}`)));
  // The originals come late, as after a crash between the copy and the end of the delivery.
  await Promise.all(some.map((n) => deliver(message(60_000, n), `h-${n}`)));
  expect(await numbers(60_000)).toEqual(some);
});

test('messages that find too many waiting are put off, and written when they come again', async () => {
  const settings = { ...SETTINGS, SHARD_POOL_QUEUE: '5' };
  const instance = createTestInstance(app.databases, { settings, map: app.map });
  const crowded = listening({
    ...app.services,
    config: testConfig(app.databases, settings),
    database: instance.database,
  });
  await Promise.all(all.map((n) => deliver(message(70_000, n), `k-${n}`, crowded)));
  const putOff = copies.length;
  console.log(`${putOff} of ${all.length} put off`);
  expect(putOff).toBeGreaterThan(0);
  expect(counted).toEqual({ created: all.length - putOff, unavailable: putOff });
  for (const copy of copies.slice()) await deliver(JSON.parse(copy), 'l', crowded);
  await instance.database.close();
  expect(copies).toHaveLength(putOff);
  expect(await numbers(70_000)).toEqual(all);
});
