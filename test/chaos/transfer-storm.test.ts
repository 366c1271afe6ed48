import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type HttpReply, until } from '../support/http.ts';
import { createRandom, type Random } from '../support/random.ts';
import { onEveryShard } from '../support/sagas/cases.ts';
import { expectWays, ownersNow, type PlacedOrder } from '../support/sagas/order-ways.ts';
import { createKeys, SHARDS } from '../support/sagas/placement.ts';
import { ask, expectNothingHeld } from '../support/sagas/watch.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

/**
 * Orders wander between users while the host is killed and a shard is away: none is lost, doubled or left half-way, and
 * every caller is told something clear. Short by default; TEST_LONG=1 is the full run. SEED repeats the choices.
 */
const LONG = process.env['TEST_LONG'] === '1';
const SCALE = LONG
  ? { transfers: 2_000, users: 200, orders: 600, kills: 10, shardAwayMs: 15_000 }
  : { transfers: 200, users: 40, orders: 80, kills: 2, shardAwayMs: 5_000 };
const WIDTH = 32;
const SETTLE_TIMEOUT_MS = 300_000;
/** Far more than the shard's absence and the restarts take. */
const MOST_ATTEMPTS = 100;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({
    settings: {
      // Deadlocks that were tried again are told at this level.
      LOG_LEVEL: 'debug',
      SAGA_SWEEP_SCHEDULE: '*/5 * * * * *',
      SAGA_STALE_MS: '10000',
    },
  });
});
afterAll(() => app.stop());

interface Order extends PlacedOrder {
  /** Who has it as far as the callers know. */
  believed: string;
}

async function registerUsers(): Promise<readonly string[]> {
  const keys = createKeys(1);
  const users = Array.from({ length: SCALE.users }, (_, index) => index % SHARDS);
  return await inLanes(users, async (shard) => {
    const userId = keys.userOn(shard);
    const reply = await app.http.post('/api/users', { userId, email: keys.emailOn(shard) });
    expect(reply.status).toBe(201);
    return userId;
  });
}

async function placeOrders(users: readonly string[], random: Random): Promise<readonly Order[]> {
  const numbers = Array.from({ length: SCALE.orders }, (_, index) => index);
  return await inLanes(numbers, async () => {
    const placedBy = users[random.below(users.length)] as string;
    const reply = await app.http.post(`/api/users/${placedBy}/orders`, {
      amountCents: 1 + random.below(100_000),
    });
    expect(reply.status).toBe(201);
    return {
      orderId: String(reply.json['orderId']),
      amountCents: Number(reply.json['amountCents']),
      createdAt: String(reply.json['createdAt']),
      placedBy,
      believed: placedBy,
    };
  });
}

/** Does something for each item, `WIDTH` at a time; the answers in the order in which they came. */
async function inLanes<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const waiting = items.values();
  const lane = async (): Promise<void> => {
    for (const item of waiting) results.push(await act(item));
  };
  await Promise.all(Array.from({ length: WIDTH }, lane));
  return results;
}

/** What a caller was told: the status and its code, or that the connection broke. */
type Told = string;

/**
 * One caller. Half of them send a key and repeat what was not answered, or only with 503, until they know; the others
 * leave it at that.
 */
async function transferOne(
  orders: readonly Order[],
  users: readonly string[],
  random: Random,
): Promise<readonly Told[]> {
  const order = orders[random.below(orders.length)] as Order;
  const fromUserId = order.believed;
  const toUserId = pickOther(users, fromUserId, random);
  const isPatient = random.below(2) === 0;
  const headers: Record<string, string> = isPatient ? { 'idempotency-key': newKey() } : {};
  const path = `/api/orders/${order.orderId}/transfer`;
  const told: Told[] = [];
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt += 1) {
    const reply = await ask(() => app.http.post(path, { fromUserId, toUserId }, headers));
    told.push(reply === undefined ? 'broken connection' : toldBy(reply));
    if (reply?.status === 200) order.believed = toUserId;
    if (reply?.status === 404) order.believed = (await ownerOf(order.orderId)) ?? fromUserId;
    if (reply !== undefined && reply.status !== 503) break;
    await sleep(200 + random.below(800));
    if (!isPatient) break;
  }
  return told;
}

let keysSent = 0;
function newKey(): string {
  keysSent += 1;
  return `storm-${keysSent}`;
}

/** Who sees an order, past the app; undefined while its shard is away or it is on its way. */
async function ownerOf(orderId: string): Promise<string | undefined> {
  try {
    const text = 'SELECT user_id FROM orders WHERE order_id = ? AND state IN (0, 1)';
    const [row] = await onEveryShard(app, text, [orderId]);
    return row === undefined ? undefined : String(row['user_id']);
  } catch {
    return undefined;
  }
}

function pickOther(users: readonly string[], not: string, random: Random): string {
  for (;;) {
    const found = users[random.below(users.length)] as string;
    if (found !== not) return found;
  }
}

function toldBy(reply: HttpReply): Told {
  const code = reply.json['code'];
  if (/deadlock|lock wait/i.test(reply.text)) return `${reply.status} of a lock: ${reply.text}`;
  if (typeof code === 'string') return `${reply.status} ${code}`;
  return reply.status === 503 ? '503 of the host, which starts' : String(reply.status);
}

/** Success, a 4xx or 503 that says why, or a connection that broke with the host. */
function isClear(told: Told): boolean {
  return /^(200|202|broken connection|4\d\d [a-z-]+|503 ([a-z-]+|of the host, which starts))$/.test(
    told,
  );
}

async function killRepeatedly(random: Random, isOver: () => boolean): Promise<number> {
  let kills = 0;
  while (kills < SCALE.kills && !(isOver() && kills > 0)) {
    await sleep(700 + random.below(2_500));
    await app.kill();
    kills += 1;
    await app.restart();
  }
  return kills;
}

async function takeShardAway(random: Random): Promise<void> {
  const shard = random.below(SHARDS);
  await sleep(1_500);
  console.log(`shard ${shard} is away for ${SCALE.shardAwayMs} ms`);
  await app.stopShard(shard);
  await sleep(SCALE.shardAwayMs);
  await app.startShard(shard);
}

/** The number of orders in the total, asked again and again while they wander. */
async function watchTotal(isOver: () => boolean): Promise<readonly number[]> {
  const seen: number[] = [];
  while (!isOver()) {
    const reply = await ask(() => app.http.get('/api/revenue'));
    if (reply?.status === 200) seen.push(Number(reply.json['orders']));
    await sleep(100);
  }
  return seen;
}

function tally(list: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const entry of list.toSorted()) counts[entry] = (counts[entry] ?? 0) + 1;
  return counts;
}

/** What the host logged of tries that failed and were made again, and of deadlocks among them. */
function retriesLogged(): Readonly<Record<string, number>> {
  const failed = app.output.filter((line) => line.includes('database.attempt_failed'));
  const kinds = failed.map((line) => /"errorCode":"([a-z-]+)"/.exec(line)?.[1] ?? 'other');
  const count = (part: string): number => failed.filter((line) => line.includes(part)).length;
  return {
    ...tally(kinds),
    deadlocks: count('"errno":1213'),
    'lock waits': count('"errno":1205'),
    'steps that failed': app.output.filter((line) => line.includes('sagas.step_failed')).length,
  };
}

/** What is told at the level of deadlocks is seen: a message that is taken says so there. */
async function expectDebugLines(): Promise<void> {
  const input = { email: 'last@example.com' };
  await app.enqueue('sagas', { kind: 'register-user', sagaId: 'storm-last', input });
  await until(
    () => Promise.resolve(app.output.some((line) => line.includes('sagas.message_taken'))),
    (isSeen) => isSeen,
    { timeoutMs: 60_000 },
  );
}

async function nothingRuns(): Promise<void> {
  for (const status of ['running', 'compensating']) {
    await until(
      () => ask(() => app.http.get(`/api/ops/sagas?status=${status}`)),
      (reply) => reply?.status === 200 && (reply.json['sagas'] as unknown[]).length === 0,
      { timeoutMs: SETTLE_TIMEOUT_MS, everyMs: 500 },
    );
  }
}

test(`${SCALE.transfers} transfers among ${SCALE.users} users survive ${SCALE.kills} kills and a shard that is away`, async () => {
  const random = createRandom();
  console.log(`seed ${random.seed}`);
  const users = await registerUsers();
  const orders = await placeOrders(users, random);
  const cents = orders.reduce((sum, order) => sum + order.amountCents, 0);

  let isOver = false;
  const startedMs = performance.now();
  const numbers = Array.from({ length: SCALE.transfers }, (_, index) => index);
  const storm = inLanes(numbers, () => transferOne(orders, users, random)).finally(() => {
    isOver = true;
  });
  const [answers, kills, , totals] = await Promise.all([
    storm,
    killRepeatedly(random, () => isOver),
    takeShardAway(random),
    watchTotal(() => isOver),
  ]);
  const told = answers.flat();
  const stormMs = Math.round(performance.now() - startedMs);
  await nothingRuns();
  const settledMs = Math.round(performance.now() - startedMs);
  await expectDebugLines();

  console.log(
    `${answers.length} transfers in ${told.length} tries, ${kills} kills: ${stormMs} ms, settled after ${settledMs} ms`,
  );
  console.log('callers were told', tally(told));
  console.log('tried again', retriesLogged());
  console.log(
    `orders in the total, of ${orders.length}: ${Math.min(...totals)} to ${Math.max(...totals)} in ${totals.length} looks`,
  );
  expect(told.filter((entry) => !isClear(entry))).toEqual([]);

  await expectNothingHeld(app);
  const ways = await expectWays(app, orders, await ownersNow(app, orders));
  expect(ways).toBeGreaterThan(0);
  expect((await app.http.get('/api/revenue')).json).toMatchObject({
    totalCents: String(cents),
    orders: orders.length,
    complete: true,
  });
  expect(tally(totals.map(String))).toEqual({ [orders.length]: totals.length });
  expectGreen(await verifyCluster(app));
});
